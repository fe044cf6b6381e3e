//! What is put right in every Placement before anything is decided, whatever the policy says: copies seen gone are no
//! longer awaited, clusters that are forgotten are struck, clusters that leave as orphans let go (RULES 4.3, 4.8); and
//! which revisions are kept (RULES 1.6).

use std::collections::BTreeSet;

use federation_types::{
    names::{DRAINING_TAINT, ObjectKey, placement_name},
    placement::{PlacementSpec, RemovedCluster},
    policy::OnDelete,
    reason::cause,
    revision::RevisionSpec,
};

use crate::{
    clock,
    index::{Index, Placed},
    members::{is_ready, leaves_as_orphans},
    transition::{self, Standing},
};

/// Revisions that are kept beside those still released (RULES 1.6).
const KEPT_REVISIONS: usize = 10;

/// What stands, without what has done its work; clusters that leave as orphans are let go.
pub(crate) fn upkeep(index: &Index, placed: &Placed, now: i64) -> PlacementSpec {
    let mut spec = strike(index, placed);
    let_go(index, &mut spec, now);
    spec
}

/// What stands, without what has done its work.
pub(crate) fn strike(index: &Index, placed: &Placed) -> PlacementSpec {
    let mut spec = placed.spec.clone();
    let observed = placed.status.observed_generation;
    let gone =
        transition::confirmed(&placed.spec, placed.generation, observed, &placed.status.clusters);
    spec.removing.retain(|it| !gone.contains(&it.name) && !index.is_forgotten(&it.name));
    spec.clusters.retain(|it| !index.is_forgotten(&it.name));
    spec
}

/// Takes the clusters that leave as orphans out: their copies stay there, without our marks.
pub(crate) fn let_go(index: &Index, spec: &mut PlacementSpec, now: i64) {
    let orphans: BTreeSet<String> = spec
        .clusters
        .iter()
        .map(|it| &it.name)
        .chain(spec.removing.iter().map(|it| &it.name))
        .filter(|name| orphans_of(index, name))
        .cloned()
        .collect();
    if orphans.is_empty() {
        return;
    }
    for removed in spec.removing.iter_mut().filter(|it| orphans.contains(&it.name)) {
        removed.on_delete = OnDelete::Orphan;
    }
    for cluster in spec.clusters.extract_if(.., |it| orphans.contains(&it.name)) {
        // Nothing is deleted: the gate, which counts deletions, is not asked.
        spec.removing.push(RemovedCluster {
            name: cluster.name,
            cause: cause::CLUSTER_LEAVING.to_owned(),
            since: clock::text(now),
            on_delete: OnDelete::Orphan,
        });
    }
    spec.removing.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Whether a cluster leaves and its copies stay there.
pub(crate) fn orphans_of(index: &Index, cluster: &str) -> bool {
    index.clusters.get(cluster).is_some_and(|it| leaves_as_orphans(it))
}

/// Whether a cluster leaves and its copies are to go elsewhere first.
pub(crate) fn drains(index: &Index, cluster: &str) -> bool {
    let taints = index.clusters.get(cluster).map(|it| &it.spec.taints);
    taints.is_some_and(|it| it.iter().any(|it| it.key == DRAINING_TAINT))
}

/// What the fleet says of the clusters of a Placement.
pub(crate) fn standing<'a>(index: &Index, spec: &'a PlacementSpec) -> Standing<'a> {
    let mut standing = Standing::default();
    for cluster in &spec.clusters {
        match index.clusters.get(&cluster.name) {
            None => drop(standing.gone.insert(cluster.name.as_str())),
            Some(member) if !is_ready(member) => drop(standing.dark.insert(cluster.name.as_str())),
            Some(_) => (),
        }
    }
    standing
}

/// The kinds whose copies outlive their template unless the policy says otherwise (RULES 3.4).
pub(crate) fn on_delete(key: &ObjectKey, spec: &PlacementSpec) -> OnDelete {
    if let Some(stated) = spec.sync.as_ref().and_then(|it| it.on_delete) {
        return stated;
    }
    let keeps = matches!(
        (key.gvk.group.as_str(), key.gvk.kind.as_str()),
        ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("storage.k8s.io", "StorageClass")
    );
    if keeps { OnDelete::Orphan } else { OnDelete::Delete }
}

/// Names of the revisions beyond those to keep.
pub(crate) fn stale_revisions(
    index: &Index,
    key: &ObjectKey,
    spec: &PlacementSpec,
    new: Option<&RevisionSpec>,
) -> Vec<String> {
    let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name).into());
    let Some(known) = index.revisions.get(&home) else { return Vec::new() };
    let room = KEPT_REVISIONS.saturating_sub(usize::from(new.is_some()));
    let old = known.len().saturating_sub(room);
    known
        .iter()
        .take(old)
        .filter(|(_, hash)| !spec.clusters.iter().any(|it| it.revision == *hash))
        .filter(|(_, hash)| !index.rolled(key).contains(&hash.as_str()))
        .map(|(_, hash)| format!("{}-{hash}", home.1))
        .collect()
}

/// Whether the revision exists.
pub(crate) fn knows_revision(index: &Index, key: &ObjectKey, hash: &str) -> bool {
    let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name).into());
    index.revisions.get(&home).is_some_and(|it| it.iter().any(|(_, it)| it == hash))
}

pub(crate) fn revision_names(index: &Index, key: &ObjectKey) -> Vec<String> {
    let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name).into());
    let known = index.revisions.get(&home).into_iter().flatten();
    known.map(|(_, hash)| format!("{}-{hash}", home.1)).collect()
}
