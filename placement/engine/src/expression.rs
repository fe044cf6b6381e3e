//! CEL expressions over a cluster: parsed with the policy, evaluated once per fleet and text.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cel::{Context, Env, ExecutionError, Program, Value};
use federation_types::selector::ClusterFacts;
use serde::Serialize;

use crate::{
    bits::Bits,
    fleet::{Cluster, Fleet},
};

/// A parsed expression.
#[derive(Clone)]
pub struct Expression {
    pub text: String,
    program: Arc<Program>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// The only variable an expression has.
const VARIABLE: &str = "cluster";
/// What it holds: the fields of [`View`].
const FIELDS: [&str; 9] = [
    "name",
    "provider",
    "region",
    "zones",
    "jurisdiction",
    "labels",
    "version",
    "minor",
    "properties",
];

impl Expression {
    /// Parses it; the error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|error| {
            let message = error.to_string();
            let line = message.lines().find(|it| !it.trim().is_empty());
            // What the parser would have taken instead is a long list of little use.
            let line = line.unwrap_or("it does not parse").split(" expecting").next();
            line.unwrap_or_default().trim_start_matches("ERROR: <input>:").to_owned()
        })?;
        let references = program.references();
        let loops = loops(text);
        let known = |it: &&str| *it == VARIABLE || it.starts_with('@') || loops.contains(it);
        let mut unknown: Vec<_> =
            references.variables().into_iter().filter(|it| !known(it)).collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(format!("unknown variable {name}; an expression knows `cluster` only"));
        }
        drop(unknown);
        drop(references);
        let parsed = Self { text: text.to_owned(), program: Arc::new(program) };
        parsed.refuse_what_is_no_condition()?;
        Ok(parsed)
    }

    /// Tried on a cluster of which little is known: what yields something that is neither true nor false there does so
    /// everywhere. What cannot be evaluated on it may still be a condition.
    fn refuse_what_is_no_condition(&self) -> Result<(), String> {
        let nothing = BTreeMap::new();
        let view = View {
            name: "",
            provider: "",
            region: "",
            zones: &[],
            jurisdiction: "",
            labels: &nothing,
            version: "",
            minor: 0,
            properties: &nothing,
        };
        let cluster = cel::to_value(view).expect("text, numbers and maps of them are values");
        let mut context = Context::with_env(Arc::new(Env::stdlib()));
        context.add_variable_from_value(VARIABLE, cluster);
        match self.program.execute(&context) {
            Err(ExecutionError::NoSuchKey(name)) if self.asks_cluster_for(&name) => {
                Err(format!("cluster has no field {name}; it has {}", FIELDS.join(", ")))
            }
            Ok(Value::Bool(_)) | Err(_) => Ok(()),
            Ok(other) => Err(format!("yields {}, not true or false", other.type_of())),
        }
    }

    /// Whether the text says `cluster.NAME`, where NAME is no field of a cluster.
    fn asks_cluster_for(&self, name: &str) -> bool {
        let goes_on = |it: char| it.is_alphanumeric() || it == '_';
        !FIELDS.contains(&name)
            && self
                .text
                .split(&format!("{VARIABLE}.{name}"))
                .skip(1)
                .any(|rest| !rest.starts_with(goes_on))
    }

    fn evaluate(&self, env: &Arc<Env>, cluster: &Value) -> Result<bool, String> {
        let mut context = Context::with_env(env.clone());
        context.add_variable_from_value(VARIABLE, cluster.clone());
        match self.program.execute(&context) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("yields {}, not true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether it is true of a cluster of which only the told facts are known, as the selectors of overrides are asked:
    /// `cluster.minor`, `version` and `properties` are not among them.
    pub fn holds_for(&self, facts: &ClusterFacts) -> Result<bool, String> {
        let view = Facts {
            name: &facts.name,
            provider: &facts.provider,
            region: &facts.region,
            zones: &facts.zones,
            jurisdiction: &facts.jurisdiction,
            labels: &facts.labels,
        };
        let cluster = cel::to_value(view).expect("text and maps of it are values");
        self.evaluate(&Arc::new(Env::stdlib()), &cluster)
    }

    /// For people: what the expression gave on a cluster.
    pub(crate) fn outcome(&self, cluster: &Cluster) -> String {
        match self.evaluate(&Arc::new(Env::stdlib()), &value(cluster)) {
            Ok(value) => value.to_string(),
            Err(error) => error,
        }
    }
}

/// The variables of the loops in an expression: `it` of `wave.clusters.all(it, …)`.
pub(crate) fn loops(text: &str) -> Vec<&str> {
    let macros = [".all(", ".exists(", ".exists_one(", ".filter(", ".map("];
    let bodies = macros.iter().flat_map(|it| text.split(it).skip(1));
    bodies.filter_map(|it| Some(it.split_once(',')?.0.trim())).collect()
}

/// What expressions gave on the clusters of one fleet.
#[derive(Clone, Default)]
pub(crate) struct Expressions {
    env: Option<Arc<Env>>,
    clusters: Arc<Vec<Value>>,
    results: BTreeMap<String, Arc<Bits>>,
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expressions").field(&self.results.keys()).finish()
    }
}

impl Expressions {
    /// The clusters on which the expression is true; one that cannot be evaluated there refuses the cluster.
    pub(crate) fn holds(&mut self, fleet: &Fleet, expression: &Expression) -> Arc<Bits> {
        if let Some(known) = self.results.get(&expression.text) {
            return known.clone();
        }
        let env = self.env.get_or_insert_with(|| Arc::new(Env::stdlib())).clone();
        if self.clusters.len() != fleet.len() {
            self.clusters = Arc::new(fleet.clusters.iter().map(value).collect());
        }
        let mut bits = Bits::none(fleet.len());
        for (at, cluster) in self.clusters.iter().enumerate() {
            if expression.evaluate(&env, cluster) == Ok(true) {
                bits.insert(at);
            }
        }
        let bits = Arc::new(bits);
        self.results.insert(expression.text.clone(), bits.clone());
        bits
    }
}

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    provider: &'a str,
    region: &'a str,
    zones: &'a [String],
    jurisdiction: &'a str,
    labels: &'a BTreeMap<String, String>,
    version: &'a str,
    minor: i64,
    properties: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Facts<'a> {
    name: &'a str,
    provider: &'a str,
    region: &'a str,
    zones: &'a [String],
    jurisdiction: &'a str,
    labels: &'a BTreeMap<String, String>,
}

impl<'a> View<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        Self {
            name: &cluster.name,
            provider: &cluster.spec.provider,
            region: &cluster.spec.region,
            zones: &cluster.spec.zones,
            jurisdiction: &cluster.spec.jurisdiction,
            labels: &cluster.labels,
            version: &cluster.version,
            minor: cluster.minor,
            properties: &cluster.properties,
        }
    }
}

fn value(cluster: &Cluster) -> Value {
    cel::to_value(View::of(cluster)).expect("text, numbers and maps of them are values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_asks_for_told_facts_only() {
        let labels = [("tier".to_owned(), "prod".to_owned())].into();
        let facts = ClusterFacts { provider: "eks".into(), labels, ..ClusterFacts::default() };
        let holds = |text: &str| Expression::parse(text).unwrap().holds_for(&facts);
        assert_eq!(holds("cluster.provider == 'eks' && cluster.labels.tier == 'prod'"), Ok(true));
        assert_eq!(holds("cluster.provider == 'gke'"), Ok(false));
        assert!(holds("cluster.minor >= 34").is_err());
    }
    use crate::{fleet::ClusterInput, price::PriceIndex};

    fn fleet() -> Fleet {
        let input = |name: &str, version: &str, tier: Option<&str>| ClusterInput {
            name: name.into(),
            version: version.into(),
            labels: tier.map(|it| ("tier".to_owned(), it.to_owned())).into_iter().collect(),
            ..ClusterInput::default()
        };
        let clusters = vec![
            input("a", "v1.33.0", Some("prod")),
            input("b", "v1.34.1", Some("prod")),
            input("c", "v1.36.0", None),
        ];
        Fleet::build(clusters, &[], &PriceIndex::default(), "")
    }

    #[test]
    fn a_field_that_no_cluster_has_is_refused_with_those_that_it_has() {
        let why = Expression::parse("cluster.minr >= 3").unwrap_err();
        assert!(why.starts_with("cluster has no field minr; it has name, provider"), "{why}");
        for fine in ["cluster.labels.min == 'a' && cluster.minor > 3", "cluster.labels.tier == 'x'"]
        {
            Expression::parse(fine).unwrap();
        }
    }

    #[test]
    fn the_fields_are_those_of_the_view() {
        let fleet = fleet();
        let view = serde_json::to_value(View::of(&fleet.clusters[0])).unwrap();
        let mut names: Vec<_> = view.as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = FIELDS;
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }

    #[test]
    fn expressions_see_the_cluster() {
        let fleet = fleet();
        let mut all = Expressions::default();
        let mut check = |text: &str, expected: &[usize]| {
            let bits = all.holds(&fleet, &Expression::parse(text).unwrap());
            assert_eq!(bits.iter().collect::<Vec<_>>(), expected, "{text}");
        };
        check("cluster.minor >= 34", &[1, 2]);
        check("cluster.labels.tier == \"prod\"", &[0, 1]);
        check("\"tier\" in cluster.labels && cluster.labels[\"tier\"] == \"prod\"", &[0, 1]);
        check("cluster.name.startsWith(\"c\")", &[2]);
        check("cluster.labels.exists(it, it == \"tier\")", &[0, 1]);
    }

    #[test]
    fn what_cannot_be_evaluated_says_why() {
        let fleet = fleet();
        let tier = Expression::parse("cluster.labels.tier == \"prod\"").unwrap();
        assert!(tier.outcome(&fleet.clusters[2]).contains("tier"));
        let text = Expression::parse("cluster.labels.tier").unwrap();
        assert_eq!(text.outcome(&fleet.clusters[0]), "yields string, not true or false");
    }

    #[test]
    fn rule_3_1_what_is_no_condition_is_refused_when_it_is_parsed() {
        let refused = |text: &str| Expression::parse(text).unwrap_err();
        assert_eq!(refused("cluster.minor"), "yields int, not true or false");
        assert_eq!(refused("cluster.name"), "yields string, not true or false");
        assert_eq!(refused("cluster.minor + 1"), "yields int, not true or false");
        assert!(Expression::parse("cluster.minor + 1 > 2").is_ok());
    }

    #[test]
    fn a_bad_expression_is_refused_when_it_is_parsed() {
        assert!(Expression::parse("cluster.minor >=").is_err());
        assert!(Expression::parse("node.name == \"x\"").unwrap_err().contains("node"));
        let other = "cluster.zones.exists(it, that == \"a\")";
        assert!(Expression::parse(other).unwrap_err().contains("that"));
    }
}
