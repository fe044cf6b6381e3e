//! Who owns whom: what garbage collection remembers of every object.
//!
//! Of an object that neither owns by reference nor is being deleted, only its uid is kept (16 bytes). The graph never
//! decides alone that an owner is gone: it says whom to look at, and the look is live.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The finalizer that waits for dependents to go first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that lets dependents live on.
pub(crate) const ORPHAN: &str = "orphan";

/// A watched kind, by its place in the list of kinds.
pub(crate) type KindId = u32;

/// A uid in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Uid(u128);

impl Uid {
    /// UUIDs keep all their bits; any other text is folded.
    pub(crate) fn new(text: &str) -> Self {
        let characters = text.chars().filter(|&character| character != '-');
        let value = characters.enumerate().fold(0_u128, |value, (at, character)| {
            match character.to_digit(16) {
                Some(digit) if at < 32 => value << 4 | u128::from(digit),
                _ => value.wrapping_mul(0x0100_0000_01b3) ^ u128::from(u32::from(character)),
            }
        });
        Self(value)
    }
}

/// An object, so that it can be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub kind: KindId,
    /// Empty for cluster-wide objects.
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
}

/// A reference to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Whether the owner's foreground deletion waits for this dependent.
    pub blocks: bool,
}

/// An object that has owners.
#[derive(Clone, Debug)]
struct Dependent {
    place: Place,
    owners: Vec<Owner>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    kind: KindId,
    /// The list in which it was seen last.
    epoch: u32,
}

/// What has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Look {
    /// An object whose owners may be gone.
    Dependent(Uid),
    /// An object that is deleted in the foreground.
    Foreground(Place),
    /// An object that is deleted, its dependents not.
    Orphan(Place),
}

/// All objects, as far as they matter.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    seen: HashMap<Uid, Seen>,
    dependents: HashMap<Uid, Dependent>,
    by_owner: HashMap<Uid, BTreeSet<Uid>>,
    /// Owners that are being deleted in the foreground.
    foreground: HashMap<Uid, Place>,
    /// The list that is being read, by kind.
    epochs: HashMap<KindId, u32>,
}

impl Graph {
    /// A list of this kind begins: what it does not show is gone.
    pub(crate) fn begin(&mut self, kind: KindId) {
        *self.epochs.entry(kind).or_default() += 1;
    }

    /// The list of this kind is complete.
    pub(crate) fn complete(&mut self, kind: KindId) -> Vec<Look> {
        let epoch = self.epochs.get(&kind).copied().unwrap_or_default();
        let gone: Vec<Uid> = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.kind == kind && seen.epoch != epoch)
            .map(|(&uid, _)| uid)
            .collect();
        gone.into_iter().flat_map(|uid| self.remove(uid)).collect()
    }

    /// This kind is not watched any more. Its objects are forgotten and not taken for deleted.
    pub(crate) fn forget(&mut self, kind: KindId) {
        let gone: Vec<Uid> =
            self.seen.iter().filter(|(_, seen)| seen.kind == kind).map(|(&uid, _)| uid).collect();
        for uid in gone {
            self.seen.remove(&uid);
            self.foreground.remove(&uid);
            self.unlink(uid);
        }
        self.epochs.remove(&kind);
    }

    /// A new version of an object.
    pub(crate) fn apply(&mut self, kind: KindId, meta: &ObjectMeta) -> Vec<Look> {
        let Some(text) = meta.uid.as_deref() else { return Vec::new() };
        let uid = Uid::new(text);
        let epoch = self.epochs.get(&kind).copied().unwrap_or_default();
        self.seen.insert(uid, Seen { kind, epoch });
        let mut looks = Vec::new();
        let place = || Place {
            kind,
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            uid: text.into(),
        };
        let owners = owners(meta);
        // An owner in foreground deletion may have waited for this one, which names it no more.
        looks.extend(
            self.waiting(uid)
                .filter(|(owner, _)| !owners.iter().any(|kept| Uid::new(&kept.uid) == *owner))
                .map(|(_, look)| look),
        );
        self.unlink(uid);
        if !owners.is_empty() {
            if owners.iter().any(|owner| !self.is_firm(Uid::new(&owner.uid))) {
                looks.push(Look::Dependent(uid));
            }
            for owner in &owners {
                self.by_owner.entry(Uid::new(&owner.uid)).or_default().insert(uid);
            }
            self.dependents.insert(uid, Dependent { place: place(), owners });
        }
        let has =
            |finalizer: &str| meta.finalizers.iter().flatten().any(|present| present == finalizer);
        let deleting = meta.deletion_timestamp.is_some();
        if deleting && has(FOREGROUND) {
            self.foreground.insert(uid, place());
            looks.push(Look::Foreground(place()));
            looks.extend(self.children(uid).map(Look::Dependent));
        } else {
            self.foreground.remove(&uid);
        }
        if deleting && has(ORPHAN) {
            looks.push(Look::Orphan(place()));
        }
        looks
    }

    /// An object is gone.
    pub(crate) fn delete(&mut self, meta: &ObjectMeta) -> Vec<Look> {
        meta.uid.as_deref().map(|uid| self.remove(Uid::new(uid))).unwrap_or_default()
    }

    fn remove(&mut self, uid: Uid) -> Vec<Look> {
        self.seen.remove(&uid);
        self.foreground.remove(&uid);
        let mut looks: Vec<Look> = self.children(uid).map(Look::Dependent).collect();
        looks.extend(self.waiting(uid).map(|(_, look)| look));
        self.unlink(uid);
        looks
    }

    /// The owners of an object that are being deleted in the foreground.
    fn waiting(&self, uid: Uid) -> impl Iterator<Item = (Uid, Look)> {
        self.dependents
            .get(&uid)
            .into_iter()
            .flat_map(|dependent| &dependent.owners)
            .map(|owner| Uid::new(&owner.uid))
            .filter_map(|owner| {
                Some((owner, Look::Foreground(self.foreground.get(&owner)?.clone())))
            })
    }

    /// Every dependent with an owner that has not been seen: what a first complete list leaves to be looked at.
    pub(crate) fn unowned(&self) -> Vec<Look> {
        self.dependents
            .iter()
            .filter(|(_, it)| it.owners.iter().any(|owner| !self.is_firm(Uid::new(&owner.uid))))
            .map(|(&uid, _)| Look::Dependent(uid))
            .collect()
    }

    /// An object with its owners; `None` when it is gone or has none.
    pub(crate) fn dependent(&self, uid: Uid) -> Option<(&Place, &[Owner])> {
        self.dependents.get(&uid).map(|dependent| (&dependent.place, &*dependent.owners))
    }

    /// The objects that name this one as their owner.
    pub(crate) fn dependents_of(&self, uid: &str) -> impl Iterator<Item = (&Place, &[Owner])> {
        self.children(Uid::new(uid)).filter_map(|child| self.dependent(child))
    }

    /// Whether it is there.
    pub(crate) fn is_seen(&self, uid: &str) -> bool {
        self.seen.contains_key(&Uid::new(uid))
    }

    /// Whether it is being deleted in the foreground.
    pub(crate) fn is_foreground(&self, uid: &str) -> bool {
        self.foreground.contains_key(&Uid::new(uid))
    }

    /// Whether it is there to stay.
    fn is_firm(&self, uid: Uid) -> bool {
        self.seen.contains_key(&uid) && !self.foreground.contains_key(&uid)
    }

    fn children(&self, uid: Uid) -> impl Iterator<Item = Uid> + use<> {
        self.by_owner.get(&uid).cloned().unwrap_or_default().into_iter()
    }

    fn unlink(&mut self, uid: Uid) {
        let Some(dependent) = self.dependents.remove(&uid) else { return };
        for owner in dependent.owners {
            let owner = Uid::new(&owner.uid);
            if let Some(children) = self.by_owner.get_mut(&owner) {
                children.remove(&uid);
                if children.is_empty() {
                    self.by_owner.remove(&owner);
                }
            }
        }
    }
}

/// The owners that an object names.
pub(crate) fn owners(meta: &ObjectMeta) -> Vec<Owner> {
    meta.owner_references
        .iter()
        .flatten()
        .map(|owner| Owner {
            api_version: owner.api_version.as_str().into(),
            kind: owner.kind.as_str().into(),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
            blocks: owner.block_owner_deletion.unwrap_or(false),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
        jiff::Timestamp,
    };

    use super::*;

    fn meta(uid: &str, owners: &[&str], finalizers: &[&str]) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.to_owned()),
            name: Some(format!("n-{uid}")),
            namespace: Some("shop".to_owned()),
            owner_references: Some(
                owners
                    .iter()
                    .map(|owner| OwnerReference {
                        uid: (*owner).to_owned(),
                        block_owner_deletion: Some(true),
                        ..OwnerReference::default()
                    })
                    .collect(),
            ),
            finalizers: Some(finalizers.iter().map(|&finalizer| finalizer.to_owned()).collect()),
            deletion_timestamp: (!finalizers.is_empty()).then_some(Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        }
    }

    fn dependent(uid: &str) -> Look {
        Look::Dependent(Uid::new(uid))
    }

    #[test]
    fn a_dependent_is_looked_at_when_its_owner_goes() {
        let mut graph = Graph::default();
        assert_eq!(graph.apply(0, &meta("a", &[], &[])), []);
        assert_eq!(graph.apply(1, &meta("b", &["a"], &[])), []);
        assert_eq!(graph.delete(&meta("a", &[], &[])), [dependent("b")]);
        assert!(!graph.is_seen("a"));
        assert_eq!(graph.delete(&meta("b", &["a"], &[])), []);
        assert!(graph.by_owner.is_empty() && graph.dependents.is_empty());
    }

    #[test]
    fn a_dependent_of_nobody_that_was_seen_is_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(graph.apply(1, &meta("b", &["a"], &[])), [dependent("b")]);
        assert_eq!(graph.unowned(), [dependent("b")]);
        graph.apply(0, &meta("a", &[], &[]));
        assert_eq!(graph.unowned(), []);
    }

    #[test]
    fn what_a_new_list_leaves_out_is_gone_and_a_forgotten_kind_is_not() {
        let mut graph = Graph::default();
        graph.begin(0);
        graph.apply(0, &meta("a", &[], &[]));
        graph.apply(0, &meta("c", &[], &[]));
        graph.apply(1, &meta("b", &["a", "c"], &[]));
        assert_eq!(graph.complete(0), []);
        graph.begin(0);
        graph.apply(0, &meta("c", &[], &[]));
        assert_eq!(graph.complete(0), [dependent("b")]);
        graph.forget(0);
        assert!(!graph.is_seen("c"));
        assert!(graph.dependent(Uid::new("b")).is_some());
    }

    #[test]
    fn foreground_deletion_looks_at_dependents_and_then_at_the_owner_again() {
        let mut graph = Graph::default();
        graph.apply(0, &meta("a", &[], &[]));
        graph.apply(1, &meta("b", &["a"], &[]));
        let looks = graph.apply(0, &meta("a", &[], &[FOREGROUND]));
        assert!(matches!(looks.as_slice(), [Look::Foreground(place), child]
            if &*place.uid == "a" && *child == dependent("b")));
        assert!(graph.is_foreground("a"));
        let looks = graph.delete(&meta("b", &["a"], &[]));
        assert!(matches!(looks.as_slice(), [Look::Foreground(place)] if &*place.uid == "a"));
        assert!(matches!(graph.apply(0, &meta("a", &[], &[ORPHAN])).as_slice(), [Look::Orphan(_)]));
        assert!(!graph.is_foreground("a"));
    }

    #[test]
    fn uids_keep_their_bits() {
        let a = Uid::new("9f3c0000-0000-4000-8000-000000000001");
        assert_ne!(a, Uid::new("9f3c0000-0000-4000-8000-000000000002"));
        assert_eq!(a, Uid::new("9f3c0000-0000-4000-8000-000000000001"));
        assert_ne!(Uid::new("owner-x"), Uid::new("owner-y"));
    }
}
