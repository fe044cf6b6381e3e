//! What a template names and cannot do without, which follows it where its policy says so (RULES 4.7).
//!
//! Read from pod specs wherever a kind keeps them, from Ingresses, and from ServiceAccounts. What names a workload from
//! outside is no dependency: a Service or a NetworkPolicy by its selector, a Role by its binding. They need a policy.

use std::collections::BTreeMap;

use federation_types::{
    names::{Gvk, ObjectKey, SmolStr},
    placement::Dependency,
    policy::{Dependencies, PlacementPolicySpec, Toleration, TolerationOperator, WorkloadTerm},
};
use serde_json::Value;
use status_rules::Rules;

use crate::{
    beside::{Beside, Neighbours},
    claim::{Facts, Policy, never},
    components,
};

/// What a template names in its own namespace, sorted, each once; left out is what is never a template (RULES 2.4), and
/// what grants rights.
///
/// Of a custom kind it is what its rule says, beside what pod templates in the usual places name.
pub fn dependencies(template: &Value, rules: &Rules) -> Vec<Dependency> {
    let text =
        |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let gvk = Gvk::new(text("/apiVersion"), text("/kind"));
    let mut found = Found { namespace: text("/metadata/namespace"), all: BTreeMap::new() };
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Pod") => found.pod(template.get("spec")),
        ("batch", "CronJob") => found.pod(template.pointer("/spec/jobTemplate/spec/template/spec")),
        ("networking.k8s.io", "Ingress") => found.ingress(template),
        ("", "ServiceAccount") => found.secrets(template, "/imagePullSecrets"),
        // What it lists is of the kinds that its definition makes, and not of these.
        ("", "ConfigMap" | "Secret" | "PersistentVolumeClaim" | "Service") => (),
        _ => {
            found.pod(template.pointer("/spec/template/spec"));
            for pod in components::pods(&gvk, template) {
                found.pod(Some(pod));
            }
            found.operators(&gvk, template);
        }
    }
    if (gvk.group.as_str(), gvk.kind.as_str()) == ("apps", "StatefulSet") {
        found.add("Service", template.pointer("/spec/serviceName"), false);
    }
    let key = |(kind, name): (&'static str, String), optional| Dependency {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        name,
        optional,
    };
    let mut all: Vec<Dependency> =
        found.all.into_iter().map(|(id, optional)| key(id, optional)).collect();
    // A template that its rule cannot be evaluated on is not placed, and needs nothing.
    let ruled = rules.find(&gvk).and_then(|it| it.dependencies(template).ok());
    for it in ruled.into_iter().flatten().filter(|it| may_follow(it, text("/metadata/namespace"))) {
        let known = all.iter_mut().find(|known| {
            (&known.api_version, &known.kind, &known.name) == (&it.api_version, &it.kind, &it.name)
        });
        match known {
            Some(known) => known.optional = false,
            None => all.push(Dependency {
                api_version: it.api_version,
                kind: it.kind,
                name: it.name,
                optional: false,
            }),
        }
    }
    all.sort();
    all
}

/// The group of what grants rights: that it is copied is for those to say who may federate (RULES 2.3, 2.5).
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// Why a policy may want its template to follow a rollout strategy, and cannot have that of what the template names.
pub const AT_ONCE: &str = "what follows is released to all clusters at once: the rollout strategy holds back the template, not what it names";

/// Whether something can be a template at all (RULES 2.4), and follow.
fn may_follow(it: &status_rules::Dependency, namespace: &str) -> bool {
    let gvk = Gvk::new(&it.api_version, &it.kind);
    let key = ObjectKey { gvk, namespace: namespace.into(), name: SmolStr::new(&it.name) };
    key.gvk.group != RBAC
        && never(&Facts { key: &key, labels: &BTreeMap::new(), secret_type: "" }).is_none()
}

/// Kinds that are followed without any definition, all of them of the core group.
pub const KINDS: [&str; 5] =
    ["ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"];

/// What was found, and whether it is optional wherever it is named.
struct Found<'a> {
    namespace: &'a str,
    all: BTreeMap<(&'static str, String), bool>,
}

impl Found<'_> {
    fn add(&mut self, kind: &'static str, name: Option<&Value>, optional: bool) {
        let Some(name) = name.and_then(Value::as_str).filter(|it| !it.is_empty()) else { return };
        let key = ObjectKey {
            gvk: Gvk::new("v1", kind),
            namespace: self.namespace.into(),
            name: SmolStr::new(name),
        };
        if never(&Facts { key: &key, labels: &BTreeMap::new(), secret_type: "" }).is_some() {
            return;
        }
        let known = self.all.entry((kind, name.to_owned())).or_insert(true);
        *known &= optional;
    }

    /// A reference with a `name`, and perhaps with `optional`.
    fn refer(&mut self, kind: &'static str, reference: Option<&Value>) {
        let Some(reference) = reference else { return };
        let optional = reference.get("optional") == Some(&Value::Bool(true));
        self.add(kind, reference.get("name"), optional);
    }

    /// A list of references to Secrets; some kinds write only their names.
    fn secrets(&mut self, value: &Value, pointer: &str) {
        for it in items(value, pointer) {
            self.add("Secret", it.get("name").or(Some(it)), false);
        }
    }

    fn pod(&mut self, pod: Option<&Value>) {
        let Some(pod) = pod else { return };
        let account = pod.get("serviceAccountName").or_else(|| pod.get("serviceAccount"));
        self.add("ServiceAccount", account, false);
        self.secrets(pod, "/imagePullSecrets");
        self.volumes(pod);
        for list in ["/containers", "/initContainers", "/ephemeralContainers"] {
            for container in items(pod, list) {
                self.environment(container);
            }
        }
    }

    fn environment(&mut self, container: &Value) {
        for it in items(container, "/env") {
            self.refer("ConfigMap", it.pointer("/valueFrom/configMapKeyRef"));
            self.refer("Secret", it.pointer("/valueFrom/secretKeyRef"));
        }
        for it in items(container, "/envFrom") {
            self.refer("ConfigMap", it.get("configMapRef"));
            self.refer("Secret", it.get("secretRef"));
        }
    }

    fn volumes(&mut self, pod: &Value) {
        for volume in items(pod, "/volumes") {
            self.refer("ConfigMap", volume.get("configMap"));
            self.secret_volume(volume.get("secret"));
            for it in items(volume, "/projected/sources") {
                self.refer("ConfigMap", it.get("configMap"));
                self.refer("Secret", it.get("secret"));
            }
            let claim = volume.pointer("/persistentVolumeClaim/claimName");
            self.add("PersistentVolumeClaim", claim, false);
            self.add("Secret", volume.pointer("/azureFile/secretName"), false);
            self.refer("Secret", volume.pointer("/csi/nodePublishSecretRef"));
            for (kind, source) in volume.as_object().into_iter().flatten() {
                if kind != "name" {
                    self.refer("Secret", source.get("secretRef"));
                }
            }
        }
    }

    fn secret_volume(&mut self, source: Option<&Value>) {
        let Some(source) = source else { return };
        let optional = source.get("optional") == Some(&Value::Bool(true));
        self.add("Secret", source.get("secretName"), optional);
    }

    fn ingress(&mut self, template: &Value) {
        let backend = "/backend/service/name";
        self.add("Service", template.pointer("/spec/defaultBackend/service/name"), false);
        for rule in items(template, "/spec/rules") {
            for path in items(rule, "/http/paths") {
                self.add("Service", path.pointer(backend), false);
            }
        }
        for it in items(template, "/spec/tls") {
            self.add("Secret", it.get("secretName"), false);
        }
    }

    /// What Flink and Spark name outside of pod templates.
    fn operators(&mut self, gvk: &Gvk, template: &Value) {
        let spec = match (gvk.group.as_str(), gvk.kind.as_str()) {
            ("flink.apache.org", "FlinkDeployment") => {
                return self.add("ServiceAccount", template.pointer("/spec/serviceAccount"), false);
            }
            ("sparkoperator.k8s.io", "SparkApplication") => template.get("spec"),
            ("sparkoperator.k8s.io", "ScheduledSparkApplication") => {
                template.pointer("/spec/template")
            }
            _ => None,
        };
        let Some(spec) = spec else { return };
        self.volumes(spec);
        self.secrets(spec, "/imagePullSecrets");
        for field in ["sparkConfigMap", "hadoopConfigMap"] {
            self.add("ConfigMap", spec.get(field), false);
        }
        for part in ["driver", "executor"].iter().filter_map(|it| spec.get(it)) {
            self.add("ServiceAccount", part.get("serviceAccount"), false);
            self.environment(part);
            for it in items(part, "/configMaps") {
                self.refer("ConfigMap", Some(it));
            }
            for it in items(part, "/secrets") {
                self.refer("Secret", Some(it));
            }
        }
    }
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The policy by which something follows what `policy` places: in the same clusters, whatever keeps others away from
/// them, and kept there in the same way.
pub fn follow(policy: &Policy) -> Policy {
    // Where the users are is told to the engine as that of neighbours, see [`beside`]: one compiled policy does for all
    // that follows.
    let there = WorkloadTerm { topology_key: "cluster".to_owned(), ..WorkloadTerm::default() };
    let any = Toleration { operator: TolerationOperator::Exists, ..Toleration::default() };
    Policy {
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
        uid: format!("{}/follow", policy.uid),
        generation: policy.generation,
        spec: PlacementPolicySpec {
            priority: policy.spec.priority,
            tolerations: vec![any],
            workload_affinity: vec![there],
            sync: policy.spec.sync.clone(),
            // What follows takes along what it names in its turn.
            dependencies: Some(Dependencies::Follow),
            ..PlacementPolicySpec::default()
        },
        limits: None,
        limits_only: false,
        namespaces: Vec::new(),
        system_namespaces: policy.system_namespaces,
    }
}

/// Whether a policy that decides is one of [`follow`]: no other claims anything without a selector.
pub fn is_follow(spec: &PlacementPolicySpec) -> bool {
    spec.selectors.is_empty() && spec.dependencies == Some(Dependencies::Follow)
}

/// The clusters where something is needed, as a policy of [`follow`] has them.
pub fn beside<'a>(clusters: impl Iterator<Item = &'a str>) -> Beside {
    let clusters = clusters.map(str::to_owned).collect();
    Beside { affinity: vec![Neighbours { clusters, itself: false }], ..Beside::default() }
}

#[cfg(test)]
mod tests;
