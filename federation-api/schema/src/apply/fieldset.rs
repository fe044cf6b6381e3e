//! Sets of fields, as `managedFields[].fieldsV1` writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::PathElement;

/// A set of paths, as a tree. A child's presence does not make its parent a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(crate) members: BTreeSet<PathElement>,
    /// None of these sets is empty.
    pub(crate) children: BTreeMap<PathElement, Self>,
}

impl FieldSet {
    /// Of one path of fields.
    pub fn of(path: &[&str]) -> Self {
        let mut set = Self::default();
        let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
        set.insert(&path);
        set
    }

    /// Reads the FieldsV1 form.
    pub fn parse(fields: &Value) -> Result<Self, String> {
        let Value::Object(fields) = fields else {
            return Err("fieldsV1 is not an object".to_owned());
        };
        Ok(read(fields)?.0.unwrap_or_default())
    }

    /// The FieldsV1 form.
    pub fn to_fields(&self) -> Value {
        Value::Object(self.write(false))
    }

    fn write(&self, member: bool) -> Map<String, Value> {
        let mut out = Map::new();
        if member {
            out.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for element in &self.members {
            if !self.children.contains_key(element) {
                out.insert(element.written(), Value::Object(Map::new()));
            }
        }
        for (element, child) in &self.children {
            out.insert(
                element.written(),
                Value::Object(child.write(self.members.contains(element))),
            );
        }
        out
    }

    /// Adds one path; the empty one, the whole object, is nobody's.
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            // Most paths share their beginning with the one before, which is not to be cloned again.
            [first, rest @ ..] => match self.children.get_mut(first) {
                Some(child) => child.insert(rest),
                None => self.children.entry(first.clone()).or_default().insert(rest),
            },
        }
    }

    /// Whether the path is a member.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|c| c.has(rest)),
        }
    }

    /// Whether no path is a member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.absorb(other);
        out
    }

    fn absorb(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            match self.children.get_mut(element) {
                Some(ours) => ours.absorb(theirs),
                None => {
                    self.children.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, ours)| {
            let both = ours.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// What is in this set and not in the other; members stay though their parent is in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.without(other, false)
    }

    /// What is in this set and not in or below a member of the other.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.without(other, true)
    }

    fn without(&self, other: &Self, deep: bool) -> Self {
        let children = self.children.iter().filter_map(|(element, ours)| {
            if deep && other.members.contains(element) {
                return None;
            }
            let left = match other.children.get(element) {
                Some(theirs) => ours.without(theirs, deep),
                None => ours.clone(),
            };
            (!left.is_empty()).then(|| (element.clone(), left))
        });
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// The set below one step.
    pub(crate) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    /// Every path, parents before what is below them, members of a level before what is below any of them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            out.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, out);
            prefix.pop();
        }
    }
}

/// What is below, if anything, and whether the node is a member itself: it is when it says `.` or has nothing below.
fn read(fields: &Map<String, Value>) -> Result<(Option<FieldSet>, bool), String> {
    let mut member = false;
    let mut set: Option<FieldSet> = None;
    for (key, value) in fields {
        if key == "." {
            member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else { continue };
        let Value::Object(below) = value else {
            return Err(format!("{key} is not an object"));
        };
        let (child, child_is_member) = read(below)?;
        let set = set.get_or_insert_default();
        if child_is_member {
            set.members.insert(element.clone());
        }
        if let Some(child) = child {
            set.children.insert(element, child);
        }
    }
    let leaf = set.is_none();
    Ok((set, member || leaf))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(fields: &Value) -> FieldSet {
        FieldSet::parse(fields).unwrap()
    }

    #[test]
    fn the_written_form_survives() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
                "f:set": {"v:\"a\"": {}, "v:1": {}},
                "f:list": {"i:0": {}},
            },
        });
        assert_eq!(set(&fields).to_fields(), fields);
        assert_eq!(set(&json!({})), FieldSet::default());
        assert_eq!(set(&json!({"x:new": {}, "f:a": {}})).to_fields(), json!({"f:a": {}}));
        for bad in
            [json!([]), json!({"f": {}}), json!({"f:a": 1}), json!({"k:1": {}}), json!({"i:x": {}})]
        {
            assert!(FieldSet::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_algebra() {
        let a = set(&json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let b = set(&json!({"f:a": {"f:b": {}}, "f:e": {}}));
        assert_eq!(
            a.union(&b).to_fields(),
            json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}, "f:e": {}})
        );
        assert_eq!(a.intersection(&b).to_fields(), json!({"f:a": {"f:b": {}}}));
        assert_eq!(a.difference(&b).to_fields(), json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}));
        let parent = set(&json!({"f:a": {}}));
        assert_eq!(
            a.difference(&parent).to_fields(),
            json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}})
        );
        assert_eq!(a.recursive_difference(&parent).to_fields(), json!({"f:d": {}}));
        assert!(b.difference(&b).is_empty());
    }
}
