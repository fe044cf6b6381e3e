//! A custom kind's rules in CEL, asked where they stand: each about its own value, and about what that was before.

use serde_json::Value;

use crate::{
    cel::{Budget, CelValue, typed},
    error::{FieldError, child, item, key},
    model::{ListTopology, Shape, TypeRef},
};

/// What the rules of a type have against an object that is otherwise valid. What did not change is not asked again but
/// by rules that compare.
pub fn rules_broken(new: &Value, old: Option<&Value>, ty: &TypeRef) -> Vec<FieldError> {
    let mut walk = Walk { budget: Budget::default(), out: Vec::new() };
    walk.value(new, old, ty, "", true);
    walk.out
}

/// Whether any rule stands in a type.
pub fn has_rules(ty: &TypeRef) -> bool {
    ty.schema
        .nodes
        .iter()
        .any(|node| node.rules.as_ref().is_some_and(|r| !r.validations.is_empty()))
}

struct Walk {
    budget: Budget,
    out: Vec<FieldError>,
}

impl Walk {
    fn value(&mut self, new: &Value, old: Option<&Value>, ty: &TypeRef, at: &str, root: bool) {
        let node = ty.node();
        if let Some(rules) = node.rules.as_ref().filter(|rules| !rules.validations.is_empty())
            && !new.is_null()
        {
            let same = old == Some(new);
            let wanted = || rules.validations.iter().filter(|rule| rule.transition || !same);
            if wanted().next().is_some() {
                let mut size = 0;
                let now = typed(new, ty, root, &mut size);
                let compares = wanted().any(|rule| rule.transition);
                let before: Option<CelValue> =
                    old.filter(|_| compares).map(|old| typed(old, ty, root, &mut size));
                for rule in wanted() {
                    let judged = rule.judge(&now, before.as_ref(), ty, at, size, &mut self.budget);
                    self.out.extend(judged);
                }
            }
        }
        match (&node.shape, new) {
            (Shape::Struct(shape), Value::Object(fields)) => {
                for (name, field) in &shape.fields {
                    if let Some(value) = fields.get(&**name) {
                        let old = old.and_then(|old| old.get(&**name));
                        self.value(value, old, &ty.at(field.node), &child(at, name), false);
                    }
                }
            }
            (Shape::Map { value: node, .. }, Value::Object(entries)) => {
                for (name, value) in entries {
                    let old = old.and_then(|old| old.get(name));
                    self.value(value, old, &ty.at(*node), &key(at, name), false);
                }
            }
            (Shape::List { item: node, topology, .. }, Value::Array(items)) => {
                let keys = match topology {
                    ListTopology::Map { keys } => Some(keys),
                    ListTopology::Atomic | ListTopology::Set => None,
                };
                for (index, value) in items.iter().enumerate() {
                    let old = keys.zip(old.and_then(Value::as_array)).and_then(|(keys, items)| {
                        items.iter().find(|it| keys.iter().all(|k| it.get(&**k) == value.get(&**k)))
                    });
                    self.value(value, old, &ty.at(*node), &item(at, index), false);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
