//! What holds writes to members, and the removal of a template's copies: told to whoever deletes one, and by `why`. PURE.

use federation_types::{
    names::{COPIES_FINALIZER, Gvk, ObjectKey},
    words::counted,
};
use serde_json::Value;

use crate::{
    clock, gate,
    index::{Index, Placed, template_key},
    stands,
};

/// Begins what is said of single clusters.
pub(crate) const FROZEN_CLUSTERS: &str = "frozen clusters";

impl Index {
    /// A warning for who deletes a template whose copies may not go now: the request returns, and the object stays.
    pub fn held_delete(&self, api_version: &str, kind: &str, old: &Value) -> Option<String> {
        self.held_delete_at(api_version, kind, old, clock::now())
    }

    pub(crate) fn held_delete_at(
        &self,
        api_version: &str,
        kind: &str,
        old: &Value,
        now: i64,
    ) -> Option<String> {
        let namespace = old["metadata"]["namespace"].as_str().unwrap_or("");
        let name = old["metadata"]["name"].as_str().unwrap_or("");
        let key = template_key(&Gvk::new(api_version, kind), namespace, name);
        let placed = self.placements.get(&key)?;
        let held = removals(self, &key, placed, now);
        if held.is_empty() || !placed.holds_copies() {
            return None;
        }
        Some(format!(
            "{key} stays, by its finalizer {COPIES_FINALIZER}, until its copies are gone, and they are held: {}",
            held.join("; ")
        ))
    }
}

/// What holds every write of a template's copies: the fleet as a whole, and freezes.
pub(crate) fn writes(index: &Index, key: &ObjectKey, placed: Option<&Placed>) -> Vec<String> {
    let mut notes = Vec::new();
    if index.presumed() == gate::Fleet::CutOff {
        notes.push(
            "most of the fleet does not answer: the hub presumes that it is itself cut off, and changes nothing"
                .to_owned(),
        );
    }
    let mut frozen: Vec<&str> = Vec::new();
    for (name, budget) in &index.budgets {
        let freeze = &budget.spec.freeze;
        // A freeze of the fleet or the namespace holds everywhere; one of a cluster, what it is to hold.
        if let Some(text) = stands::frozen(freeze, name, key) {
            notes.push(text);
        } else if let Some(placed) = placed {
            let clusters = placed.spec.clusters.iter().map(|it| it.name.as_str());
            let going = placed.spec.removing.iter().map(|it| it.name.as_str());
            frozen.extend(clusters.chain(going).filter(|it| freeze.holds(it, &key.namespace)));
        }
    }
    if !frozen.is_empty() {
        notes
            .push(format!("{FROZEN_CLUSTERS}, to which nothing is written: {}", frozen.join(", ")));
    }
    notes
}

/// What holds the removal of all of a template's copies: the same, and budgets that do not let so many go now.
pub(crate) fn removals(index: &Index, key: &ObjectKey, placed: &Placed, now: i64) -> Vec<String> {
    let mut notes = writes(index, key, Some(placed));
    let asking = i64::try_from(placed.spec.clusters.len()).unwrap_or(i64::MAX);
    for (name, budget) in &index.budgets {
        let left = budget.left(index.copies, now);
        if left < asking {
            let copies = counted(left, "more copy", "more copies");
            let seconds = budget.window_ends_in(now);
            notes.push(format!(
                "ChangeBudget {name} lets {copies} go before its window ends in {seconds} s"
            ));
        }
    }
    notes
}
