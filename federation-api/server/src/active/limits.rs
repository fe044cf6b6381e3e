//! LimitRanges that were made active: what pods and claims of their namespace get when they do not say it, and the
//! bounds of what they may ask for.

use federation_schema::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{
    name,
    resources::{Amounts, Asked, amounts, containers},
    text,
};
use crate::{object, status::Cause};

/// Where Kubernetes notes what a LimitRange filled in.
const FILLED_IN: &str = "kubernetes.io/limit-ranger";

/// What one LimitRange says of one type of things.
#[derive(Debug)]
struct Bounds {
    /// The name of the LimitRange.
    of: String,
    /// `Container`, `Pod`, `PersistentVolumeClaim`
    kind: String,
    min: Amounts,
    max: Amounts,
    default: Amounts,
    default_request: Amounts,
    ratio: Amounts,
}

impl Bounds {
    /// Reads those of all LimitRanges. What a range leaves out of its own defaults follows from its other bounds.
    fn read_all(ranges: &[Value]) -> Vec<Self> {
        let mut all = Vec::new();
        for range in ranges {
            for item in range["spec"]["limits"].as_array().into_iter().flatten() {
                let mut bounds = Self {
                    of: name(range),
                    kind: text(item, "type").to_owned(),
                    min: amounts(&item["min"]),
                    max: amounts(&item["max"]),
                    default: amounts(&item["default"]),
                    default_request: amounts(&item["defaultRequest"]),
                    ratio: amounts(&item["maxLimitRequestRatio"]),
                };
                if bounds.kind == "Container" {
                    fill(&mut bounds.default, &bounds.max);
                    fill(&mut bounds.default_request, &bounds.default);
                    fill(&mut bounds.default_request, &bounds.min);
                }
                all.push(bounds);
            }
        }
        all
    }
}

fn fill(amounts: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        amounts.entry(name.clone()).or_insert(*amount);
    }
}

/// Gives the containers of a pod what they do not ask for themselves, and notes it in an annotation.
pub(super) fn default(pod: &mut Value, ranges: &[Value]) {
    let bounds = Bounds::read_all(ranges);
    let mut notes = Vec::new();
    for bounds in bounds.iter().filter(|it| it.kind == "Container") {
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                let (requests, limits) = default_container(container, bounds);
                for (what, filled) in [("request", requests), ("limit", limits)] {
                    if !filled.is_empty() {
                        notes.push(format!(
                            "LimitRange {} set {what} of {} for container {}",
                            bounds.of,
                            filled.join(", "),
                            text(container, "name")
                        ));
                    }
                }
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    if let Some(metadata) = object::metadata_mut(pod) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(FILLED_IN.to_owned(), notes.join("; ").into());
        }
    }
}

/// The requests and the limits that were filled in.
fn default_container(container: &mut Value, bounds: &Bounds) -> (Vec<String>, Vec<String>) {
    let asked = Asked::read(&container["resources"]);
    let mut put = |field: &str, defaults: &Amounts, has: &Amounts| {
        let mut filled = Vec::new();
        for (resource, amount) in defaults.iter().filter(|(it, _)| !has.contains_key(*it)) {
            let resources = object_at(container, "resources");
            let list = object_at(resources, field);
            list[resource.as_str()] = amount.to_string().into();
            filled.push(resource.clone());
        }
        filled
    };
    let requests = put("requests", &bounds.default_request, &asked.requests);
    let limits = put("limits", &bounds.default, &asked.limits);
    (requests, limits)
}

/// The object that a field holds, made if there is none.
fn object_at<'v>(object: &'v mut Value, field: &str) -> &'v mut Value {
    if !object[field].is_object() {
        object[field] = Value::Object(Map::new());
    }
    &mut object[field]
}

/// What a pod asks for beyond its bounds.
pub(super) fn of_pod(pod: &Value, ranges: &[Value]) -> Vec<Cause> {
    let spec = &pod["spec"];
    let mut causes = Vec::new();
    for bounds in Bounds::read_all(ranges) {
        match bounds.kind.as_str() {
            "Container" => {
                for list in ["containers", "initContainers"] {
                    for (path, container) in containers(spec, list) {
                        let asked = Asked::read(&container["resources"]);
                        let at = format!("{path}.resources");
                        Judging { bounds: &bounds, at, asked: &asked }.pod(&mut causes);
                        above_own_limit(&path, &asked, &mut causes);
                    }
                }
            }
            "Pod" => {
                let (asked, at) = (Asked::of_pod(spec), "spec.resources".to_owned());
                Judging { bounds: &bounds, at, asked: &asked }.pod(&mut causes);
            }
            _ => {}
        }
    }
    causes
}

/// What a claim asks for beyond its bounds.
pub(super) fn of_claim(claim: &Value, ranges: &[Value]) -> Vec<Cause> {
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    let asked = Asked { requests, limits: Amounts::new() };
    let mut causes = Vec::new();
    for bounds in Bounds::read_all(ranges) {
        if bounds.kind == "PersistentVolumeClaim" {
            let at = "spec.resources".to_owned();
            Judging { bounds: &bounds, at, asked: &asked }.claim(&mut causes);
        }
    }
    causes
}

/// A limit that was filled in may be less than the request that the user wrote.
fn above_own_limit(path: &str, asked: &Asked, causes: &mut Vec<Cause>) {
    for (resource, request) in &asked.requests {
        if let Some(limit) = asked.limits.get(resource).filter(|limit| request > *limit) {
            let field = format!("{path}.resources.requests[{resource}]");
            causes
                .push(Cause::field(field, format!("{request} is more than the limit of {limit}")));
        }
    }
}

/// One thing against the bounds of its type.
struct Judging<'b> {
    bounds: &'b Bounds,
    /// Where its resources stand.
    at: String,
    asked: &'b Asked,
}

impl Judging<'_> {
    fn pod(&self, causes: &mut Vec<Cause>) {
        let Self { bounds, asked, .. } = self;
        let (requests, limits) = (("requests", &asked.requests), ("limits", &asked.limits));
        for (resource, min) in &bounds.min {
            self.compare(resource, ("minimum", *min), [(requests, true), (limits, false)], causes);
        }
        for (resource, max) in &bounds.max {
            self.compare(resource, ("maximum", *max), [(limits, true), (requests, false)], causes);
        }
        for (resource, ratio) in &bounds.ratio {
            self.ratio(resource, *ratio, causes);
        }
    }

    fn claim(&self, causes: &mut Vec<Cause>) {
        let requests = (("requests", &self.asked.requests), true);
        for (resource, min) in &self.bounds.min {
            self.compare(resource, ("minimum", *min), [requests], causes);
        }
        for (resource, max) in &self.bounds.max {
            self.compare(resource, ("maximum", *max), [requests], causes);
        }
    }

    /// `lists` name the amounts that a bound is for, the first that breaks it is told; and whether each must be there.
    fn compare<'a>(
        &self,
        resource: &str,
        (which, bound): (&str, Quantity),
        lists: impl IntoIterator<Item = ((&'a str, &'a Amounts), bool)>,
        causes: &mut Vec<Cause>,
    ) {
        for ((list, amounts), required) in lists {
            let found = amounts.get(resource).copied();
            let what = match found {
                None if required => "it must be set".to_owned(),
                Some(found) if which == "minimum" && found < bound => {
                    format!("{found} is too little")
                }
                Some(found) if which == "maximum" && found > bound => {
                    format!("{found} is too much")
                }
                _ => continue,
            };
            return causes.push(self.cause(
                list,
                resource,
                &what,
                &format!("the {which} is {bound}"),
            ));
        }
    }

    fn ratio(&self, resource: &str, ratio: Quantity, causes: &mut Vec<Cause>) {
        let set = |amounts: &Amounts| amounts.get(resource).copied().filter(|it| it.as_nano() != 0);
        let bound = format!("the limit may be {ratio} times the request");
        let (list, what) = match (set(&self.asked.requests), set(&self.asked.limits)) {
            (None, _) => ("requests", "it must be set and not zero".to_owned()),
            (_, None) => ("limits", "it must be set and not zero".to_owned()),
            (Some(request), Some(limit)) => {
                let most = ratio.milli().saturating_mul(request.milli());
                if limit.milli().saturating_mul(1000) <= most {
                    return;
                }
                ("limits", format!("{limit} is too much for a request of {request}"))
            }
        };
        causes.push(self.cause(list, resource, &what, &bound));
    }

    fn cause(&self, list: &str, resource: &str, what: &str, bound: &str) -> Cause {
        let Bounds { of, kind, .. } = self.bounds;
        let field = format!("{}.{list}[{resource}]", self.at);
        Cause::field(field, format!("{what}: {bound} per {kind} (LimitRange {of})"))
    }
}

/// What of an active LimitRange contradicts itself, or could not be carried out here.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let items = object["spec"]["limits"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("spec.limits[{index}]");
        let kind = text(item, "type");
        if seen.contains(&kind) {
            causes.push(Cause::field(format!("{at}.type"), format!("Duplicate value: {kind:?}")));
        }
        seen.push(kind);
        let mut lists = vec!["default", "defaultRequest"];
        match kind {
            "Container" => lists.clear(),
            "Pod" => {}
            "PersistentVolumeClaim" => {
                lists.push("maxLimitRequestRatio");
                if ["min", "max"].iter().all(|it| item[*it]["storage"].is_null()) {
                    let why = "Required value: a minimum or a maximum of storage";
                    causes.push(Cause::field(at.clone(), why));
                }
            }
            other => {
                let why = format!(
                    "Unsupported value: {other:?}: supported values on this server: \"Container\", \
                     \"PersistentVolumeClaim\", \"Pod\""
                );
                causes.push(Cause::field(format!("{at}.type"), why));
            }
        }
        for list in lists.into_iter().filter(|list| !item[*list].is_null()) {
            let why = format!("Forbidden: may not be specified when `type` is '{kind}'");
            causes.push(Cause::field(format!("{at}.{list}"), why));
        }
        causes.extend(contradictions(item, &at));
    }
    causes
}

/// The lists of an item that must not be more than others.
const ORDER: [(&str, &str); 6] = [
    ("min", "max"),
    ("min", "default"),
    ("min", "defaultRequest"),
    ("default", "max"),
    ("defaultRequest", "default"),
    ("defaultRequest", "max"),
];

fn contradictions(item: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (less, more) in ORDER {
        let most = amounts(&item[more]);
        for (resource, amount) in amounts(&item[less]) {
            if let Some(most) = most.get(&resource).filter(|most| amount > **most) {
                let why = format!("Invalid value: {amount}: is more than {more}, {most}");
                causes.push(Cause::field(format!("{at}.{less}[{resource}]"), why));
            }
        }
    }
    let (min, max) = (amounts(&item["min"]), amounts(&item["max"]));
    for (resource, ratio) in amounts(&item["maxLimitRequestRatio"]) {
        let apart = min.get(&resource).zip(max.get(&resource)).is_some_and(|(min, max)| {
            ratio.milli().saturating_mul(min.milli()) > max.milli().saturating_mul(1000)
        });
        let why = if ratio.milli() < 1000 {
            "is less than 1"
        } else if apart {
            "is more than max divided by min"
        } else {
            continue;
        };
        let field = format!("{at}.maxLimitRequestRatio[{resource}]");
        causes.push(Cause::field(field, format!("Invalid value: {ratio}: {why}")));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limits: &Value) -> [Value; 1] {
        [json!({"metadata": {"name": "bounds"}, "spec": {"limits": limits}})]
    }

    /// What was tried on an API server of Kubernetes 1.36 as well.
    fn usual() -> [Value; 1] {
        range(&json!([
            {
                "type": "Container",
                "max": {"cpu": "2", "memory": "1Gi"},
                "min": {"cpu": "100m"},
                "default": {"memory": "256Mi"},
                "maxLimitRequestRatio": {"cpu": "4"},
            },
            {"type": "Pod", "max": {"cpu": "3"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}},
        ]))
    }

    fn pod(resources: &Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn rule_2_5_an_active_limit_range_fills_in_what_a_container_leaves_out() {
        let resources = |given: Value| {
            let mut pod = pod(&given);
            default(&mut pod, &usual());
            pod["spec"]["containers"][0]["resources"].clone()
        };
        let all = json!({"cpu": "2", "memory": "256Mi"});
        assert_eq!(resources(json!({})), json!({"limits": all, "requests": all}));
        // The request that follows from a limit is left to whoever runs the pod.
        assert_eq!(
            resources(json!({"limits": {"cpu": "1"}})),
            json!({"limits": {"cpu": "1", "memory": "256Mi"}, "requests": {"memory": "256Mi"}})
        );
        assert_eq!(
            resources(json!({"requests": {"cpu": "1"}})),
            json!({"limits": all, "requests": {"cpu": "1", "memory": "256Mi"}})
        );
        let mut pod = pod(&json!({"limits": {"cpu": "1"}}));
        default(&mut pod, &usual());
        assert_eq!(
            pod["metadata"]["annotations"][FILLED_IN],
            "LimitRange bounds set request of memory for container c; \
             LimitRange bounds set limit of memory for container c"
        );
        let before = pod.clone();
        default(&mut pod, &usual());
        assert_eq!(pod, before);
    }

    #[test]
    fn rule_2_5_an_active_limit_range_bounds_containers_and_pods() {
        let refused = |given: Value| -> Vec<String> {
            let mut pod = pod(&given);
            default(&mut pod, &usual());
            let causes = of_pod(&pod, &usual());
            causes.into_iter().map(|it| format!("{} {}", it.field, it.message)).collect()
        };
        let at = |list: &str| format!("spec.containers[0].resources.{list}");
        assert_eq!(refused(json!({})), Vec::<String>::new());
        assert_eq!(
            refused(json!({"limits": {"cpu": "3"}})),
            [format!(
                "{} 3 is too much: the maximum is 2 per Container (LimitRange bounds)",
                at("limits[cpu]")
            )]
        );
        assert_eq!(
            refused(json!({"limits": {"cpu": "50m"}})),
            [format!(
                "{} 50m is too little: the minimum is 100m per Container (LimitRange bounds)",
                at("requests[cpu]")
            )]
        );
        assert_eq!(
            refused(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}})),
            [format!(
                "{} 1 is too much for a request of 100m: the limit may be 4 times the request per Container \
                 (LimitRange bounds)",
                at("limits[cpu]")
            )]
        );
        assert_eq!(
            refused(json!({"requests": {"memory": "512Mi"}})),
            [format!("{} 512Mi is more than the limit of 256Mi", at("requests[memory]"))]
        );
        let many =
            refused(json!({"requests": {"cpu": "3"}, "limits": {"cpu": "4", "memory": "2Gi"}}));
        assert_eq!(many.len(), 3, "{many:?}");
        assert!(
            many[2]
                .starts_with("spec.resources.limits[cpu] 4 is too much: the maximum is 3 per Pod")
        );
        let unset =
            of_pod(&pod(&json!({})), &range(&json!([{"type": "Pod", "min": {"cpu": "1"}}])));
        assert_eq!(unset[0].field, "spec.resources.requests[cpu]");
        assert!(unset[0].message.starts_with("it must be set: the minimum is 1 per Pod"));
    }

    #[test]
    fn rule_2_5_an_active_limit_range_bounds_claims() {
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        for (size, what) in [("512Mi", "512Mi is too little"), ("20Gi", "20Gi is too much")] {
            let causes = of_claim(&claim(size), &usual());
            assert_eq!(causes[0].field, "spec.resources.requests[storage]");
            assert!(causes[0].message.starts_with(what), "{}", causes[0].message);
        }
        assert!(of_claim(&claim("5Gi"), &usual()).is_empty());
    }

    #[test]
    fn a_limit_range_that_contradicts_itself_is_refused() {
        let fields = |limits: Value| -> Vec<String> {
            check(&range(&limits)[0]).into_iter().map(|cause| cause.field).collect()
        };
        assert!(check(&usual()[0]).is_empty());
        assert_eq!(
            fields(json!([
                {"type": "Pod", "default": {"cpu": "1"}},
                {"type": "Pod"},
                {"type": "PersistentVolumeClaim"},
                {"type": "Image", "max": {"storage": "1Gi"}},
            ])),
            [
                "spec.limits[0].default",
                "spec.limits[1].type",
                "spec.limits[2]",
                "spec.limits[3].type"
            ]
        );
        assert_eq!(
            fields(json!([{
                "type": "Container",
                "min": {"cpu": "2"},
                "max": {"cpu": "1", "memory": "4"},
                "default": {"memory": "5"},
                "defaultRequest": {"memory": "6"},
                "maxLimitRequestRatio": {"memory": "500m"},
            }])),
            [
                "spec.limits[0].min[cpu]",
                "spec.limits[0].default[memory]",
                "spec.limits[0].defaultRequest[memory]",
                "spec.limits[0].defaultRequest[memory]",
                "spec.limits[0].maxLimitRequestRatio[memory]",
            ]
        );
    }
}
