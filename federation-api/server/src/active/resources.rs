//! What pods and claims ask for: amounts by resource, summed over containers as schedulers and quotas sum them.

use std::collections::BTreeMap;

use federation_schema::quantity::Quantity;
use serde_json::Value;

/// Amounts by the name of a resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Reads a list of resources; what is no quantity was refused before.
pub(super) fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// What one container, or a pod as a whole, asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) requests: Amounts,
    pub(super) limits: Amounts,
}

impl Asked {
    /// Reads a `resources` field. A limit without a request is a request as well: so every API server takes it.
    pub(super) fn read(resources: &Value) -> Self {
        let (mut requests, limits) =
            (amounts(&resources["requests"]), amounts(&resources["limits"]));
        for (name, limit) in &limits {
            requests.entry(name.clone()).or_insert(*limit);
        }
        Self { requests, limits }
    }

    fn join(&mut self, other: &Self, with: fn(&mut Amounts, &Amounts)) {
        with(&mut self.requests, &other.requests);
        with(&mut self.limits, &other.limits);
    }

    /// What a pod asks for: its containers and sidecars together, or the init container that asks for more while it
    /// runs beside the sidecars started before it; and what the pod itself says goes before both.
    pub(super) fn of_pod(spec: &Value) -> Self {
        let mut running = Self::default();
        for (_, container) in containers(spec, "containers") {
            running.join(&Self::read(&container["resources"]), add);
        }
        let (mut sidecars, mut starting) = (Self::default(), Self::default());
        for (_, container) in containers(spec, "initContainers") {
            let mut own = Self::read(&container["resources"]);
            if container["restartPolicy"] == "Always" {
                running.join(&own, add);
                sidecars.join(&own, add);
                own = sidecars.clone();
            } else {
                own.join(&sidecars, add);
            }
            starting.join(&own, max);
        }
        running.join(&starting, max);
        let (requests, limits) =
            (amounts(&spec["resources"]["requests"]), amounts(&spec["resources"]["limits"]));
        for (name, limit) in limits {
            running.requests.entry(name.clone()).or_insert(limit);
            running.limits.insert(name, limit);
        }
        running.requests.extend(requests);
        running
    }

    /// With what a pod of its runtime class costs beside its containers.
    pub(super) fn with_overhead(mut self, overhead: &Value) -> Self {
        let overhead = amounts(overhead);
        add(&mut self.requests, &overhead);
        // An amount that is not limited stays so.
        let limited = overhead.into_iter().filter(|(name, _)| self.limits.contains_key(name));
        let limited: Amounts = limited.collect();
        add(&mut self.limits, &limited);
        self
    }
}

/// The containers of a list of a pod's spec, with the path of each.
pub(super) fn containers<'v>(
    spec: &'v Value,
    list: &'static str,
) -> impl Iterator<Item = (String, &'v Value)> {
    let items = spec[list].as_array().into_iter().flatten().enumerate();
    items.map(move |(index, container)| (format!("spec.{list}[{index}]"), container))
}

/// Adds amounts to amounts.
pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.checked_add(*amount).unwrap_or(*entry);
    }
}

fn max(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = most.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(amounts: &Amounts) -> Vec<String> {
        amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_for_its_largest_init_container() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut spec = json!({
            "containers": [container("500m"), container("1")],
            "initContainers": [
                container("2"),
                {"restartPolicy": "Always", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                container("250m"),
            ],
        });
        let asked = Asked::of_pod(&spec);
        assert_eq!(shown(&asked.requests), ["cpu=2500m", "memory=1Gi"]);
        assert_eq!(shown(&asked.limits), ["cpu=1", "memory=1Gi"]);
        spec["initContainers"][0] = container("3");
        assert_eq!(shown(&Asked::of_pod(&spec).requests), ["cpu=3", "memory=1Gi"]);
        spec["resources"] = json!({"requests": {"cpu": "4"}, "limits": {"memory": "2Gi"}});
        let asked = Asked::of_pod(&spec).with_overhead(&json!({"cpu": "100m", "memory": "1Mi"}));
        assert_eq!(shown(&asked.requests), ["cpu=4100m", "memory=1025Mi"]);
        assert_eq!(shown(&asked.limits), ["cpu=1100m", "memory=2049Mi"]);
    }
}
