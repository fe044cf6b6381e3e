//! A structural schema becomes a type.

use std::sync::Arc;

use serde_json::Value;

use super::{meta, rules, structural};
use crate::{
    cel::{Rule, RuleContext, on_large_stack},
    error::{FieldError, child, key},
    model::{
        Field, ListTopology, NodeId, PatchStrategy, Schema, Shape, StringKind, StructShape, TypeRef,
    },
    validate::NOT_ENFORCED,
};

/// The type of a custom kind's objects, metadata included.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub ty: TypeRef,
    /// What of the schema is not enforced; users should be told.
    pub warnings: Vec<String>,
}

/// The type that `schema` (an `openAPIV3Schema`) describes, or every reason why it describes none.
///
/// `at` is the path of the schema in its object: `spec.versions[0].schema.openAPIV3Schema`.
pub fn compile(schema: &Value, at: &str) -> Result<Compiled, Vec<FieldError>> {
    let errors = structural::check(schema, at);
    if !errors.is_empty() {
        return Err(errors);
    }
    let build = || {
        let mut build = Build::default();
        build.metadata = meta::add(&mut build.schema);
        let id = build.object(schema, at, true, true);
        build.rules(id, schema, at, true, true);
        if !build.errors.is_empty() {
            return Err(build.errors);
        }
        let ty = TypeRef { schema: Arc::new(build.schema), id };
        Ok(Compiled { ty, warnings: build.warnings })
    };
    if has_validations(schema) { on_large_stack(build) } else { build() }
}

/// Whether rules in CEL stand anywhere in a schema.
fn has_validations(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key(VALIDATIONS) || fields.values().any(has_validations)
        }
        Value::Array(items) => items.iter().any(has_validations),
        _ => false,
    }
}

const VALIDATIONS: &str = "x-kubernetes-validations";

struct Build {
    schema: Schema,
    metadata: NodeId,
    warnings: Vec<String>,
    errors: Vec<FieldError>,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            schema: Schema::default(),
            metadata: NodeId(0),
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }
}

pub(super) fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Build {
    fn node(&mut self, schema: &Value, at: &str, correlatable: bool) -> NodeId {
        let id = match text(schema, "type") {
            _ if flag(schema, "x-kubernetes-int-or-string") => self.push(Shape::IntOrString),
            "object" => self.object(schema, at, false, correlatable),
            "array" => self.list(schema, at, correlatable),
            "boolean" => self.push(Shape::Boolean),
            "integer" => self.push(Shape::Integer { wide: text(schema, "format") != "int32" }),
            "number" => self.push(Shape::Number),
            "string" => self.push(Shape::String(StringKind::Plain)),
            _ => self.push(Shape::Any),
        };
        self.rules(id, schema, at, false, correlatable);
        id
    }

    /// Reads what a schema demands of values beyond their type.
    fn rules(&mut self, id: NodeId, schema: &Value, at: &str, root: bool, correlatable: bool) {
        let mut rules = rules::read(schema);
        if let Some(format) = rules.as_ref().and_then(|r| r.format.as_deref())
            && NOT_ENFORCED.contains(&format)
        {
            self.warnings.push(format!("{at}.format: {format} is not enforced"));
        }
        if let Some(list) = schema.get(VALIDATIONS).and_then(Value::as_array) {
            let at = child(at, VALIDATIONS);
            let context =
                RuleContext { schema: &self.schema, node: id, root, correlatable, at: &at };
            let read = Rule::read_all(list, context, &mut self.errors, &mut self.warnings);
            if !read.is_empty() {
                rules.get_or_insert_default().validations = read;
            }
        }
        self.schema.nodes[id.0 as usize].rules = rules.map(Box::new);
    }

    fn push(&mut self, shape: Shape) -> NodeId {
        meta::push(&mut self.schema, "", shape)
    }

    fn list(&mut self, schema: &Value, at: &str, correlatable: bool) -> NodeId {
        let correlatable = correlatable && text(schema, "x-kubernetes-list-type") == "map";
        let item = self.node(&schema["items"], &child(at, "items"), correlatable);
        let topology = match text(schema, "x-kubernetes-list-type") {
            "set" => ListTopology::Set,
            "map" => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(Into::into);
                ListTopology::Map { keys: keys.collect() }
            }
            _ => ListTopology::Atomic,
        };
        self.push(Shape::List { item, topology, patch: PatchStrategy::default() })
    }

    fn object(&mut self, schema: &Value, at: &str, root: bool, correlatable: bool) -> NodeId {
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
        match schema.get("additionalProperties") {
            Some(value @ Value::Object(_)) => {
                let value = self.node(value, &child(at, "additionalProperties"), correlatable);
                return self.push(Shape::Map { value, atomic });
            }
            Some(Value::Bool(true)) => {
                let value = self.push(Shape::Any);
                return self.push(Shape::Map { value, atomic });
            }
            _ => {}
        }
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut shape = StructShape { open, embedded, atomic, ..StructShape::default() };
        let none = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        for (name, property) in properties {
            let at = key(&child(at, "properties"), name);
            let node = self.node(property, &at, correlatable);
            shape.fields.insert(
                name.as_str().into(),
                Field {
                    node,
                    required: required.contains(&name.as_str()),
                    nullable: flag(property, "nullable"),
                    default: property.get("default").filter(|d| !d.is_null()).cloned(),
                },
            );
        }
        if root || embedded {
            let string = self.push(Shape::String(StringKind::Plain));
            for name in ["apiVersion", "kind"] {
                let field = Field { required: embedded, ..meta::plain(string) };
                shape.fields.entry(name.into()).or_insert(field);
            }
            // Whatever a schema says of names, metadata is ObjectMeta.
            shape.fields.insert("metadata".into(), meta::plain(self.metadata));
        }
        for name in required {
            // Required, but described nowhere: only an open struct can have it.
            if !shape.fields.contains_key(name) {
                let any = self.push(Shape::Any);
                shape.fields.insert(
                    name.into(),
                    Field { required: true, nullable: true, ..meta::plain(any) },
                );
            }
        }
        self.push(Shape::Struct(Box::new(shape)))
    }
}

#[cfg(test)]
mod tests;
