//! Names that more than one part must agree on: groups, labels, annotations, finalizers, and how objects are named.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
pub use smol_str::SmolStr;

/// The API group of our kinds.
pub const GROUP: &str = "archipel.dev";
/// `archipel.dev/v1alpha1`
pub const API_VERSION: &str = "archipel.dev/v1alpha1";
/// The group of the create-only reviews.
pub const REVIEW_API_VERSION: &str = "review.archipel.dev/v1alpha1";
/// Where the hub keeps what is its own: credentials of members, service accounts of components.
pub const SYSTEM_NAMESPACE: &str = "archipel-system";
/// The ServiceAccount that the syncer uses in a member.
pub const MEMBER_SERVICE_ACCOUNT: &str = "archipel-syncer";
/// Field manager of what the syncer writes into members.
pub const FIELD_MANAGER: &str = "archipel";

/// Label on every copy in a member: finds candidates, proves nothing.
pub const MANAGED_LABEL: &str = "archipel.dev/managed";
/// Annotation on every copy: [`CopyOf`] in its text form; the proof that a copy is ours.
pub const COPY_OF_ANNOTATION: &str = "archipel.dev/copy-of";
/// Annotation on every copy: the revision and the cluster's own hash of what was rendered.
pub const REVISION_ANNOTATION: &str = "archipel.dev/revision";
/// Finalizer of a template that has copies.
pub const COPIES_FINALIZER: &str = "archipel.dev/copies";
/// Finalizer of a MemberCluster: it stays until no Placement names it.
pub const MEMBER_FINALIZER: &str = "archipel.dev/member";
/// Annotation of a MemberCluster: the kube-system UID that it was joined with.
pub const CLUSTER_UID_ANNOTATION: &str = "archipel.dev/cluster-uid";
/// Annotation of a MemberCluster that leaves with its copies left in place: [`LEAVE_ORPHAN`].
pub const LEAVE_ANNOTATION: &str = "archipel.dev/leave";
/// The value of [`LEAVE_ANNOTATION`].
pub const LEAVE_ORPHAN: &str = "Orphan";
/// Annotation of a MemberCluster whose writes are paused: when somebody asked to take them up again, RFC 3339 (RULES 4.3).
pub const RESUME_ANNOTATION: &str = "archipel.dev/resume";
/// Annotation of the namespace `archipel-system`, on the hub and in each of its members: the hub's own id, by which it
/// signs its copies (RULES 4.8).
pub const HUB_UID_ANNOTATION: &str = "archipel.dev/hub-uid";
/// Annotation of a member's namespace `archipel-system`: what its hub calls it.
pub const JOINED_AS_ANNOTATION: &str = "archipel.dev/joined-as";
/// Taint of a cluster that is being emptied.
pub const DRAINING_TAINT: &str = "archipel.dev/draining";
/// Annotation by which the owner of an object in a member lets us take it over; `true`.
pub const ADOPT_ANNOTATION: &str = "archipel.dev/adopt";
/// Annotation that allows a wide delete (RULES 1.5).
pub const ALLOW_DELETE_ANNOTATION: &str = "archipel.dev/allow-delete";
/// Annotation of a template that moves by an approval only: the move that somebody approved, and when (RULES 3.4).
pub const APPROVED_ANNOTATION: &str = "archipel.dev/approved-move";
/// Annotation that lets a claimed policy object act on the hub too (RULES 2.5).
pub const HUB_ANNOTATION: &str = "archipel.dev/hub";
/// Label of Placements and Revisions: a short hash of the template's key.
pub const TEMPLATE_LABEL: &str = "archipel.dev/template";

/// The namespace of what belongs to an object: that of a cluster-scoped one is where the hub keeps what is its own.
pub fn home_namespace(namespace: &str) -> &str {
    if namespace.is_empty() { SYSTEM_NAMESPACE } else { namespace }
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gvk {
    pub group: SmolStr,
    pub version: SmolStr,
    pub kind: SmolStr,
}

impl Gvk {
    /// From `apps/v1` or `v1`, and a kind.
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// Of no version: names a kind by itself.
    pub fn unversioned(group: &str, kind: &str) -> Self {
        Self { group: group.into(), version: SmolStr::default(), kind: kind.into() }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `apps/v1/Deployment`, as `MemberCluster.status.apis` lists it.
    pub fn path(&self) -> String {
        format!("{}/{}", self.api_version(), self.kind)
    }
}

impl From<&Gvk> for kube_core::GroupVersionKind {
    fn from(it: &Gvk) -> Self {
        Self::gvk(&it.group, &it.version, &it.kind)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// One object by its name: the key of every pass. Its words are short and stored in place, so that trees of keys are
/// searched without following pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    pub gvk: Gvk,
    /// Empty for cluster-scoped objects.
    pub namespace: SmolStr,
    pub name: SmolStr,
}

impl fmt::Display for ObjectKey {
    /// `Deployment shop/web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.gvk.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.gvk.kind, self.namespace, self.name)
        }
    }
}

/// The name of the Placement of a template: `deployment-web`. Kinds outside the groups of Kubernetes carry their group
/// (`certificate.cert-manager.io-web`), so that two kinds of one name do not meet; what grows too long ends in a hash.
pub fn placement_name(gvk: &Gvk, name: &str) -> String {
    let builtin =
        !gvk.group.contains('.') || gvk.group.ends_with(".k8s.io") || gvk.group == "k8s.io";
    let kind = gvk.kind.to_lowercase();
    let full =
        if builtin { format!("{kind}-{name}") } else { format!("{kind}.{}-{name}", gvk.group) };
    // RBAC names may hold `:` and capitals, which the name of a Placement may not.
    let plain = full.len() <= 253
        && full.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if plain {
        return full;
    }
    let mut safe: String = full
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' })
        .take(236)
        .collect();
    safe = safe.trim_end_matches(['-', '.']).to_owned();
    format!("{safe}-{}", short_hash(full.as_bytes()))
}

/// The value of [`TEMPLATE_LABEL`] for a template.
pub fn template_label(key: &ObjectKey) -> String {
    short_hash(
        format!("{}/{}/{}/{}", key.gvk.group, key.gvk.kind, key.namespace, key.name).as_bytes(),
    )
}

/// 16 hexadecimal digits of SHA-256.
pub fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whose copy an object in a member is (RULES 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// The hub's own id, kept beside its keys: a hub that is set up anew is another hub.
    pub hub: String,
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// The uid of the template.
    pub template: String,
}

impl fmt::Display for CopyOf {
    /// `hub/group/kind/namespace/name/template uid`; an empty part stays empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, group, kind, namespace, name, template } = self;
        write!(f, "{hub}/{group}/{kind}/{namespace}/{name}/{template}")
    }
}

impl CopyOf {
    /// Reads the annotation's text; `None` where it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next();
        let copy_of = Self {
            hub: next()?,
            group: next()?,
            kind: next()?,
            namespace: next()?,
            name: next()?,
            template: next()?,
        };
        parts.next().is_none().then_some(copy_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_named_after_its_template() {
        let check = |api: &str, kind: &str, name: &str, expected: &str| {
            assert_eq!(placement_name(&Gvk::new(api, kind), name), expected);
        };
        check("apps/v1", "Deployment", "web", "deployment-web");
        check("v1", "Service", "web", "service-web");
        check("networking.k8s.io/v1", "Ingress", "web", "ingress-web");
        check("cert-manager.io/v1", "Certificate", "web", "certificate.cert-manager.io-web");
    }

    #[test]
    fn a_name_that_a_placement_may_not_have_is_made_fit_and_stays_distinct() {
        let role = Gvk::new("rbac.authorization.k8s.io/v1", "ClusterRole");
        let (one, two) = (placement_name(&role, "a:b"), placement_name(&role, "a-b"));
        assert_ne!(one, two);
        assert!(one.starts_with("clusterrole-a-b-"), "{one}");
    }

    #[test]
    fn rule_4_2_copy_of_reads_back_what_it_wrote() {
        let copy_of = CopyOf {
            hub: "h".into(),
            group: String::new(),
            kind: "Service".into(),
            namespace: "shop".into(),
            name: "web".into(),
            template: "t".into(),
        };
        assert_eq!(CopyOf::parse(&copy_of.to_string()), Some(copy_of));
        assert_eq!(CopyOf::parse("a/b"), None);
        assert_eq!(CopyOf::parse("a/b/c/d/e/f/g"), None);
    }
}
