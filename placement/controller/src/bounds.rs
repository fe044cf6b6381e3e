//! What bounds a workload, and by which shares it is divided with it (RULES 3.4). PURE.
//!
//! A HPA and a PodDisruptionBudget have Placements of their own. Where what they bound is divided, each cluster of theirs
//! carries that workload's replicas there; the syncer divides their numbers by these.

use std::collections::BTreeMap;

use federation_types::{
    names::{Gvk, ObjectKey},
    placement::PlacementSpec,
    selector::LabelSelector,
};
use serde_json::Value;

use crate::index::{Index, Template, template_key};

const BOUNDING: [(&str, &str); 2] =
    [("autoscaling", "HorizontalPodAutoscaler"), ("policy", "PodDisruptionBudget")];

/// Workloads whose replicas can be divided and whose pods a budget can select.
const SELECTED: [(&str, &str); 3] =
    [("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "ReplicaSet")];

/// What an object bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// The workload of that kind and name.
    Scale { group: String, kind: String, name: String },
    /// Every workload whose pods have such labels.
    Pods(LabelSelector),
}

impl Bounds {
    /// Reads a template; none for kinds that bound nothing.
    pub fn of(template: &Value) -> Option<Self> {
        let text = |pointer: &str| {
            template.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let gvk = Gvk::new(&text("/apiVersion"), &text("/kind"));
        match BOUNDING.iter().position(|it| *it == (gvk.group.as_str(), gvk.kind.as_str()))? {
            0 => Some(Self::Scale {
                group: Gvk::new(&text("/spec/scaleTargetRef/apiVersion"), "").group.to_string(),
                kind: text("/spec/scaleTargetRef/kind"),
                name: text("/spec/scaleTargetRef/name"),
            }),
            _ => {
                let selector = template.pointer("/spec/selector")?;
                serde_json::from_value(selector.clone()).ok().map(Self::Pods)
            }
        }
    }

    fn is_about(&self, key: &ObjectKey, template: &Template) -> bool {
        match self {
            Self::Scale { group, kind, name } => {
                *group == key.gvk.group && *kind == key.gvk.kind && *name == key.name
            }
            Self::Pods(selector) => {
                // A text that lacks a label's value need not be read: a namespace may hold many of both.
                selector.match_labels.values().all(|it| template.content.contains(it.as_str()))
                    && pod_labels(template).is_some_and(|labels| selector.matches(&labels))
            }
        }
    }
}

fn pod_labels(template: &Template) -> Option<BTreeMap<String, String>> {
    let content: Value = serde_json::from_str(&template.content).ok()?;
    let labels = content.pointer("/spec/template/metadata/labels")?;
    serde_json::from_value(labels.clone()).ok()
}

fn kind(group: &str, kind: &str) -> Gvk {
    Gvk::unversioned(group, kind)
}

/// The templates of a kind in a namespace.
fn of_kind<'a>(
    index: &'a Index,
    gvk: &'a Gvk,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ObjectKey, &'a Template)> {
    let first = template_key(gvk, namespace, "");
    index
        .templates
        .range(first..)
        .take_while(move |(key, _)| key.gvk == *gvk && key.namespace == namespace)
        .map(|(key, template)| (key, &**template))
}

/// The templates that bound a workload: they follow how it is divided.
pub(crate) fn bounding(index: &Index, key: &ObjectKey) -> Vec<ObjectKey> {
    let mut found = Vec::new();
    for (group, name) in BOUNDING {
        let gvk = kind(group, name);
        for (bounding, it) in of_kind(index, &gvk, &key.namespace) {
            let is_about = match (&it.bounds, index.templates.get(key)) {
                (Some(bounds), Some(template)) => bounds.is_about(key, template),
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_about {
                found.push(bounding.clone());
            }
        }
    }
    found
}

/// The most replicas that an autoscaler of the hub may make of a workload.
pub(crate) fn most_replicas(index: &Index, key: &ObjectKey) -> Option<i64> {
    let template = index.templates.get(key)?;
    let gvk = kind(BOUNDING[0].0, BOUNDING[0].1);
    let scaling = of_kind(index, &gvk, &key.namespace)
        .filter(|(_, it)| it.bounds.as_ref().is_some_and(|it| it.is_about(key, template)));
    scaling
        .filter_map(|(_, it)| {
            let content: Value = serde_json::from_str(&it.content).ok()?;
            content.pointer("/spec/maxReplicas")?.as_i64()
        })
        .max()
}

/// Writes beside each cluster how many replicas of what the template bounds run there; nothing where none of it is
/// divided.
pub(crate) fn share(index: &Index, key: &ObjectKey, template: &Template, spec: &mut PlacementSpec) {
    let shares = template.bounds.as_ref().and_then(|it| shares(index, key, it));
    for cluster in &mut spec.clusters {
        cluster.share =
            shares.as_ref().map(|it| it.get(&cluster.name).copied().unwrap_or_default());
    }
}

fn shares(index: &Index, key: &ObjectKey, bounds: &Bounds) -> Option<BTreeMap<String, i64>> {
    let bounded: Vec<ObjectKey> = match bounds {
        Bounds::Scale { group, kind: name, name: object } => {
            vec![template_key(&kind(group, name), &key.namespace, object)]
        }
        Bounds::Pods(_) => SELECTED
            .iter()
            .flat_map(|(group, name)| {
                let gvk = kind(group, name);
                of_kind(index, &gvk, &key.namespace)
                    .filter(|(it, template)| bounds.is_about(it, template))
                    .map(|(it, _)| it.clone())
                    .collect::<Vec<_>>()
            })
            .collect(),
    };
    let mut shares = BTreeMap::new();
    let placed = bounded.iter().filter_map(|it| index.placements.get(it));
    for placed in placed.filter(|it| it.spec.divided) {
        // A copy that is on its way out runs on until its successors are ready, and is bounded until then.
        for cluster in &placed.spec.clusters {
            *shares.entry(cluster.name.clone()).or_default() += cluster.replicas.unwrap_or(0);
        }
    }
    (!shares.is_empty()).then_some(shares)
}
