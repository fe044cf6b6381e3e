//! Our kinds as CustomResourceDefinitions: what the server is given to serve them.

use kube_core::CustomResourceExt;
use serde_json::Value;

use crate::{
    budget::{ChangeBudget, CostBudget},
    cluster::{ClusterSet, MemberCluster},
    overrides::{ClusterOverridePolicy, OverridePolicy},
    placement::{ClusterPlacement, Placement},
    policy::{ClusterPlacementPolicy, PlacementPolicy},
    price::PriceBook,
    revision::{ClusterRevision, Revision},
    rollout::{Rollout, RolloutStrategy},
    score::ClusterScore,
    status_rule::StatusRule,
};

/// Every kind of the group `archipel.dev`.
pub fn all() -> Vec<Value> {
    let crds = [
        MemberCluster::crd(),
        ClusterSet::crd(),
        PlacementPolicy::crd(),
        ClusterPlacementPolicy::crd(),
        OverridePolicy::crd(),
        ClusterOverridePolicy::crd(),
        Placement::crd(),
        ClusterPlacement::crd(),
        Revision::crd(),
        ClusterRevision::crd(),
        ChangeBudget::crd(),
        PriceBook::crd(),
        CostBudget::crd(),
        ClusterScore::crd(),
        RolloutStrategy::crd(),
        Rollout::crd(),
        StatusRule::crd(),
    ];
    crds.iter()
        .map(|crd| {
            let mut crd =
                serde_json::to_value(crd).expect("a definition derived from a type is plain data");
            for_users(&mut crd);
            named_by_its_spec(&mut crd);
            crd
        })
        .collect()
}

/// What a kind is for is said of its spec; the description that is derived for the whole says nothing.
fn named_by_its_spec(crd: &mut Value) {
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        let said = schema["properties"]["spec"]["description"].clone();
        if said.is_string() {
            schema["description"] = said;
        }
    }
}

/// Takes out of descriptions what only readers of the code can follow: references to rules, and links. Says how large a
/// number may be, so that one that is larger is refused by its field.
fn for_users(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let bounds = match fields.get("format").and_then(Value::as_str) {
                Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
                Some("uint32") => Some((0, i64::from(u32::MAX))),
                Some(_) | None => None,
            };
            if let Some((least, most)) = bounds {
                fields.entry("minimum").or_insert_with(|| least.into());
                fields.entry("maximum").or_insert_with(|| most.into());
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = plain(text);
            }
            fields.values_mut().for_each(for_users);
        }
        Value::Array(items) => items.iter_mut().for_each(for_users),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("(RULES ") {
        plain.push_str(before.trim_end());
        rest = from.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_structural_schema_in_our_group() {
        for crd in all() {
            let name = crd["metadata"]["name"].as_str().unwrap();
            assert!(name.ends_with(".archipel.dev"), "{name}");
            let version = &crd["spec"]["versions"][0];
            assert_eq!(version["name"], "v1alpha1", "{name}");
            let schema = &version["schema"]["openAPIV3Schema"];
            assert_eq!(schema["type"], "object", "{name}");
            assert!(schema["properties"]["spec"]["properties"].is_object(), "{name}: {schema}");
            assert!(schema["properties"]["spec"].get("allOf").is_none(), "{name}");
        }
    }

    /// The fields below a schema that `kubectl explain` would show without a word.
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().unwrap_or_default().is_empty() {
                found.push(path.clone());
            }
            undescribed(field, &path, found);
        }
        for below in ["items", "additionalProperties"] {
            if schema[below].is_object() {
                undescribed(&schema[below], &format!("{path}[]"), found);
            }
        }
    }

    #[test]
    fn every_field_of_every_kind_is_described() {
        let mut found = Vec::new();
        for crd in all() {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            for part in ["spec", "status"] {
                undescribed(&schema["properties"][part], &format!("{kind}.{part}"), &mut found);
            }
        }
        assert!(
            found.is_empty(),
            "{} fields without a description:\n{}",
            found.len(),
            found.join("\n")
        );
    }

    #[test]
    fn every_kind_says_what_it_is_for() {
        for crd in all() {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let said = schema["description"].as_str().unwrap_or_default();
            let name = &crd["metadata"]["name"];
            assert!(!said.is_empty() && !said.contains("Auto-generated"), "{name}: {said}");
        }
    }

    #[test]
    fn descriptions_are_for_users() {
        assert_eq!(plain("Bounds removals (RULES 1.3). Holds."), "Bounds removals. Holds.");
        let all = serde_json::to_string(&all()).unwrap();
        assert!(!all.contains("RULES"), "{all}");
    }

    #[test]
    fn the_example_policy_of_the_design_reads_back() {
        let policy: PlacementPolicy = serde_json::from_value(serde_json::json!({
            "apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy",
            "metadata": {"name": "web-eu", "namespace": "shop"},
            "spec": {
                "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "",
                               "labelSelector": {"matchLabels": {"tier": "web"}}}],
                "priority": 10,
                "affinities": [{"name": "eu", "clusters": {"sets": [], "providers": ["eks", "gke"],
                    "regions": ["eu-*", "europe-*"], "labelSelector": {}, "names": [], "exclude": [],
                    "expressions": ["cluster.minor >= 34"]}}],
                "tolerations": [{"key": "spot", "operator": "Exists"}],
                "residency": {"jurisdictions": ["EU"]},
                "spread": [{"topologyKey": "provider", "min": 2, "max": 3},
                           {"topologyKey": "cluster", "max": 5}],
                "replicas": {"mode": "Divided", "division": "Cheapest", "minPerCluster": 2},
                "objectives": {"cost": 100, "latency": 50, "stickiness": 100},
                "near": [{"service": "aws/dynamodb", "maxLatencyMs": 40}],
                "budget": {"maxMonthlyUsd": "600"},
                "failover": {"after": "5m", "purge": "Graceful",
                             "failback": {"mode": "Automatic", "stableFor": "30m"}},
                "sync": {"conflict": "Fail", "drift": "Correct", "onDelete": "Delete"},
                "dependencies": "Follow",
                "rollout": {"strategyName": "eu-waves"}
            }
        }))
        .unwrap();
        assert_eq!(policy.spec.objectives.unwrap().latency, 50);
    }
}
