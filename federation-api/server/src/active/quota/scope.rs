//! Scopes: which pods, or claims, a quota bears on.

use federation_schema::quantity::Quantity;
use serde_json::Value;

use super::{
    super::{resources::containers, text},
    usage::Counted,
};
use crate::status::Cause;

/// Scopes of pods that are there or not.
const PLAIN: [&str; 5] =
    ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating"];
/// Scopes by the name of a class.
const CLASSES: [&str; 2] = ["PriorityClass", "VolumeAttributesClass"];
const OPPOSITES: [[&str; 2]; 2] =
    [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// One scope of a quota.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    name: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`
    operator: String,
    values: Vec<Value>,
}

impl Scope {
    /// Those of a quota's spec: an object is meant that all of them hold for.
    pub(super) fn read_all(spec: &Value) -> Vec<Self> {
        let plain = spec["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let plain = plain.map(|name| Self {
            name: name.to_owned(),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
        let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let selected = selected.map(|it| Self {
            name: text(it, "scopeName").to_owned(),
            operator: text(it, "operator").to_owned(),
            values: it["values"].as_array().cloned().unwrap_or_default(),
        });
        plain.chain(selected).collect()
    }

    /// Whether an object is in the scope.
    pub(super) fn covers(&self, kind: &Counted<'_>, object: &Value) -> bool {
        let spec = &object["spec"];
        if kind.is("persistentvolumeclaims") {
            return self.name == CLASSES[1]
                && self.selects(text(spec, "volumeAttributesClassName"));
        }
        let ends = || spec["activeDeadlineSeconds"].as_i64().is_some_and(|it| it >= 0);
        kind.is("pods")
            && match self.name.as_str() {
                "Terminating" => ends(),
                "NotTerminating" => !ends(),
                "BestEffort" => is_best_effort(spec),
                "NotBestEffort" => !is_best_effort(spec),
                "PriorityClass" => self.selects(text(spec, "priorityClassName")),
                "CrossNamespacePodAffinity" => looks_abroad(&spec["affinity"]),
                _ => false,
            }
    }

    /// Whether a class is meant; the empty one is none.
    fn selects(&self, class: &str) -> bool {
        let named = self.values.iter().any(|it| it == class);
        match self.operator.as_str() {
            "In" => !class.is_empty() && named,
            "NotIn" => class.is_empty() || !named,
            "Exists" => !class.is_empty(),
            "DoesNotExist" => class.is_empty(),
            _ => false,
        }
    }

    /// Whether a name in `hard` can be of this scope.
    fn fits(&self, resource: &str) -> bool {
        let Some(kind) = Counted::by(resource) else { return true };
        match self.name.as_str() {
            "BestEffort" => matches!(resource, "pods" | "count/pods"),
            "VolumeAttributesClass" => kind.is("persistentvolumeclaims"),
            _ => {
                let other = ["ephemeral-storage", "hugepages-"];
                kind.is("pods") && !other.iter().any(|it| resource.contains(it))
            }
        }
    }
}

/// Whether nothing in a pod asks for any CPU or memory.
fn is_best_effort(spec: &Value) -> bool {
    let asks = |resources: &Value| {
        let lists = ["requests", "limits"].map(|list| &resources[list]);
        let amounts = lists.into_iter().flat_map(|list| [&list["cpu"], &list["memory"]]);
        amounts.into_iter().any(|it| Quantity::from_value(it).is_ok_and(|it| it.as_nano() > 0))
    };
    let all = ["containers", "initContainers"].into_iter().flat_map(|list| containers(spec, list));
    !asks(&spec["resources"]) && !all.into_iter().any(|(_, it)| asks(&it["resources"]))
}

/// Whether a pod's affinity names other namespaces.
fn looks_abroad(affinity: &Value) -> bool {
    let abroad = |term: &Value| {
        let named = term["namespaces"].as_array().is_some_and(|list| !list.is_empty());
        named || !term["namespaceSelector"].is_null()
    };
    let items = |list: &'_ Value| list.as_array().cloned().unwrap_or_default();
    ["podAffinity", "podAntiAffinity"].iter().any(|which| {
        let terms = &affinity[*which];
        let required = items(&terms["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = items(&terms["preferredDuringSchedulingIgnoredDuringExecution"]);
        required.iter().any(abroad) || preferred.iter().any(|it| abroad(&it["podAffinityTerm"]))
    })
}

/// What is wrong with the scopes of a quota's spec.
pub(super) fn check(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let plain = spec["scopes"].as_array().map_or(0, Vec::len);
    let scopes = Scope::read_all(spec);
    for (index, scope) in scopes.iter().enumerate() {
        let Scope { name, operator, values } = scope;
        let (at, what) = match index.checked_sub(plain) {
            None => (format!("spec.scopes[{index}]"), ""),
            Some(index) => (format!("spec.scopeSelector.matchExpressions[{index}]"), ".scopeName"),
        };
        let mut refuse =
            |field: &str, why: String| causes.push(Cause::field(format!("{at}{field}"), why));
        let (plain, class) = (PLAIN.contains(&&**name), CLASSES.contains(&&**name));
        if !plain && !class {
            refuse(what, format!("Invalid value: {name:?}: unsupported scope"));
            continue;
        }
        let counted = spec["hard"].as_object().into_iter().flatten();
        for (resource, _) in counted.filter(|(resource, _)| !scope.fits(resource)) {
            let why = format!("Invalid value: {name:?}: unsupported scope applied to {resource}");
            refuse(what, why);
        }
        match operator.as_str() {
            "In" | "NotIn" | "DoesNotExist" if plain => {
                refuse(".operator", format!("Invalid value: {operator:?}: must be Exists"));
            }
            "In" | "NotIn" if values.is_empty() => {
                let why = "Required value: at least one, when operator is In or NotIn";
                refuse(".values", why.to_owned());
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "Forbidden: there are none, when operator is Exists or DoesNotExist";
                refuse(".values", why.to_owned());
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => refuse(".operator", format!("Invalid value: {operator:?}: no operator")),
        }
    }
    let has = |name: &str| scopes.iter().any(|scope| scope.name == name);
    for [one, other] in OPPOSITES {
        if has(one) && has(other) {
            let why = format!("Invalid value: conflicting scopes: {one} and {other}");
            causes.push(Cause::field("spec.scopes", why));
        }
    }
    causes
}
