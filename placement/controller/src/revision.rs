//! What is released of a template: its content with the overrides that match it, and where its replicas are. PURE.

use federation_types::{names::ObjectKey, placement::TemplateRef, revision::RevisionSpec};

use crate::index::{Index, Template};

/// What the template comes to now, with the name that its content has.
pub(crate) fn revision(
    index: &Index,
    key: &ObjectKey,
    template: &Template,
    reference: &TemplateRef,
) -> RevisionSpec {
    let overrides = index.override_rules(key, template);
    let content = serde_json::from_str(&template.content).unwrap_or_default();
    let replicas_path = template.workload.replicas_path(&index.reading.rules);
    RevisionSpec {
        template: reference.clone(),
        hash: syncer_render::revision::content_hash(&content, &overrides, replicas_path.as_ref()),
        content,
        replicas_path,
        overrides,
    }
}
