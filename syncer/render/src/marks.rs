//! Our marks on a copy: whose it is, and what was rendered into it (RULES 4.2).

use std::fmt;

use federation_types::names::{COPY_OF_ANNOTATION, CopyOf, ObjectKey, REVISION_ANNOTATION};
use serde_json::{Map, Value};

/// The value of the revision annotation: `hash/generation/digest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionMark {
    /// The revision's content hash.
    pub revision: String,
    /// The template's generation when the revision was made: tells a hub that lost data that the member knows more.
    pub generation: i64,
    /// Over the manifest as it was sent to this member.
    pub digest: String,
}

impl fmt::Display for RevisionMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.revision, self.generation, self.digest)
    }
}

impl RevisionMark {
    pub fn parse(text: &str) -> Option<Self> {
        let (revision, rest) = text.split_once('/')?;
        let (generation, digest) = rest.split_once('/')?;
        (!digest.contains('/')).then_some(Self {
            revision: revision.to_owned(),
            generation: generation.parse().ok()?,
            digest: digest.to_owned(),
        })
    }
}

/// Whose an object in a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A copy of this hub's, of the template with that uid.
    Us { template: String },
    /// Another hub's copy.
    OtherHub(String),
    /// Somebody's, or a controller's that copied our marks onto what it made.
    Foreign,
}

/// Reads whose an object is: only the annotation that equals the object's own key proves that it is ours.
pub fn owner(
    hub: &str,
    key: &ObjectKey,
    annotations: Option<&Map<String, Value>>,
    has_controller: bool,
) -> Owner {
    let copy_of = annotations
        .and_then(|it| it.get(COPY_OF_ANNOTATION))
        .and_then(Value::as_str)
        .and_then(CopyOf::parse);
    match copy_of {
        Some(it)
            if !has_controller
                && it.group == key.gvk.group
                && it.kind == key.gvk.kind
                && it.namespace == key.namespace
                && it.name == key.name =>
        {
            if it.hub == hub {
                Owner::Us { template: it.template }
            } else {
                Owner::OtherHub(it.hub)
            }
        }
        _ => Owner::Foreign,
    }
}

/// The revision annotation of an object.
pub fn revision_mark(annotations: Option<&Map<String, Value>>) -> Option<RevisionMark> {
    annotations?.get(REVISION_ANNOTATION)?.as_str().and_then(RevisionMark::parse)
}

/// The copy-of annotation for a copy of this hub's.
pub fn copy_of(hub: &str, key: &ObjectKey, template: &str) -> String {
    CopyOf {
        hub: hub.to_owned(),
        group: key.gvk.group.clone(),
        kind: key.gvk.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        template: template.to_owned(),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use federation_types::names::Gvk;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { gvk: Gvk::new("v1", "ConfigMap"), namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn rule_4_2_only_an_annotation_that_equals_the_objects_own_key_makes_it_ours() {
        let annotations = json!({COPY_OF_ANNOTATION: copy_of("hub", &key("a"), "uid")});
        let read = |hub: &str, name: &str, controlled: bool| {
            owner(hub, &key(name), annotations.as_object(), controlled)
        };
        assert_eq!(read("hub", "a", false), Owner::Us { template: "uid".into() });
        assert_eq!(read("hub", "b", false), Owner::Foreign);
        assert_eq!(read("hub", "a", true), Owner::Foreign);
        assert_eq!(read("other", "a", false), Owner::OtherHub("hub".into()));
        assert_eq!(owner("hub", &key("a"), None, false), Owner::Foreign);
    }

    #[test]
    fn a_revision_mark_reads_back_what_it_wrote() {
        let mark = RevisionMark { revision: "9f3c".into(), generation: 3, digest: "ab".into() };
        assert_eq!(RevisionMark::parse(&mark.to_string()), Some(mark));
        assert_eq!(RevisionMark::parse("a/b/c"), None);
        assert_eq!(RevisionMark::parse("a/1/c/d"), None);
    }
}
