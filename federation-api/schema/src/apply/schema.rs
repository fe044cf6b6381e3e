//! What server-side apply sees in a type: leaves, lists and maps.

use serde_json::Value;

use super::element::{PathElement, Scalar};
use crate::model::{ListTopology, Shape, TypeRef};

/// A type, or none: then the value says what it is, maps are granular and lists are one leaf.
pub(crate) type Ty = Option<TypeRef>;

/// What a value is to ownership.
#[derive(Clone, Debug)]
pub(crate) enum Atom {
    Leaf,
    /// A list whose items are owned one by one.
    List(ListAtom),
    /// A map or a struct whose fields are owned one by one.
    Map(MapAtom),
}

#[derive(Clone, Debug)]
pub(crate) struct ListAtom {
    pub(crate) item: Ty,
    pub(crate) topology: ListTopology,
}

#[derive(Clone, Debug)]
pub(crate) struct MapAtom {
    pub(crate) ty: Ty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    List,
    Map,
}

fn kind_of(value: &Value) -> Option<Kind> {
    match value {
        Value::Null => None,
        Value::Array(_) => Some(Kind::List),
        Value::Object(_) => Some(Kind::Map),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(Kind::Scalar),
    }
}

/// Where a value does not fit its type (stored before the type changed), the value decides.
pub(crate) fn atom(ty: &Ty, value: Option<&Value>) -> Atom {
    let found = value.and_then(kind_of);
    if let Some(ty) = ty {
        let declared = match &ty.node().shape {
            Shape::Any => None,
            Shape::List { .. } => Some(Kind::List),
            Shape::Map { .. } | Shape::Struct(_) => Some(Kind::Map),
            Shape::Boolean
            | Shape::Integer { .. }
            | Shape::Number
            | Shape::String(_)
            | Shape::Quantity
            | Shape::IntOrString => Some(Kind::Scalar),
        };
        if let Some(declared) = declared
            && found.is_none_or(|f| f == declared)
        {
            return typed(ty);
        }
    }
    match found {
        Some(Kind::Scalar | Kind::List) => Atom::Leaf,
        Some(Kind::Map) | None => Atom::Map(MapAtom { ty: None }),
    }
}

fn typed(ty: &TypeRef) -> Atom {
    match &ty.node().shape {
        Shape::List { item, topology, .. } if *topology != ListTopology::Atomic => {
            Atom::List(ListAtom { item: Some(ty.at(*item)), topology: topology.clone() })
        }
        Shape::Map { atomic: false, .. } => Atom::Map(MapAtom { ty: Some(ty.clone()) }),
        Shape::Struct(shape) if !shape.atomic => Atom::Map(MapAtom { ty: Some(ty.clone()) }),
        _ => Atom::Leaf,
    }
}

impl Atom {
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl MapAtom {
    /// The type of an entry, and whether it is a named field of a struct.
    pub(crate) fn field(&self, name: &str) -> (Ty, bool) {
        let Some(ty) = &self.ty else { return (None, false) };
        match &ty.node().shape {
            Shape::Struct(shape) => match shape.fields.get(name) {
                Some(field) => (Some(ty.at(field.node)), true),
                None => (None, false),
            },
            Shape::Map { value, .. } => (Some(ty.at(*value)), false),
            _ => (None, false),
        }
    }

    /// Whether an entry of this name is declared, or anything goes.
    pub(crate) fn declares(&self, name: &str) -> bool {
        match self.ty.as_ref().map(|ty| &ty.node().shape) {
            Some(Shape::Struct(shape)) => shape.open || shape.fields.contains_key(name),
            _ => true,
        }
    }
}

impl ListAtom {
    /// The step that names an item.
    pub(crate) fn element(&self, item: &Value) -> Result<PathElement, String> {
        let keys = match &self.topology {
            ListTopology::Map { keys } => keys,
            ListTopology::Set | ListTopology::Atomic => {
                return match item {
                    Value::Object(_) => Err("a set has an item that is an object".to_owned()),
                    Value::Array(_) => Err("a set has an item that is a list".to_owned()),
                    Value::Null => Err("a set has an item that is null".to_owned()),
                    scalar => Ok(PathElement::Value(Scalar(scalar.clone()))),
                };
            }
        };
        let Value::Object(fields) = item else {
            return Err("associative list with keys may not have non-map elements".to_owned());
        };
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = match fields.get(&**key) {
                Some(value) => Some(value.clone()),
                None => self.default_of(key),
            };
            if let Some(value) = value {
                found.push((key.clone(), Scalar(value)));
            }
        }
        if found.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} \
                 (and doesn't have default values for any key fields)"
            ));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(PathElement::Key(found))
    }

    fn default_of(&self, key: &str) -> Option<Value> {
        match &self.item.as_ref()?.node().shape {
            Shape::Struct(shape) => shape.fields.get(key)?.default.clone(),
            _ => None,
        }
    }

    /// The steps of all items, in order.
    pub(crate) fn elements(&self, items: &[Value]) -> Result<Vec<PathElement>, String> {
        let element = |(at, item)| self.element(item).map_err(|e| format!("element {at}: {e}"));
        items.iter().enumerate().map(element).collect()
    }
}
