//! Divides what bounds a divided workload: a HPA's replicas and a PodDisruptionBudget's absolute values (RULES 3.4).

use federation_types::placement::PlacementSpec;
use serde_json::{Map, Value, json};

/// The workload's replicas by cluster, in the order of the Placement, and which of them is ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    shares: Vec<i64>,
    at: usize,
}

impl Bounds {
    /// For a cluster of a Placement; none where nothing is divided.
    pub(crate) fn of(placement: &PlacementSpec, cluster: &str) -> Option<Self> {
        let at = placement.clusters.iter().position(|it| it.name == cluster)?;
        placement.clusters[at].share?;
        let shares: Vec<i64> =
            placement.clusters.iter().map(|it| it.share.unwrap_or(0).max(0)).collect();
        shares.iter().any(|it| *it > 0).then_some(Self { shares, at })
    }

    /// Divides the bounds that an object states. What is no number, a percentage above all, holds in each cluster.
    pub(crate) fn divide(&self, object: &mut Value) {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        let autoscaler = (group, text("kind")) == ("autoscaling", "HorizontalPodAutoscaler");
        let budget = (group, text("kind")) == ("policy", "PodDisruptionBudget");
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if autoscaler {
            let min = number(spec, "minReplicas");
            // An autoscaler that may go down to nothing may do so everywhere; none may be bounded by nothing.
            let low = min.map(|it| self.part(it, it.min(1)));
            let high = number(spec, "maxReplicas").map(|it| self.part(it, 1).max(low.unwrap_or(1)));
            set(spec, "minReplicas", low);
            set(spec, "maxReplicas", high);
        } else if budget {
            for name in ["minAvailable", "maxUnavailable"] {
                let part = number(spec, name).map(|it| self.part(it, 0));
                set(spec, name, part);
            }
        }
    }

    /// Our part of a total: by largest remainder, equal remainders in order; where the workload runs at least `floor`,
    /// for which those with the most give.
    fn part(&self, total: i64, floor: i64) -> i64 {
        let all: i128 = self.shares.iter().map(|it| i128::from(*it)).sum();
        let quota = |share: i64| i128::from(total) * i128::from(share);
        let mut parts: Vec<i64> = self
            .shares
            .iter()
            .map(|it| i64::try_from(quota(*it) / all).unwrap_or(i64::MAX))
            .collect();
        let rest = usize::try_from(total - parts.iter().sum::<i64>()).unwrap_or(0);
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| (-(quota(self.shares[*at]) % all), *at));
        for at in order.into_iter().take(rest) {
            parts[at] += 1;
        }
        for at in 0..parts.len() {
            while parts[at] < floor && self.shares[at] > 0 {
                let most = (0..parts.len()).max_by_key(|it| (parts[*it], usize::MAX - it));
                match most {
                    Some(most) if parts[most] > floor => parts[most] -= 1,
                    _ => (),
                }
                parts[at] += 1;
            }
        }
        parts[self.at].max(floor)
    }
}

fn number(spec: &Map<String, Value>, name: &str) -> Option<i64> {
    spec.get(name).and_then(Value::as_i64).filter(|it| *it >= 0)
}

fn set(spec: &mut Map<String, Value>, name: &str, value: Option<i64>) {
    if let Some(value) = value {
        spec.insert(name.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use federation_types::placement::PlacedCluster;

    use super::*;

    fn divided(shares: &[i64], kind: &str, spec: &Value) -> Vec<Value> {
        let names: Vec<String> = (0..shares.len()).map(|it| format!("c{it}")).collect();
        let clusters = names
            .iter()
            .zip(shares)
            .map(|(name, share)| PlacedCluster {
                name: name.clone(),
                share: Some(*share),
                ..PlacedCluster::default()
            })
            .collect();
        let placement = PlacementSpec { clusters, ..PlacementSpec::default() };
        let version = if kind == "PodDisruptionBudget" { "policy/v1" } else { "autoscaling/v2" };
        names
            .iter()
            .map(|name| {
                let mut object = json!({"apiVersion": version, "kind": kind, "spec": spec});
                if let Some(bounds) = Bounds::of(&placement, name) {
                    bounds.divide(&mut object);
                }
                object["spec"].clone()
            })
            .collect()
    }

    fn numbers(shares: &[i64], kind: &str, field: &str, total: i64) -> Vec<i64> {
        let spec = json!({field: total});
        let parts = divided(shares, kind, &spec);
        parts.iter().map(|it| it[field].as_i64().expect("a number")).collect()
    }

    #[test]
    fn rule_3_4_hpa_bounds_are_divided_by_shares_and_none_is_below_one() {
        let hpa =
            |field, shares: &[i64], total| numbers(shares, "HorizontalPodAutoscaler", field, total);
        assert_eq!(hpa("maxReplicas", &[3, 2, 1], 12), [6, 4, 2]);
        assert_eq!(hpa("maxReplicas", &[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(hpa("maxReplicas", &[9, 1, 1], 5), [3, 1, 1]);
        assert_eq!(hpa("minReplicas", &[3, 3], 1), [1, 1]);
        assert_eq!(hpa("minReplicas", &[3, 3], 0), [0, 0]);
        // Where the workload does not run its autoscaler bounds nothing, and takes nothing of the others.
        assert_eq!(hpa("maxReplicas", &[4, 0], 8), [8, 1]);
        let both = json!({"minReplicas": 3, "maxReplicas": 4, "metrics": []});
        for part in divided(&[1, 1, 1], "HorizontalPodAutoscaler", &both) {
            assert!(part["minReplicas"].as_i64() <= part["maxReplicas"].as_i64(), "{part}");
        }
    }

    #[test]
    fn rule_3_4_absolute_pdb_values_are_divided_and_percentages_are_not() {
        let pdb =
            |field, shares: &[i64], total| numbers(shares, "PodDisruptionBudget", field, total);
        assert_eq!(pdb("minAvailable", &[4, 2], 3), [2, 1]);
        assert_eq!(pdb("maxUnavailable", &[2, 2], 1), [1, 0]);
        let percent = json!({"maxUnavailable": "25%"});
        assert_eq!(divided(&[2, 2], "PodDisruptionBudget", &percent), [percent.clone(), percent]);
    }

    #[test]
    fn parts_add_up_and_without_shares_nothing_is_divided() {
        for total in 0..30 {
            let parts = numbers(&[7, 3, 2, 1], "PodDisruptionBudget", "minAvailable", total);
            assert_eq!(parts.iter().sum::<i64>(), total);
        }
        assert_eq!(numbers(&[0, 0], "HorizontalPodAutoscaler", "maxReplicas", 5), [5, 5]);
        assert_eq!(Bounds::of(&PlacementSpec::default(), "a"), None);
    }
}
