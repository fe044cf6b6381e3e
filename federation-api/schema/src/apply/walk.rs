//! Which fields an object has, and which of them differ between two objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::{PathElement, same},
    fieldset::FieldSet,
    schema::{Atom, ListAtom, MapAtom, Ty, atom},
};
use crate::model::{Shape, TypeRef};

/// The fields of an object that can be owned: leaves, items, entries of maps, and what is empty.
pub(crate) fn fields_of(value: &Value, ty: &Ty) -> FieldSet {
    let mut set = FieldSet::default();
    add_fields(value, ty, &mut Vec::new(), &mut set);
    set
}

fn add_fields(value: &Value, ty: &Ty, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match atom(ty, Some(value)) {
        Atom::Leaf => set.insert(path),
        Atom::Map(map) => {
            let Value::Object(entries) = value else { return };
            for (name, entry) in entries {
                let (entry_ty, named) = map.field(name);
                path.push(PathElement::field(name));
                add_fields(entry, &entry_ty, path, set);
                let empty = entry.is_null() || entry.as_object().is_some_and(Map::is_empty);
                if empty || !named {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Atom::List(list) => {
            let Value::Array(items) = value else { return };
            let Ok(elements) = list.elements(items) else { return set.insert(path) };
            let mut times: BTreeMap<&PathElement, usize> = BTreeMap::new();
            for element in &elements {
                *times.entry(element).or_default() += 1;
            }
            for (item, element) in items.iter().zip(&elements) {
                path.push(element.clone());
                // Items that cannot be told apart are owned together, as one leaf.
                if times[element] == 1 {
                    add_fields(item, &list.item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// How one object differs from another.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) removed: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) added: FieldSet,
}

impl Comparison {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    pub(crate) fn filter(self, keep: impl Fn(&FieldSet) -> FieldSet) -> Self {
        Self {
            removed: keep(&self.removed),
            modified: keep(&self.modified),
            added: keep(&self.added),
        }
    }
}

/// What must change in `old` to make `new`.
pub(crate) fn compare(old: &Value, new: &Value, ty: &Ty) -> Comparison {
    let mut walk = Compare { out: Comparison::default(), path: Vec::new(), whole: true };
    walk.compare(Some(old), Some(new), ty);
    walk.out
}

/// The same for two objects, whose managedFields are left out of it.
pub(crate) fn compare_objects(old: &Value, new: &Value, ty: &Ty) -> Comparison {
    let mut walk = Compare { out: Comparison::default(), path: Vec::new(), whole: false };
    walk.compare(Some(old), Some(new), ty);
    walk.out
}

struct Compare {
    out: Comparison,
    path: Vec<PathElement>,
    /// Whether `metadata.managedFields` is compared too.
    whole: bool,
}

impl Compare {
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, ty: &Ty) {
        // Most of an object is as it was, and to see that needs no type.
        if let (Some(Value::Object(_) | Value::Array(_)), true) = (old, old == new) {
            return;
        }
        let (before, after) = (atom(ty, old), atom(ty, new));
        let leaf = if new.is_none() {
            self.one(&before, old, new)
        } else if old.is_none() || before.same_kind(&after) {
            self.one(&after, old, new)
        } else {
            self.one(&before, old, new);
            self.one(&after, old, new)
        };
        if !leaf {
            self.presence(old, new);
        }
    }

    fn presence(&mut self, old: Option<&Value>, new: Option<&Value>) {
        if old.is_none() {
            self.out.added.insert(&self.path);
        } else if new.is_none() {
            self.out.removed.insert(&self.path);
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        if old.is_some() && new.is_some() && !same(old, new) {
            self.out.modified.insert(&self.path);
        }
        self.presence(old, new);
        true
    }

    /// Compares as `atom`; says whether it was taken as one leaf.
    fn one(&mut self, atom: &Atom, old: Option<&Value>, new: Option<&Value>) -> bool {
        match atom {
            Atom::Leaf => self.leaf(old, new),
            Atom::Map(map) => {
                let (a, b) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                    return self.leaf(old, new);
                }
                self.maps(map, a, b);
                false
            }
            Atom::List(list) => {
                let (a, b) = (items(old), items(new));
                if a.is_empty() && b.is_empty() {
                    return self.leaf(old, new);
                }
                let (Ok(before), Ok(after)) = (list.elements(a), list.elements(b)) else {
                    return self.leaf(old, new);
                };
                self.lists(list, (a, before), (b, after));
                false
            }
        }
    }

    fn maps(
        &mut self,
        map: &MapAtom,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let names = old.into_iter().flatten().chain(new.into_iter().flatten());
        let names: std::collections::BTreeSet<&String> = names.map(|(name, _)| name).collect();
        for name in names {
            if name == "managedFields" && self.skips_managed_fields() {
                continue;
            }
            let (ty, _) = map.field(name);
            self.path.push(PathElement::field(name));
            self.compare(old.and_then(|m| m.get(name)), new.and_then(|m| m.get(name)), &ty);
            self.path.pop();
        }
    }

    fn skips_managed_fields(&self) -> bool {
        !self.whole && matches!(&self.path[..], [PathElement::Field(only)] if &**only == "metadata")
    }

    fn lists(
        &mut self,
        list: &ListAtom,
        old: (&[Value], Vec<PathElement>),
        new: (&[Value], Vec<PathElement>),
    ) {
        let mut by_element: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (item, element) in old.0.iter().zip(old.1) {
            by_element.entry(element).or_default().0.push(item);
        }
        for (item, element) in new.0.iter().zip(new.1) {
            by_element.entry(element).or_default().1.push(item);
        }
        for (element, (before, after)) in by_element {
            self.path.push(element);
            match (&before[..], &after[..]) {
                ([] | [_], [] | [_]) => {
                    self.compare(before.first().copied(), after.first().copied(), &list.item);
                }
                ([_, _, ..], [_, _, ..]) => {
                    let equal = before.len() == after.len()
                        && before.iter().zip(&after).all(|(a, b)| same(Some(a), Some(b)));
                    if !equal {
                        self.out.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(after) = after.first() {
                        self.compare(None, Some(after), &list.item);
                    }
                    self.out.removed.insert(&self.path);
                }
                (_, _) => {
                    if let Some(before) = before.first() {
                        self.compare(Some(before), None, &list.item);
                    }
                    self.out.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The set together with the named fields above its members: who owns `spec.replicas` also holds up `spec`.
pub(crate) fn with_named_fields(set: &FieldSet, ty: &Ty) -> FieldSet {
    let mut out = FieldSet { members: set.members.clone(), children: BTreeMap::new() };
    for (element, child) in &set.children {
        let (mut below, mut named) = (None, false);
        match (element, ty.as_ref().map(TypeRef::node).map(|n| &n.shape)) {
            (PathElement::Field(name), Some(Shape::Struct(_) | Shape::Map { .. })) => {
                (below, named) = MapAtom { ty: ty.clone() }.field(name);
            }
            (PathElement::Key(_), Some(Shape::List { item, .. })) => {
                below = ty.as_ref().map(|t| t.at(*item));
            }
            _ => {}
        }
        if named {
            out.members.insert(element.clone());
        }
        out.children.insert(element.clone(), with_named_fields(child, &below));
    }
    out
}

/// A set that was written before a list or a map of the type became atomic, as it would be written now.
pub(crate) fn reconcile(set: &FieldSet, ty: &Ty) -> FieldSet {
    let mut out = FieldSet { members: set.members.clone(), children: BTreeMap::new() };
    for (element, child) in &set.children {
        let below = step(element, ty);
        if below.as_ref().is_some_and(is_atomic) {
            out.members.insert(element.clone());
        } else {
            out.children.insert(element.clone(), reconcile(child, &below));
        }
    }
    out
}

/// Whether [`reconcile`] would change the set.
pub(crate) fn is_outdated(set: &FieldSet, ty: &Ty) -> bool {
    set.children.iter().any(|(element, child)| {
        let below = step(element, ty);
        below.as_ref().is_some_and(is_atomic) || is_outdated(child, &below)
    })
}

fn step(element: &PathElement, ty: &Ty) -> Ty {
    let ty = ty.as_ref()?;
    match (element, &ty.node().shape) {
        (PathElement::Field(name), Shape::Struct(_) | Shape::Map { .. }) => {
            MapAtom { ty: Some(ty.clone()) }.field(name).0
        }
        (PathElement::Field(_), _) => None,
        (_, Shape::List { item, .. }) => Some(ty.at(*item)),
        _ => None,
    }
}

fn is_atomic(ty: &TypeRef) -> bool {
    match &ty.node().shape {
        Shape::List { .. } | Shape::Map { .. } | Shape::Struct(_) => {
            matches!(atom(&Some(ty.clone()), None), Atom::Leaf)
        }
        _ => false,
    }
}
