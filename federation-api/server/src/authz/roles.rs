//! The roles and bindings of a first start, as data.
//!
//! Names that Kubernetes gives a meaning keep it. Every component of ours has a role of its own that holds what it
//! needs and no more.

use serde_json::{Value, json};

use super::RBAC_GROUP;

const READ: &str = "get list watch";
const WRITE: &str = "create update patch delete deletecollection";
const ALL: &str = "get list watch create update patch delete deletecollection";
/// Our kinds that live in namespaces and that their users write.
const OUR_POLICIES: &str = "placementpolicies overridepolicies rolloutstrategies rollouts";

/// Every bootstrap object, as `(resource, namespace, object)`.
pub(super) fn all() -> Vec<(&'static str, &'static str, Value)> {
    let mut objects = Vec::new();
    for role in [user_roles(), system_roles(), component_roles()].concat() {
        objects.push(("clusterroles", "", role));
    }
    for binding in bindings() {
        objects.push(("clusterrolebindings", "", binding));
    }
    objects.push((
        "rolebindings",
        "archipel-system",
        binding(
            "RoleBinding",
            "archipel:providers-controller",
            "archipel:credentials",
            &component("providers-controller"),
        ),
    ));
    objects
}

/// What people are given: `admin` holds `edit`, which holds `view`; each can be widened by a labelled ClusterRole.
fn user_roles() -> Vec<Value> {
    vec![
        role("cluster-admin", &[rule("*", "*", "*"), paths("*", "*")]),
        aggregate("admin", &[], "admin"),
        aggregate("edit", &["admin"], "edit"),
        aggregate("view", &["edit"], "view"),
        labelled(
            "system:aggregate-to-view",
            "view",
            &[
                rule(
                    READ,
                    "core",
                    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods pods/log pods/status \
                 replicationcontrollers replicationcontrollers/scale replicationcontrollers/status serviceaccounts \
                 services services/status bindings events limitranges namespaces namespaces/status resourcequotas \
                 resourcequotas/status",
                ),
                rule(
                    READ,
                    "apps",
                    "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
                 replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
                ),
                rule(
                    READ,
                    "autoscaling",
                    "horizontalpodautoscalers horizontalpodautoscalers/status",
                ),
                rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
                rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
                rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
                rule(READ, "discovery.k8s.io", "endpointslices"),
                rule(READ, "events.k8s.io", "events"),
                // Without revisions: they hold what Secrets hold.
                rule(
                    READ,
                    "archipel.dev",
                    "changebudgets clusteroverridepolicies clusterplacementpolicies clusterplacements clusterscores \
                     clustersets costbudgets memberclusters overridepolicies placementpolicies placements placements/copies \
                     clusterplacements/copies pricebooks rollouts rolloutstrategies statusrules",
                ),
            ],
        ),
        labelled(
            "system:aggregate-to-edit",
            "edit",
            &[
                rule(
                    WRITE,
                    "core",
                    "configmaps endpoints events persistentvolumeclaims pods replicationcontrollers \
                 replicationcontrollers/scale secrets serviceaccounts services",
                ),
                rule(READ, "core", "secrets"),
                rule("create", "core", "serviceaccounts/token pods/eviction"),
                rule(
                    WRITE,
                    "apps",
                    "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets \
                 statefulsets/scale",
                ),
                rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
                rule(WRITE, "batch", "cronjobs jobs"),
                rule(WRITE, "policy", "poddisruptionbudgets"),
                rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
                rule(WRITE, "discovery.k8s.io", "endpointslices"),
                rule(WRITE, "events.k8s.io", "events"),
                rule(ALL, "coordination.k8s.io", "leases"),
                rule(WRITE, "archipel.dev", OUR_POLICIES),
            ],
        ),
        labelled(
            "system:aggregate-to-admin",
            "admin",
            &[
                rule(ALL, RBAC_GROUP, "roles rolebindings"),
                rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
            ],
        ),
    ]
}

/// What everybody, and what monitors and delegates of the API, are given.
fn system_roles() -> Vec<Value> {
    vec![
        role(
            "system:discovery",
            &[paths(
                "get",
                "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
            )],
        ),
        role(
            "system:public-info-viewer",
            &[paths("get", "/healthz /livez /readyz /version /version/")],
        ),
        role(
            "system:basic-user",
            &[
                rule(
                    "create",
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews selfsubjectrulesreviews",
                ),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
                // They say nothing of objects that whoever asks may not read, and plan nothing that one may not write.
                rule("create", "review.archipel.dev", "costs explanations plans simulations"),
            ],
        ),
        role(
            "system:monitoring",
            &[paths(
                "get",
                "/metrics /metrics/* /healthz /healthz/* /livez /livez/* /readyz /readyz/*",
            )],
        ),
        role(
            "system:service-account-issuer-discovery",
            &[paths("get", "/.well-known/openid-configuration /openid/v1/jwks")],
        ),
        role(
            "system:auth-delegator",
            &[
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
    ]
}

/// What our own components are given: one role each, for one ServiceAccount each.
fn component_roles() -> Vec<Value> {
    let events = || {
        [
            rule("create patch update", "core events.k8s.io", "events"),
            rule("get create update patch", "coordination.k8s.io", "leases"),
            paths("get", "/api /api/* /apis /apis/* /openapi /openapi/* /version"),
        ]
    };
    let component_role = |name: &str, rules: &[Value]| role(name, &[rules, &events()].concat());
    vec![
        component_role(
            "archipel:placement-controller",
            &[
                rule(READ, "*", "*"),
                // The finalizer `archipel.dev/copies` of templates, whatever their kind.
                rule("patch", "*", "*"),
                rule(
                    ALL,
                    "archipel.dev",
                    "placements clusterplacements revisions clusterrevisions rollouts changebudgets clustersets",
                ),
                // The sample prices of a first start.
                rule("create", "archipel.dev", "pricebooks"),
                rule("update patch", "archipel.dev", "*/status"),
                rule("create", "core", "events"),
            ],
        ),
        component_role(
            "archipel:syncer",
            &[
                rule(READ, "*", "*"),
                rule("patch update", "*", "*/status"),
                rule("create", "core", "events"),
            ],
        ),
        component_role(
            "archipel:lifecycle",
            &[
                rule("get list watch delete deletecollection patch update", "*", "*"),
                rule("create", "core", "namespaces configmaps serviceaccounts services"),
                rule("update", "core", "namespaces/finalize"),
            ],
        ),
        component_role(
            "archipel:providers-controller",
            &[
                rule(ALL, "archipel.dev", "memberclusters pricebooks learnedkinds"),
                rule("get list watch update patch", "archipel.dev", "*/status"),
                rule(READ, "archipel.dev", "*"),
                rule(READ, "multicluster.x-k8s.io about.k8s.io", "*"),
                rule(READ, "core", "namespaces"),
                rule(READ, "apiextensions.k8s.io", "customresourcedefinitions"),
            ],
        ),
        role("archipel:credentials", &[rule(ALL, "core", "secrets")]),
        component_role(
            "archipel:web",
            &[
                rule(READ, "archipel.dev", "*"),
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
    ]
}

fn bindings() -> Vec<Value> {
    let group = |name: &str| json!([{"kind": "Group", "apiGroup": RBAC_GROUP, "name": name}]);
    let everyone = json!([
        {"kind": "Group", "apiGroup": RBAC_GROUP, "name": "system:authenticated"},
        {"kind": "Group", "apiGroup": RBAC_GROUP, "name": "system:unauthenticated"},
    ]);
    let bind = |name: &str, role: &str, subjects: &Value| {
        binding("ClusterRoleBinding", name, role, subjects)
    };
    let mut bindings = vec![
        bind("archipel:admins", "cluster-admin", &group(crate::pki::ADMIN_GROUP)),
        bind("system:discovery", "system:discovery", &group("system:authenticated")),
        bind("system:basic-user", "system:basic-user", &group("system:authenticated")),
        bind("system:public-info-viewer", "system:public-info-viewer", &everyone),
        bind("system:monitoring", "system:monitoring", &group("system:monitoring")),
        bind(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &group("system:serviceaccounts"),
        ),
    ];
    for name in ["placement-controller", "syncer", "lifecycle", "providers-controller", "web"] {
        let role = format!("archipel:{name}");
        bindings.push(bind(&role, &role, &component(name)));
    }
    bindings
}

fn component(name: &str) -> Value {
    json!([{"kind": "ServiceAccount", "namespace": "archipel-system", "name": name}])
}

fn binding(kind: &str, name: &str, role: &str, subjects: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC_GROUP}/v1"),
        "kind": kind,
        "metadata": metadata(name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": format!("{RBAC_GROUP}/v1"),
        "kind": "ClusterRole",
        "metadata": metadata(name),
        "rules": rules,
    })
}

fn labelled(name: &str, into: &str, rules: &[Value]) -> Value {
    let mut role = role(name, rules);
    role["metadata"]["labels"][label(into)] = "true".into();
    role
}

fn aggregate(name: &str, into: &[&str], from: &str) -> Value {
    let mut role = role(name, &[]);
    for into in into {
        role["metadata"]["labels"][label(into)] = "true".into();
    }
    let selector = json!({"matchLabels": {label(from): "true"}});
    role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
    role
}

fn label(into: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{into}")
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

/// A rule for resources; `core` stands for the core group.
fn rule(verbs: &str, groups: &str, resources: &str) -> Value {
    let groups: Vec<&str> =
        groups.split(' ').map(|group| if group == "core" { "" } else { group }).collect();
    json!({"verbs": words(verbs), "apiGroups": groups, "resources": words(resources)})
}

/// A rule for paths.
fn paths(verbs: &str, paths: &str) -> Value {
    json!({"verbs": words(verbs), "nonResourceURLs": words(paths)})
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
