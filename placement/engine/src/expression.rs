//! CEL expressions over a cluster: parsed with the policy, evaluated once per fleet and text. What they may cost is
//! bounded: whoever may write a policy in one namespace must not hold up the decisions of all.

use std::{collections::BTreeMap, fmt, sync::Arc};

use federation_schema::cel::{Budget, CelValue, Fault, Program, plain};
use federation_types::selector::ClusterFacts;
use serde::Serialize;

use crate::{
    bits::Bits,
    fleet::{Cluster, Fleet},
};

/// What one variable of an expression holds.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    value: CelValue,
    size: u64,
}

impl Subject {
    pub(crate) fn new(view: &impl Serialize) -> Self {
        let json = serde_json::to_value(view).expect("text, numbers and maps of them are values");
        let mut size = 0;
        Self { value: plain(&json, &mut size), size }
    }
}

/// A compiled expression that is to be true or false of one variable.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    program: Arc<Program>,
    variable: &'static str,
    budget: Budget,
}

impl Condition {
    /// Compiles it; the error is for people.
    pub(crate) fn parse(
        text: &str,
        variable: &'static str,
        budget: Budget,
    ) -> Result<Self, String> {
        let program = Program::compile_anywhere(text, &[variable]).map_err(|error| {
            let why = error.to_string();
            let why = why.trim_start_matches("compilation failed: ");
            match why.strip_prefix("undeclared reference to ") {
                Some(name) => format!("unknown variable {name}; it knows `{variable}` only"),
                None => why.to_owned(),
            }
        })?;
        Ok(Self { program: Arc::new(program), variable, budget })
    }

    /// Tried on a subject of which little is known: what yields something that is neither true nor false there does so
    /// everywhere, and so does what takes too long, or asks for a field that none has. What cannot be evaluated on it
    /// may still be a condition.
    pub(crate) fn refuse_what_is_none(
        &self,
        text: &str,
        unknown: &Subject,
        fields: &[&str],
    ) -> Result<(), String> {
        let mut budget = self.budget;
        match self.ask(unknown, &mut budget) {
            Err(Fault::Missing(name)) if self.asks_for(text, &name, fields) => {
                let fields = fields.join(", ");
                Err(format!("{} has no field {name}; it has {fields}", self.variable))
            }
            Err(fault @ Fault::Cost) => Err(fault.to_string()),
            Ok(CelValue::Bool(_)) | Err(_) => Ok(()),
            Ok(other) => Err(format!("yields {}, not true or false", other.type_of())),
        }
    }

    /// Whether the text says `cluster.NAME`, where NAME is no field of a cluster.
    fn asks_for(&self, text: &str, name: &str, fields: &[&str]) -> bool {
        let goes_on = |it: char| it.is_alphanumeric() || it == '_';
        let asked = format!("{}.{name}", self.variable);
        !fields.contains(&name) && text.split(&asked).skip(1).any(|rest| !rest.starts_with(goes_on))
    }

    fn ask(&self, subject: &Subject, budget: &mut Budget) -> Result<CelValue, Fault> {
        let variables = [(self.variable, subject.value.clone())];
        self.program.evaluate(&variables, subject.size, budget)
    }

    /// What it is; the error is for people.
    pub(crate) fn holds(&self, subject: &Subject) -> Result<bool, String> {
        let mut budget = self.budget;
        self.holds_within(subject, &mut budget)
    }

    /// The same, of what is left of a budget.
    pub(crate) fn holds_within(
        &self,
        subject: &Subject,
        budget: &mut Budget,
    ) -> Result<bool, String> {
        match self.ask(subject, budget) {
            Ok(CelValue::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("yields {}, not true or false", other.type_of())),
            Err(fault) => Err(fault.to_string()),
        }
    }
}

/// A parsed expression.
#[derive(Clone)]
pub struct Expression {
    pub text: String,
    condition: Condition,
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

/// What it may cost on one cluster: some hundred times what a condition on labels costs.
const BUDGET: Budget = Budget(20_000);

impl Expression {
    /// Parses it; the error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let nothing = BTreeMap::new();
        let unknown = View {
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
        let condition = Condition::parse(text, VARIABLE, BUDGET)?;
        condition.refuse_what_is_none(text, &Subject::new(&unknown), &FIELDS)?;
        Ok(Self { text: text.to_owned(), condition })
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
        self.condition.holds(&Subject::new(&view))
    }

    /// For people: what the expression gave on a cluster.
    pub(crate) fn outcome(&self, cluster: &Cluster) -> String {
        match self.condition.holds(&Subject::new(&View::of(cluster))) {
            Ok(value) => value.to_string(),
            Err(error) => error,
        }
    }
}

/// What expressions gave on the clusters of one fleet.
#[derive(Clone, Default)]
pub(crate) struct Expressions {
    clusters: Arc<Vec<Subject>>,
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
        if self.clusters.len() != fleet.len() {
            self.clusters =
                Arc::new(fleet.clusters.iter().map(|it| Subject::new(&View::of(it))).collect());
        }
        let mut bits = Bits::none(fleet.len());
        for (at, cluster) in self.clusters.iter().enumerate() {
            if expression.condition.holds(cluster) == Ok(true) {
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

    #[test]
    fn an_expression_that_never_ends_is_refused_when_it_is_parsed() {
        let list = "[1,2,3,4,5,6,7,8,9,10]";
        let all = |depth: usize| {
            (0..depth)
                .rev()
                .fold("true".to_owned(), |inner, at| format!("{list}.all(v{at}, {inner})"))
        };
        assert!(Expression::parse(&all(2)).is_ok());
        let why = Expression::parse(&all(9)).unwrap_err();
        assert!(why.contains("takes too long"), "{why}");
        // Nor is one that takes the more the more a cluster has.
        let labels = (0..300).map(|it| (format!("l{it}"), String::new())).collect();
        let facts = ClusterFacts { labels, ..ClusterFacts::default() };
        let nested = "cluster.labels.all(a, cluster.labels.all(b, cluster.labels.all(c, true)))";
        let why = Expression::parse(nested).unwrap().holds_for(&facts).unwrap_err();
        assert!(why.contains("takes too long"), "{why}");
    }
}
