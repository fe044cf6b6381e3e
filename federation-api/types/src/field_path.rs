//! Where one field stands in an object: `.spec.replicas`, in the words of the scale subresource.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A path of names through objects; it leads through no list.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct FieldPath(Vec<Box<str>>);

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path such as .spec.replicas")]
pub struct NoFieldPath(String);

impl TryFrom<String> for FieldPath {
    type Error = NoFieldPath;

    fn try_from(text: String) -> Result<Self, NoFieldPath> {
        Self::parse(&text).ok_or(NoFieldPath(text))
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

impl FieldPath {
    /// Reads `.spec.size`; none if it is no such path.
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<Box<str>> = text.strip_prefix('.')?.split('.').map(Into::into).collect();
        let good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        let all = names.iter().all(|it| !it.is_empty() && it.bytes().all(good));
        (all && text.len() <= 253).then_some(Self(names))
    }

    /// The first name of it: `spec`.
    pub fn root(&self) -> &str {
        &self.0[0]
    }

    /// The last name of it.
    pub fn last(&self) -> &str {
        &self.0[self.0.len() - 1]
    }

    /// The names that it leads through.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|it| &**it)
    }

    /// Whether there is a field below the root.
    pub fn is_below(&self, root: &str) -> bool {
        self.root() == root && self.0.len() > 1
    }

    /// What stands there.
    pub fn get<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |at, name| at.get(&**name))
    }

    /// Writes what is to stand there; what it leads through is made. Says whether it could be: nothing is written into
    /// what is no object.
    pub fn set(&self, object: &mut Value, value: Value) -> bool {
        let Some((last, above)) = self.0.split_last() else { return false };
        let mut at = object;
        for name in above {
            let Some(fields) = at.as_object_mut() else { return false };
            at = fields.entry(&**name).or_insert_with(|| Value::Object(Map::new()));
        }
        let Some(fields) = at.as_object_mut() else { return false };
        fields.insert(last.to_string(), value);
        true
    }

    /// Takes away what stands there.
    pub fn remove(&self, object: &mut Value) -> Option<Value> {
        let (last, above) = self.0.split_last()?;
        let at = above.iter().try_fold(object, |at, name| at.get_mut(&**name))?;
        at.as_object_mut()?.remove(&**last)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|it| write!(f, ".{it}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_names_with_dots_before_them() {
        for good in [".spec", ".spec.size", ".status.ready_replicas-1"] {
            assert_eq!(FieldPath::parse(good).map(|it| it.to_string()).as_deref(), Some(good));
        }
        for bad in ["", ".", "spec.size", ".spec.", ".spec..size", ".spec.a[0]", "/spec/size"] {
            assert_eq!(FieldPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_field_is_read_written_and_taken_away() {
        let path = FieldPath::parse(".spec.worker.size").unwrap();
        let mut object = json!({"spec": {"name": "a"}});
        assert_eq!(path.get(&object), None);
        assert!(path.set(&mut object, json!(3)));
        assert_eq!(object, json!({"spec": {"name": "a", "worker": {"size": 3}}}));
        assert_eq!(path.get(&object), Some(&json!(3)));
        assert_eq!(path.remove(&mut object), Some(json!(3)));
        assert_eq!(object, json!({"spec": {"name": "a", "worker": {}}}));
        let mut other = json!({"spec": {"worker": 1}});
        assert!(!path.set(&mut other, json!(3)));
        assert_eq!(other, json!({"spec": {"worker": 1}}));
    }
}
