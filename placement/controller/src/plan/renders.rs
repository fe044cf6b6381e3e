//! What members would be sent: on which clusters a new content makes another manifest, and where none can be made.

use std::collections::BTreeSet;

use federation_types::{
    cluster::MemberCluster,
    names::ObjectKey,
    placement::PlacementSpec,
    review::plan::{Action, ClusterChange},
    revision::RevisionSpec,
    selector::ClusterFacts,
};
use placement_engine::expression::Expression;
use syncer_render::{Rendering, manifest::ReplicasOf, overrides, render};

use crate::{dry_run::DryRun, index::Index, revision::revision};

/// A copy that cannot be rendered, with the override rule that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unrendered {
    pub(super) cluster: String,
    /// `OverridePolicy shop/web rule 0: jsonPatch[0] /spec/paused: path is invalid`
    pub(super) why: String,
}

/// Takes the updates away that are none: a cluster whose manifest stays the same is not updated by an override of
/// another. Says which copies cannot be rendered of those that are new or another one.
pub(super) fn look(
    before: &Index,
    run: &DryRun,
    key: &ObjectKey,
    changes: &mut Vec<ClusterChange>,
) -> Vec<Unrendered> {
    let mut unrendered = Vec::new();
    if changes.iter().all(|it| it.action == Action::Remove) {
        return unrendered;
    }
    // Without rules every cluster is sent the same, and nothing stands in the way of it.
    if !has_rules(before, key) && !has_rules(&run.index, key) {
        return unrendered;
    }
    let mut old = Side::of(before, key);
    let Some(mut new) = Side::of(&run.index, key) else { return unrendered };
    changes.retain(|change| {
        if change.action == Action::Remove {
            return true;
        }
        let Some(member) = run.index.clusters.get(&change.cluster) else { return true };
        let Some(is) = new.manifest(&facts(&run.index, member)) else { return true };
        if let Err(why) = &is {
            let (cluster, why) = (change.cluster.clone(), why.clone());
            unrendered.push(Unrendered { cluster, why });
            return true;
        }
        let was = before.clusters.get(&change.cluster).zip(old.as_mut());
        let was = was.and_then(|(member, old)| old.manifest(&facts(before, member)));
        change.action != Action::Update || was != Some(is)
    });
    unrendered
}

fn has_rules(index: &Index, key: &ObjectKey) -> bool {
    !index.overrides.is_empty()
        && index.templates.get(key).is_some_and(|it| !index.override_rules(key, it).is_empty())
}

/// What selectors of overrides may ask of a cluster.
fn facts(index: &Index, member: &MemberCluster) -> ClusterFacts {
    let spec = &member.spec;
    let mut facts = ClusterFacts {
        name: member.metadata.name.clone().unwrap_or_default(),
        provider: spec.provider.clone(),
        region: spec.region.clone(),
        zones: spec.zones.clone(),
        jurisdiction: spec.jurisdiction.clone(),
        labels: member.metadata.labels.clone().unwrap_or_default(),
        sets: BTreeSet::new(),
    };
    let sets = index.sets.iter().filter(|(_, it)| it.spec.holds(&facts.name, &facts.labels));
    facts.sets = sets.map(|(name, _)| name.clone()).collect();
    facts
}

/// What one rendering depends on beside the content.
type Made = (Vec<usize>, ReplicasOf, Option<String>);

/// A template with its overrides, as it stands or as it would.
struct Side<'a> {
    key: &'a ObjectKey,
    placement: &'a PlacementSpec,
    revision: RevisionSpec,
    /// Clusters with the same rules and replicas share a manifest.
    made: Vec<(Made, Result<String, String>)>,
}

impl<'a> Side<'a> {
    fn of(index: &'a Index, key: &'a ObjectKey) -> Option<Self> {
        let template = index.templates.get(key)?;
        let placement = &index.placements.get(key)?.spec;
        let revision = revision(index, key, template, &placement.template);
        Some(Self { key, placement, revision, made: Vec::new() })
    }

    /// The digest of what the cluster is sent, or why that cannot be made. `None` where it is to hold another revision
    /// than this one, which is not known here.
    fn manifest(&mut self, cluster: &ClusterFacts) -> Option<Result<String, String>> {
        let placed = self.placement.clusters.iter().find(|it| it.name == cluster.name)?;
        if placed.revision != self.revision.hash {
            return None;
        }
        let evaluate = |text: &str, facts: &ClusterFacts| Expression::parse(text)?.holds_for(facts);
        let matching = match overrides::matching(&self.revision.overrides, cluster, Some(&evaluate))
        {
            Ok(matching) => matching,
            Err(problem) => return Some(Err(problem.to_string())),
        };
        let replicas = ReplicasOf::of(self.placement, &cluster.name, &self.key.gvk.kind);
        let spot = placed.spot.then(|| cluster.provider.clone());
        let id = (matching, replicas, spot);
        if let Some((_, known)) = self.made.iter().find(|it| it.0 == id) {
            return Some(known.clone());
        }
        let manifest = render(&Rendering {
            hub: "",
            key: self.key,
            template_uid: "",
            revision: "",
            generation: 0,
            content: &self.revision.content,
            rules: &self.revision.overrides,
            matching: &id.0,
            replicas: id.1.clone(),
            replicas_path: self.revision.replicas_path.as_ref(),
            spot: id.2.as_deref(),
            asked: None,
        });
        let made = manifest.map(|it| it.mark.digest).map_err(|problem| problem.to_string());
        self.made.push((id, made.clone()));
        Some(made)
    }
}
