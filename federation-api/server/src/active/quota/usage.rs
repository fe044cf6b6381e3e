//! What an object counts for, in the words of quotas.

use federation_schema::quantity::Quantity;
use serde_json::Value;

use super::{
    super::{
        resources::{Amounts, Asked, amounts, containers},
        text,
    },
    whole,
};

/// Kinds of the core group that may be named without `count/`.
const PLAIN: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// What pods may be limited in; all else is requested only.
const LIMITED: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
/// What a quota of compute demands that each container says, for want of better in the days of the first quotas.
const DEMANDED: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// A kind that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counted<'k> {
    pub(super) group: &'k str,
    pub(super) plural: &'k str,
}

impl<'k> Counted<'k> {
    fn core(plural: &'k str) -> Self {
        Self { group: "", plural }
    }

    /// The kind whose objects count for a name in `hard`; `None` if the name cannot be counted here.
    pub(super) fn by(resource: &'k str) -> Option<Self> {
        if let Some(counted) = resource.strip_prefix("count/") {
            let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
            return Some(Self { group, plural });
        }
        if PLAIN.contains(&resource) {
            return Some(Self::core(resource));
        }
        if matches!(resource, "services.loadbalancers" | "services.nodeports") {
            return Some(Self::core("services"));
        }
        let claimed = resource.split_once(OF_CLASS).map_or(resource, |(_, claimed)| claimed);
        if claimed == "requests.storage" || (claimed == PLAIN[1] && claimed != resource) {
            return Some(Self::core("persistentvolumeclaims"));
        }
        let asked = resource.strip_prefix("requests.").unwrap_or(resource);
        let paged = asked.starts_with("hugepages-");
        let extended = asked != resource && is_extended(asked);
        let limited = resource.strip_prefix("limits.").is_some_and(|it| LIMITED.contains(&it));
        let pods = limited || paged || extended || LIMITED.contains(&asked);
        pods.then(|| Self::core("pods"))
    }

    /// Whether its objects count for more than that they are there.
    pub(super) fn is_weighed(self) -> bool {
        self.group.is_empty()
            && matches!(self.plural, "pods" | "persistentvolumeclaims" | "services")
    }

    /// Whether a name in `hard` counts things, where others sum amounts up.
    pub(super) fn is_count(self, resource: &str) -> bool {
        let last = resource.rsplit_once('/').map_or(resource, |(_, last)| last);
        resource.starts_with("count/") || last == self.plural || resource.starts_with("services.")
    }

    pub(super) fn is(self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }
}

/// Devices and the like: named by a domain that is not Kubernetes' own.
fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/")
}

/// What an object counts for.
pub(super) fn usage(kind: &Counted<'_>, object: &Value) -> Amounts {
    let mut usage = Amounts::new();
    let counted = match kind.group {
        "" => format!("count/{}", kind.plural),
        group => format!("count/{}.{group}", kind.plural),
    };
    usage.insert(counted, whole(1));
    let spec = &object["spec"];
    if kind.is("pods") {
        // A pod that has ended takes no room any more.
        let ended = matches!(text(&object["status"], "phase"), "Succeeded" | "Failed");
        if !ended {
            of_pod(spec, &mut usage);
        }
        return usage;
    }
    if kind.group.is_empty() && PLAIN.contains(&kind.plural) {
        usage.insert(kind.plural.to_owned(), whole(1));
    }
    if kind.is("persistentvolumeclaims") {
        of_claim(object, &mut usage);
    }
    if kind.is("services") {
        of_service(spec, &mut usage);
    }
    usage
}

fn of_pod(spec: &Value, usage: &mut Amounts) {
    usage.insert("pods".to_owned(), whole(1));
    let asked = Asked::of_pod(spec).with_overhead(&spec["overhead"]);
    for (resource, amount) in asked.requests {
        if LIMITED.contains(&resource.as_str()) || resource.starts_with("hugepages-") {
            usage.insert(resource.clone(), amount);
        }
        usage.insert(format!("requests.{resource}"), amount);
    }
    for (resource, amount) in asked.limits {
        usage.insert(format!("limits.{resource}"), amount);
    }
}

fn of_claim(claim: &Value, usage: &mut Amounts) {
    let spec = &claim["spec"];
    let annotated =
        text(&claim["metadata"]["annotations"], "volume.beta.kubernetes.io/storage-class");
    let class = if annotated.is_empty() { text(spec, "storageClassName") } else { annotated };
    let mut both = |resource: &str, amount: Quantity| {
        usage.insert(resource.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}{OF_CLASS}{resource}"), amount);
        }
    };
    both("persistentvolumeclaims", whole(1));
    if let Some(size) = amounts(&spec["resources"]["requests"]).get("storage") {
        both("requests.storage", *size);
    }
}

fn of_service(spec: &Value, usage: &mut Amounts) {
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = text(spec, "type");
    let node_ports = match kind {
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => {
            ports.iter().filter(|port| port["nodePort"].as_u64().is_some_and(|it| it > 0)).count()
        }
        "NodePort" | "LoadBalancer" => ports.len(),
        _ => 0,
    };
    usage.insert("services.nodeports".to_owned(), whole(node_ports));
    usage.insert("services.loadbalancers".to_owned(), whole(usize::from(kind == "LoadBalancer")));
}

/// What a quota demands that the containers of a pod say, and they do not.
pub(super) fn missing(hard: &Amounts, kind: &Counted<'_>, object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    if kind.is("persistentvolumeclaims") {
        let unsaid = !amounts(&spec["resources"]["requests"]).contains_key("storage");
        let demanded = hard.contains_key("requests.storage") && unsaid;
        return demanded.then(|| "requests.storage".to_owned()).into_iter().collect();
    }
    if !kind.is("pods") {
        return Vec::new();
    }
    let of_pod = Asked::read(&spec["resources"]);
    let mut out = Vec::new();
    for demanded in hard.keys().filter(|it| DEMANDED.contains(&it.as_str())) {
        let (limits, resource) = match demanded.split_once('.') {
            Some(("limits", resource)) => (true, resource),
            Some((_, resource)) => (false, resource),
            None => (false, demanded.as_str()),
        };
        let says = |asked: &Asked| {
            let list = if limits { &asked.limits } else { &asked.requests };
            list.contains_key(resource)
        };
        if says(&of_pod) {
            continue;
        }
        let silent: Vec<&str> = ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| containers(spec, list))
            .filter(|(_, container)| !says(&Asked::read(&container["resources"])))
            .map(|(_, container)| text(container, "name"))
            .collect();
        if !silent.is_empty() {
            out.push(format!("{demanded} for: {}", silent.join(",")));
        }
    }
    out
}
