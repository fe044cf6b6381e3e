//! The columns of built-in kinds, in the order and with the heads that a Kubernetes API server gives them.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cells::{self, items, number, plain, text},
    human, pod, storage, traffic,
};
use crate::catalogue::Gvk;

/// A column of a built-in kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Builtin {
    name: &'static str,
    pub(super) cell: Cell,
    wide: bool,
}

/// What a cell shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    Name,
    Age,
    /// The time of creation itself.
    Created,
    /// What stands at a JSON pointer, or else the second text.
    Text(&'static str, &'static str),
    Number(&'static str),
    Truth(&'static str, bool),
    /// How many items a list has.
    Count(&'static str),
    /// Made by a function, as text.
    Made(fn(&Value, Timestamp) -> Value),
    /// Made by a function, as a number.
    MadeNumber(fn(&Value, Timestamp) -> Value),
}

use Cell::{Age, Count, Made, MadeNumber, Name, Number, Text, Truth};

impl Cell {
    /// The cell of an object.
    pub(super) fn of(self, object: &Value, now: Timestamp) -> Value {
        match self {
            Self::Name => text(object, "/metadata/name").into(),
            Self::Age => human::age(&object["metadata"]["creationTimestamp"], now).into(),
            Self::Created => text(object, "/metadata/creationTimestamp").into(),
            Self::Text(at, missing) => match object.pointer(at) {
                None | Some(Value::Null) => missing.into(),
                Some(Value::String(text)) if text.is_empty() => missing.into(),
                Some(value) => plain(value).into(),
            },
            Self::Number(at) => number(object, at).unwrap_or(0).into(),
            Self::Truth(at, missing) => {
                object.pointer(at).and_then(Value::as_bool).unwrap_or(missing).into()
            }
            Self::Count(at) => items(object, at).len().into(),
            Self::Made(make) | Self::MadeNumber(make) => make(object, now),
        }
    }
}

impl Builtin {
    pub(super) fn head(&self) -> Column {
        let kind = match self.cell {
            Number(_) | Count(_) | MadeNumber(_) => "integer",
            Truth(..) => "boolean",
            Cell::Created => "date",
            _ => "string",
        };
        // The name may be decorated, but is always the column of that name.
        let format = if self.name == "Name" { "name" } else { "" };
        let description = if self.name == "Name" { "The name of the object." } else { "" };
        Column {
            name: self.name.to_owned(),
            kind: kind.to_owned(),
            format: format.to_owned(),
            description: description.to_owned(),
            priority: i64::from(self.wide),
        }
    }
}

const fn c(name: &'static str, cell: Cell) -> Builtin {
    Builtin { name, cell, wide: false }
}

const fn w(name: &'static str, cell: Cell) -> Builtin {
    Builtin { name, cell, wide: true }
}

const NAME: Builtin = c("Name", Name);
const AGE: Builtin = c("Age", Age);
const CONTAINERS: Builtin = w("Containers", Made(cells::container_names));
const IMAGES: Builtin = w("Images", Made(cells::container_images));

/// The columns of a kind.
pub(super) fn columns(gvk: &Gvk) -> &'static [Builtin] {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", kind) => core(kind),
        ("apps", kind) => apps(kind),
        ("batch", kind) => batch(kind),
        ("autoscaling", kind) => autoscaling(kind),
        ("networking.k8s.io", kind) => networking(kind),
        ("discovery.k8s.io", "EndpointSlice") => {
            const {
                &[
                    NAME,
                    c("AddressType", Text("/addressType", "")),
                    c("Ports", Made(traffic::slice_ports)),
                    c("Endpoints", Made(traffic::slice_endpoints)),
                    AGE,
                ]
            }
        }
        ("events.k8s.io", "Event") => EVENT,
        ("storage.k8s.io", kind) => storage_group(kind),
        ("policy", "PodDisruptionBudget") => {
            const {
                &[
                    NAME,
                    c("Min Available", Text("/spec/minAvailable", "N/A")),
                    c("Max Unavailable", Text("/spec/maxUnavailable", "N/A")),
                    c("Allowed Disruptions", Number("/status/disruptionsAllowed")),
                    AGE,
                ]
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            const {
                &[
                    NAME,
                    c("Role", Made(cells::role_of)),
                    AGE,
                    w("Users", Made(cells::bound_users)),
                    w("Groups", Made(cells::bound_groups)),
                    w("ServiceAccounts", Made(cells::bound_accounts)),
                ]
            }
        }
        ("coordination.k8s.io", "Lease") => {
            const { &[NAME, c("Holder", Text("/spec/holderIdentity", "")), AGE] }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            const {
                &[
                    NAME,
                    c("Value", Number("/value")),
                    c("Global-Default", Truth("/globalDefault", false)),
                    AGE,
                    c("PreemptionPolicy", Text("/preemptionPolicy", "PreemptLowerPriority")),
                ]
            }
        }
        ("node.k8s.io", "RuntimeClass") => {
            const { &[NAME, c("Handler", Text("/handler", "")), AGE] }
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => const { &[NAME, c("Webhooks", Count("/webhooks")), AGE] },
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => const { &[NAME, AGE] },
        _ => PLAIN,
    }
}

/// For kinds with no columns of their own.
const PLAIN: &[Builtin] = &[NAME, c("Created At", Cell::Created)];

fn core(kind: &str) -> &'static [Builtin] {
    match kind {
        "Pod" => {
            const {
                &[
                    NAME,
                    c("Ready", Made(pod::ready)),
                    c("Status", Made(pod::status)),
                    c("Restarts", Made(pod::restarts)),
                    AGE,
                    w("IP", Made(pod::ip)),
                    w("Node", Text("/spec/nodeName", "<none>")),
                    w("Nominated Node", Text("/status/nominatedNodeName", "<none>")),
                    w("Readiness Gates", Made(pod::readiness_gates)),
                ]
            }
        }
        "PodTemplate" => {
            const {
                &[
                    NAME,
                    c("Containers", Made(cells::container_names)),
                    c("Images", Made(cells::container_images)),
                    c("Pod Labels", Made(template_labels)),
                ]
            }
        }
        "Service" => {
            const {
                &[
                    NAME,
                    c("Type", Made(traffic::service_type)),
                    c("Cluster-IP", Made(traffic::cluster_ip)),
                    c("External-IP", Made(traffic::external_ip)),
                    c("Port(s)", Made(traffic::service_ports)),
                    AGE,
                    w("Selector", Made(traffic::service_selector)),
                ]
            }
        }
        "ReplicationController" => {
            const {
                &[
                    NAME,
                    c("Desired", MadeNumber(cells::wanted)),
                    c("Current", Number("/status/replicas")),
                    c("Ready", Number("/status/readyReplicas")),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(traffic::service_selector)),
                ]
            }
        }
        "ConfigMap" => const { &[NAME, c("Data", Made(cells::data_entries)), AGE] },
        "Secret" => {
            const {
                &[
                    NAME,
                    c("Type", Text("/type", "Opaque")),
                    c("Data", Made(cells::data_entries)),
                    AGE,
                ]
            }
        }
        "Namespace" => const { &[NAME, c("Status", Text("/status/phase", "")), AGE] },
        "ServiceAccount" => const { &[NAME, AGE] },
        "Endpoints" => const { &[NAME, c("Endpoints", Made(traffic::endpoints)), AGE] },
        "Event" => EVENT,
        "Node" => {
            const {
                &[
                    NAME,
                    c("Status", Made(cells::node_status)),
                    c("Roles", Made(cells::node_roles)),
                    AGE,
                    c("Version", Text("/status/nodeInfo/kubeletVersion", "")),
                    w("Internal-IP", Made(cells::node_internal_ip)),
                    w("External-IP", Made(cells::node_external_ip)),
                    w("OS-Image", Text("/status/nodeInfo/osImage", "<unknown>")),
                    w("Kernel-Version", Made(cells::node_kernel)),
                    w(
                        "Container-Runtime",
                        Text("/status/nodeInfo/containerRuntimeVersion", "<unknown>"),
                    ),
                ]
            }
        }
        "PersistentVolume" => {
            const {
                &[
                    NAME,
                    c("Capacity", Made(storage::volume_capacity)),
                    c("Access Modes", Made(storage::volume_modes)),
                    c("Reclaim Policy", Text("/spec/persistentVolumeReclaimPolicy", "Retain")),
                    c("Status", Made(storage::phase)),
                    c("Claim", Made(storage::volume_claim)),
                    c("StorageClass", Made(storage::class)),
                    c("VolumeAttributesClass", Text("/spec/volumeAttributesClassName", "<unset>")),
                    c("Reason", Text("/status/reason", "")),
                    AGE,
                    w("VolumeMode", Text("/spec/volumeMode", "<unset>")),
                ]
            }
        }
        "PersistentVolumeClaim" => {
            const {
                &[
                    NAME,
                    c("Status", Made(storage::phase)),
                    c("Volume", Text("/spec/volumeName", "")),
                    c("Capacity", Made(storage::claim_capacity)),
                    c("Access Modes", Made(storage::claim_modes)),
                    c("StorageClass", Made(storage::class)),
                    c("VolumeAttributesClass", Text("/spec/volumeAttributesClassName", "<unset>")),
                    AGE,
                    w("VolumeMode", Text("/spec/volumeMode", "<unset>")),
                ]
            }
        }
        "ResourceQuota" => {
            const {
                &[
                    NAME,
                    c("Request", Made(cells::quota_requests)),
                    c("Limit", Made(cells::quota_limits)),
                    AGE,
                ]
            }
        }
        _ => PLAIN,
    }
}

fn template_labels(template: &Value, _: Timestamp) -> Value {
    cells::labels(template.pointer("/template/metadata/labels")).into()
}

const EVENT: &[Builtin] = &[
    c("Last Seen", Made(cells::event_last)),
    c("Type", Text("/type", "")),
    c("Reason", Text("/reason", "")),
    c("Object", Made(cells::event_object)),
    w("Subobject", Made(cells::event_subobject)),
    w("Source", Made(cells::event_source)),
    c("Message", Made(cells::event_message)),
    w("First Seen", Made(cells::event_first)),
    w("Count", Made(cells::event_count)),
    w("Name", Name),
];

fn apps(kind: &str) -> &'static [Builtin] {
    match kind {
        "Deployment" => {
            const {
                &[
                    NAME,
                    c("Ready", Made(cells::ready_of_wanted)),
                    c("Up-to-date", Text("/status/updatedReplicas", "0")),
                    c("Available", Text("/status/availableReplicas", "0")),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(cells::bare_selector)),
                ]
            }
        }
        "ReplicaSet" => {
            const {
                &[
                    NAME,
                    c("Desired", MadeNumber(cells::wanted)),
                    c("Current", Number("/status/replicas")),
                    c("Ready", Number("/status/readyReplicas")),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(cells::workload_selector)),
                ]
            }
        }
        "StatefulSet" => {
            const { &[NAME, c("Ready", Made(cells::ready_of_wanted)), AGE, CONTAINERS, IMAGES] }
        }
        "DaemonSet" => {
            const {
                &[
                    NAME,
                    c("Desired", Number("/status/desiredNumberScheduled")),
                    c("Current", Number("/status/currentNumberScheduled")),
                    c("Ready", Number("/status/numberReady")),
                    c("Up-to-date", Number("/status/updatedNumberScheduled")),
                    c("Available", Number("/status/numberAvailable")),
                    c("Node Selector", Made(node_selector)),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(cells::workload_selector)),
                ]
            }
        }
        "ControllerRevision" => {
            const {
                &[
                    NAME,
                    c("Controller", Made(controller)),
                    c("Revision", Text("/revision", "0")),
                    AGE,
                ]
            }
        }
        _ => PLAIN,
    }
}

fn node_selector(set: &Value, _: Timestamp) -> Value {
    cells::labels(set.pointer("/spec/template/spec/nodeSelector")).into()
}

fn controller(revision: &Value, _: Timestamp) -> Value {
    let owner =
        items(revision, "/metadata/ownerReferences").iter().find(|o| o["controller"] == true);
    let Some(owner) = owner else { return "<none>".into() };
    let group = text(owner, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let kind = text(owner, "/kind").to_lowercase();
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", text(owner, "/name")).into()
}

fn batch(kind: &str) -> &'static [Builtin] {
    match kind {
        "Job" => {
            const {
                &[
                    NAME,
                    c("Status", Made(cells::job_status)),
                    c("Completions", Made(cells::job_completions)),
                    c("Duration", Made(cells::job_duration)),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(cells::workload_selector)),
                ]
            }
        }
        "CronJob" => {
            const {
                &[
                    NAME,
                    c("Schedule", Text("/spec/schedule", "")),
                    c("Timezone", Text("/spec/timeZone", "<none>")),
                    c("Suspend", Made(cells::cron_suspend)),
                    c("Active", Count("/status/active")),
                    c("Last Schedule", Made(cells::cron_last)),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    w("Selector", Made(cells::cron_job_selector)),
                ]
            }
        }
        _ => PLAIN,
    }
}

fn autoscaling(kind: &str) -> &'static [Builtin] {
    match kind {
        "HorizontalPodAutoscaler" => {
            const {
                &[
                    NAME,
                    c("Reference", Made(traffic::autoscaler_reference)),
                    c("Targets", Made(traffic::autoscaler_targets)),
                    c("MinPods", Text("/spec/minReplicas", "<unset>")),
                    c("MaxPods", Text("/spec/maxReplicas", "0")),
                    c("Replicas", Text("/status/currentReplicas", "0")),
                    AGE,
                ]
            }
        }
        "Scale" => {
            const {
                &[
                    NAME,
                    c("Desired", Number("/spec/replicas")),
                    c("Available", Number("/status/replicas")),
                    AGE,
                ]
            }
        }
        _ => PLAIN,
    }
}

fn networking(kind: &str) -> &'static [Builtin] {
    match kind {
        "Ingress" => {
            const {
                &[
                    NAME,
                    c("Class", Text("/spec/ingressClassName", "<none>")),
                    c("Hosts", Made(traffic::ingress_hosts)),
                    c("Address", Made(traffic::ingress_address)),
                    c("Ports", Made(traffic::ingress_ports)),
                    AGE,
                ]
            }
        }
        "IngressClass" => {
            const {
                &[
                    c("Name", Made(storage::class_name)),
                    c("Controller", Text("/spec/controller", "")),
                    c("Parameters", Made(traffic::ingress_class_parameters)),
                    AGE,
                ]
            }
        }
        "NetworkPolicy" => const { &[NAME, c("Pod-Selector", Made(cells::pod_selector)), AGE] },
        _ => PLAIN,
    }
}

fn storage_group(kind: &str) -> &'static [Builtin] {
    match kind {
        "StorageClass" => {
            const {
                &[
                    c("Name", Made(storage::class_name)),
                    c("Provisioner", Text("/provisioner", "")),
                    c("ReclaimPolicy", Text("/reclaimPolicy", "Delete")),
                    c("VolumeBindingMode", Text("/volumeBindingMode", "Immediate")),
                    c("AllowVolumeExpansion", Made(storage::allows_expansion)),
                    AGE,
                ]
            }
        }
        "VolumeAttributesClass" => const { &[NAME, c("DriverName", Text("/driverName", "")), AGE] },
        "CSINode" => const { &[NAME, c("Drivers", Count("/spec/drivers")), AGE] },
        _ => PLAIN,
    }
}
