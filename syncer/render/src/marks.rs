//! Our marks on a copy: whose it is, and what was rendered into it (RULES 4.2).

use std::fmt;

use federation_types::names::{COPY_OF_ANNOTATION, CopyOf, ObjectKey, REVISION_ANNOTATION};
use serde_json::{Map, Value};

/// The value of the revision annotation: `hash/generation/digest`, and `/placement.generation` where a Placement asked for
/// the copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionMark {
    /// The revision's content hash.
    pub revision: String,
    /// The template's generation when the revision was made: tells a hub that lost data that the member knows more.
    pub generation: i64,
    /// Over the manifest as it was sent to this member.
    pub digest: String,
    /// The Placement that asked for the copy, as it was then: no revision is made where only numbers change.
    pub asked: Option<Asked>,
}

/// A Placement at one of its generations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The beginning of the Placement's uid: the generations of one that was made anew begin anew.
    placement: String,
    pub generation: i64,
}

impl Asked {
    pub fn by(placement_uid: &str, generation: i64) -> Self {
        let known_by = placement_uid.chars().take_while(|it| *it != '-' && *it != '/').take(8);
        Self { placement: known_by.collect(), generation }
    }

    fn parse(text: &str) -> Option<Self> {
        let (placement, generation) = text.split_once('.')?;
        Some(Self { placement: placement.to_owned(), generation: generation.parse().ok()? })
    }

    /// Whether it is a later generation of the same Placement.
    pub fn is_later_than(&self, other: &Self) -> bool {
        self.placement == other.placement && self.generation > other.generation
    }
}

impl fmt::Display for RevisionMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.revision, self.generation, self.digest)?;
        match &self.asked {
            Some(it) => write!(f, "/{}.{}", it.placement, it.generation),
            None => Ok(()),
        }
    }
}

impl RevisionMark {
    pub fn parse(text: &str) -> Option<Self> {
        let (revision, rest) = text.split_once('/')?;
        let (generation, rest) = rest.split_once('/')?;
        let (digest, asked) = match rest.split_once('/') {
            Some((digest, asked)) => (digest, Some(Asked::parse(asked)?)),
            None => (rest, None),
        };
        Some(Self {
            revision: revision.to_owned(),
            generation: generation.parse().ok()?,
            digest: digest.to_owned(),
            asked,
        })
    }

    /// Whether whoever wrote it knew more than a store with this generation of the template, and this Placement.
    pub fn is_newer_than(&self, template_generation: i64, asked: Option<&Asked>) -> bool {
        let (own, stored) = (self.asked.as_ref(), asked);
        self.generation > template_generation
            || own.zip(stored).is_some_and(|(own, stored)| own.is_later_than(stored))
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
        group: key.gvk.group.to_string(),
        kind: key.gvk.kind.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
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
        let mark = RevisionMark {
            revision: "9f3c".into(),
            generation: 3,
            digest: "ab".into(),
            asked: Some(Asked::by("0c1d2e3f-4a5b", 7)),
        };
        assert_eq!(mark.to_string(), "9f3c/3/ab/0c1d2e3f.7");
        assert_eq!(RevisionMark::parse(&mark.to_string()), Some(mark.clone()));
        let without = RevisionMark { asked: None, ..mark };
        assert_eq!(RevisionMark::parse(&without.to_string()), Some(without));
        assert_eq!(RevisionMark::parse("a/b/c"), None);
        assert_eq!(RevisionMark::parse("a/1/c/d"), None);
        assert_eq!(RevisionMark::parse("a/1/c/d.1/e"), None);
    }

    #[test]
    fn rule_4_3_a_mark_is_newer_by_the_templates_generation_or_by_the_placements() {
        let mark = RevisionMark::parse("9f3c/3/ab/0c1d2e3f.7").expect("a mark");
        let newer = |template: i64, uid: &str, generation: i64| {
            mark.is_newer_than(template, Some(&Asked::by(uid, generation)))
        };
        assert!(newer(2, "0c1d2e3f-4a5b", 7));
        assert!(newer(3, "0c1d2e3f-4a5b", 6), "a scale makes no revision");
        assert!(!newer(3, "0c1d2e3f-4a5b", 7) && !newer(4, "0c1d2e3f-4a5b", 9));
        assert!(!newer(3, "ffffffff-4a5b", 1), "a Placement that was made anew begins anew");
        assert!(!mark.is_newer_than(3, None));
    }
}
