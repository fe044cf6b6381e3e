//! The waves of a rollout strategy, ready to be asked: to which one a cluster belongs, and whether a gate is open.

use std::collections::BTreeMap;

use federation_schema::cel::Budget;
use federation_types::{
    rollout::{REST, RolloutStrategySpec},
    validate::Problem,
};
use serde::Serialize;

use crate::{
    expression::{Condition, Subject},
    fleet::Fleet,
    mask,
    policy::{Selector, selector},
    room::Room,
};

/// A strategy's selectors and gates with their expressions parsed.
#[derive(Clone, Debug, Default)]
pub struct Waves {
    waves: Vec<Wave>,
}

#[derive(Clone, Debug)]
struct Wave {
    name: String,
    selector: Selector,
    gate: Vec<Gate>,
}

/// A condition on a whole wave.
#[derive(Clone, Debug)]
struct Gate {
    text: String,
    condition: Condition,
}

/// What a gate may ask of a wave: the only variable, `wave`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WaveFacts {
    pub name: String,
    /// Clusters in it.
    pub size: i64,
    /// Of these, those that are ready.
    pub ready: i64,
    pub clusters: Vec<ClusterFacts>,
}

/// What a gate may ask of one cluster of the wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterFacts {
    pub name: String,
    pub replicas: i64,
    pub ready: bool,
    /// Points that are valid now, by the names of ClusterScores.
    pub scores: BTreeMap<String, i64>,
}

/// The only variable of a gate.
const VARIABLE: &str = "wave";
/// What it holds: the fields of [`WaveFacts`].
const FIELDS: [&str; 4] = ["name", "size", "ready", "clusters"];
/// What all gates of one look at a rollout may cost: some loops over thousands of clusters, and no loops within loops
/// over as many.
pub const BUDGET: Budget = Budget(5_000_000);

impl Waves {
    /// Makes a strategy ready; what cannot be read is said by its field.
    pub fn compile(spec: &RolloutStrategySpec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut waves = Vec::new();
        for (at, wave) in spec.waves.iter().enumerate() {
            let field = format!("spec.waves[{at}]");
            let clusters = format!("{field}.clusters");
            let selector = selector(&wave.clusters, &clusters, "", &mut problems);
            let mut gate = Vec::new();
            for (n, text) in wave.gate.iter().enumerate() {
                match Gate::parse(text) {
                    Ok(it) => gate.push(it),
                    Err(why) => problems.push(Problem {
                        field: format!("{field}.gate[{n}]"),
                        message: format!("Invalid value: {text:?}: {why}"),
                    }),
                }
            }
            waves.push(Wave { name: wave.name.clone(), selector, gate });
        }
        if problems.is_empty() { Ok(Self { waves }) } else { Err(problems) }
    }

    /// How many there are, with the one of the clusters that are left.
    pub fn len(&self) -> usize {
        self.waves.len() + 1
    }

    /// Never: clusters that nothing selects are a wave.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The name of a wave by its place.
    pub fn name(&self, at: usize) -> &str {
        self.waves.get(at).map_or(REST, |it| &it.name)
    }

    /// The place of the wave that each of the clusters belongs to: the first that selects it. What the fleet does not know
    /// is left over.
    pub fn places<'a>(
        &self,
        fleet: &Fleet,
        room: &mut Room,
        clusters: impl IntoIterator<Item = &'a str>,
    ) -> Vec<usize> {
        // What an expression is of one cluster is worked out for all at once, and once per fleet.
        let expressions = &mut room.expressions;
        let mut place = |cluster: &str| {
            let id = fleet.id(cluster)?;
            let selects =
                |it: &Wave| mask::refuses(fleet, &it.selector, id.at(), expressions).is_none();
            self.waves.iter().position(selects)
        };
        clusters.into_iter().map(|it| place(it).unwrap_or(self.waves.len())).collect()
    }

    /// The first gate of a wave that is not open, with why; what it cost is taken from the budget.
    pub fn closed(&self, at: usize, facts: &WaveFacts, budget: &mut Budget) -> Option<String> {
        let gates = &self.waves.get(at)?.gate;
        let wave = Subject::new(facts);
        gates.iter().find_map(|it| match it.condition.holds_within(&wave, budget) {
            Ok(true) => None,
            Ok(false) => Some(format!("{} is not true", it.text)),
            Err(why) => Some(format!("{}: {why}", it.text)),
        })
    }
}

impl Gate {
    fn parse(text: &str) -> Result<Self, String> {
        let condition = Condition::parse(text, VARIABLE, BUDGET)?;
        let unknown = Subject::new(&WaveFacts::default());
        condition.refuse_what_is_none(text, &unknown, &FIELDS)?;
        Ok(Self { text: text.to_owned(), condition })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{fleet::ClusterInput, price::PriceIndex};

    fn fleet() -> Fleet {
        let cluster = |name: &str, provider: &str, region: &str| {
            let spec = json!({"provider": provider, "region": region});
            ClusterInput {
                name: name.into(),
                spec: serde_json::from_value(spec).unwrap(),
                ..ClusterInput::default()
            }
        };
        let clusters = vec![
            cluster("a", "eks", "eu-west-1"),
            cluster("b", "gke", "us-east1"),
            cluster("c", "onprem", ""),
        ];
        Fleet::build(clusters, &[], &PriceIndex::default(), "")
    }

    fn waves(waves: &Value) -> Result<Waves, Vec<Problem>> {
        let spec: RolloutStrategySpec = serde_json::from_value(json!({"waves": waves})).unwrap();
        Waves::compile(&spec)
    }

    #[test]
    fn a_cluster_belongs_to_the_first_wave_that_selects_it_and_else_to_the_rest() {
        let waves = waves(&json!([
            {"name": "canary", "clusters": {"names": ["a"]}},
            {"name": "cloud", "clusters": {"expressions": ["cluster.provider != 'onprem'"]}},
        ]))
        .unwrap();
        let fleet = fleet();
        let places = waves.places(&fleet, &mut Room::new(&fleet), ["a", "b", "c", "gone"]);
        let names: Vec<&str> = places.into_iter().map(|it| waves.name(it)).collect();
        assert_eq!(names, ["canary", "cloud", "rest", "rest"]);
        assert_eq!(waves.len(), 3);
    }

    #[test]
    fn a_gate_asks_the_wave_for_scores_and_what_is_not_known_keeps_it_closed() {
        let gate = "wave.clusters.all(it, it.scores['web-errors'] <= 5)";
        let waves =
            waves(&json!([{"name": "all", "gate": ["wave.ready == wave.size", gate]}])).unwrap();
        let facts = |ready: i64, errors: Option<i64>| WaveFacts {
            name: "all".into(),
            size: 1,
            ready,
            clusters: vec![ClusterFacts {
                name: "a".into(),
                replicas: 2,
                ready: true,
                scores: errors.map(|it| ("web-errors".to_owned(), it)).into_iter().collect(),
            }],
        };
        let closed = |at, facts: &WaveFacts| {
            let mut budget = BUDGET;
            waves.closed(at, facts, &mut budget)
        };
        assert_eq!(closed(0, &facts(1, Some(5))), None);
        let why = closed(0, &facts(1, Some(6))).unwrap();
        assert_eq!(why, format!("{gate} is not true"));
        assert!(closed(0, &facts(1, None)).unwrap().contains("web-errors"));
        assert_eq!(closed(0, &facts(0, Some(5))).unwrap(), "wave.ready == wave.size is not true");
        assert_eq!(closed(1, &facts(0, None)), None, "the rest has no gate");
    }

    #[test]
    fn what_cannot_be_read_is_said_by_its_field() {
        let problems = waves(&json!([
            {"name": "a", "clusters": {"expressions": ["cluster.minor >="]}},
            {"name": "b", "gate": ["wave.ready >", "cluster.minor > 3", "wave.nosuch > 1", "1 + 1"]},
        ]))
        .unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        let wanted = [
            "spec.waves[0].clusters.expressions[0]",
            "spec.waves[1].gate[0]",
            "spec.waves[1].gate[1]",
            "spec.waves[1].gate[2]",
            "spec.waves[1].gate[3]",
        ];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn a_gate_that_takes_too_long_is_closed() {
        let loops = |depth: usize| {
            let names = ["a", "b", "c", "d"];
            let open = names[..depth]
                .iter()
                .map(|it| format!("wave.clusters.all({it}, "))
                .collect::<String>();
            format!("{open}true{}", ")".repeat(depth))
        };
        let cluster =
            |at: usize| ClusterFacts { name: format!("c{at}"), ..ClusterFacts::default() };
        let facts = WaveFacts { clusters: (0..500).map(cluster).collect(), ..WaveFacts::default() };
        let closed = |gates: &[String]| {
            let waves = waves(&json!([{"name": "all", "gate": gates}])).unwrap();
            let mut budget = BUDGET;
            waves.closed(0, &facts, &mut budget)
        };
        assert_eq!(closed(&[loops(1)]), None);
        let why = closed(&[loops(4)]).unwrap();
        assert!(why.contains("takes too long"), "{why}");
        // What one gate takes is missing to the others.
        assert_eq!(closed(&[loops(2)]), None);
        let why = closed(&vec![loops(2); 16]).unwrap();
        assert!(why.contains("takes too long"), "{why}");
    }
}
