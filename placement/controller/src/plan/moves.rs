//! Moves that a plan chose: supposed to be approved, and what the plan then says of them.

use federation_types::{
    names::{Gvk, ObjectKey},
    reason::{cause, placed as reason},
    review::plan::{ClusterChange, Move, ObjectRef, TemplateChange},
};

use crate::{
    approval, clock,
    decide::still_meant,
    dry_run::DryRun,
    index::{Index, template_key},
    relocate::Refusal,
};

/// Supposes that a move is approved. `None` if there is no such template, or it is nowhere.
pub(super) fn suppose(index: &mut Index, wanted: &Move, now: i64) -> Option<ObjectKey> {
    let ObjectRef { api_version, kind, namespace, name } = &wanted.template;
    let key = template_key(&Gvk::new(api_version, kind), namespace, name);
    let placed = index.placements.get(&key)?;
    let from = still_meant(&placed.spec);
    let mut template = (**index.templates.get(&key)?).clone();
    let token = approval::chosen_token(&template, &from, &wanted.to);
    template.approved = format!("{token}/{}", clock::text(now));
    // Approved a moment ago already: this is another time.
    if template.approved == placed.spec.approval {
        template.approved.push('+');
    }
    index.set_template(key.clone(), Some(template.into()));
    index.dirty.insert(key.clone());
    Some(key)
}

/// Of a move that was chosen, every change has that cause.
pub(super) fn say_chosen(run: &DryRun, key: &ObjectKey, changes: &mut [ClusterChange]) {
    if run.approvals.get(key).is_some_and(|it| approval::is_chosen(it)) {
        for it in changes {
            cause::REBALANCED.clone_into(&mut it.cause);
        }
    }
}

/// Why a chosen move is not made.
pub(super) fn say_refused(run: &DryRun, key: &ObjectKey, change: &mut TemplateChange) {
    let Some(refusal) = run.refused.get(key) else { return };
    let waits = matches!(refusal, Refusal::Room(_));
    change.reason = if waits { reason::NOT_ENOUGH_ROOM } else { reason::INVALID }.to_owned();
    change.unmet = format!("it stays where it is: {}", refusal.text());
    // It is approved all the same, and made once there is room.
    if waits && let Some(template) = run.index.templates.get(key) {
        let token = template.approved.split('/').next().unwrap_or_default();
        token.clone_into(&mut change.approval);
    }
}
