//! Which fields an expression asks for, against the schema of what it is about: one that is not there is a mistake that
//! would show on every object.

use kube_cel::cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};

use super::{program::CompileError, value::escape};
use crate::model::{NodeId, Schema, Shape};

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Node(NodeId),
    /// The metadata of a whole object, of which the names are told.
    Metadata,
    NotBool,
}

/// Checks the fields that are reached from `variables`. With `root`, they are whole objects. `boolean` demands that the
/// outcome can be true or false.
pub(super) fn fields(
    expr: &IdedExpr,
    schema: &Schema,
    node: NodeId,
    variables: &[&str],
    root: bool,
    boolean: bool,
) -> Result<(), CompileError> {
    let scope = variables.iter().map(|name| ((*name).to_owned(), Known::Node(node))).collect();
    let mut check = Check { schema, scope, object: root.then_some(node) };
    let outcome = check.of(expr)?;
    let wrong = match outcome {
        Known::Nothing => false,
        Known::Node(id) => !matches!(check.shape(id), Shape::Boolean | Shape::Any),
        Known::Metadata | Known::NotBool => true,
    };
    if boolean && wrong {
        return Err(CompileError::Invalid("must evaluate to a bool".to_owned()));
    }
    Ok(())
}

struct Check<'s> {
    schema: &'s Schema,
    scope: Vec<(String, Known)>,
    /// The node that is a whole object.
    object: Option<NodeId>,
}

impl Check<'_> {
    fn shape(&self, id: NodeId) -> &Shape {
        &self.schema.nodes[id.0 as usize].shape
    }

    fn of(&mut self, expr: &IdedExpr) -> Result<Known, CompileError> {
        Ok(match &expr.expr {
            Expr::Ident(name) => {
                let found = self.scope.iter().rev().find(|(known, _)| known == name);
                found.map_or(Known::Nothing, |(_, known)| *known)
            }
            Expr::Select(select) => {
                let operand = self.of(&select.operand)?;
                let found = self.field(operand, &select.field)?;
                // `has(…)`
                if select.test { Known::Nothing } else { found }
            }
            Expr::Literal(LiteralValue::Boolean(_)) => Known::Nothing,
            Expr::Literal(_) => Known::NotBool,
            Expr::List(list) => {
                list.elements.iter().try_for_each(|it| self.of(it).map(drop))?;
                Known::NotBool
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.of(&entry.key)?;
                        self.of(&entry.value)?;
                    }
                }
                Known::NotBool
            }
            Expr::Call(call) => {
                if let Some(target) = &call.target {
                    self.of(target)?;
                }
                let mut arguments = Vec::with_capacity(call.args.len());
                for argument in &call.args {
                    arguments.push(self.of(argument)?);
                }
                match (call.func_name.as_str(), arguments.first()) {
                    (operators::INDEX, Some(Known::Node(id))) => match self.shape(*id) {
                        Shape::List { item, .. } => Known::Node(*item),
                        Shape::Map { value, .. } => Known::Node(*value),
                        _ => Known::Nothing,
                    },
                    (
                        operators::ADD
                        | operators::SUBSTRACT
                        | operators::MULTIPLY
                        | operators::DIVIDE
                        | operators::MODULO
                        | operators::NEGATE
                        | "size",
                        _,
                    ) => Known::NotBool,
                    _ => Known::Nothing,
                }
            }
            Expr::Comprehension(it) => {
                let over = self.of(&it.iter_range)?;
                let item = match over {
                    Known::Node(id) => match self.shape(id) {
                        Shape::List { item, .. } => Known::Node(*item),
                        _ => Known::Nothing,
                    },
                    _ => Known::Nothing,
                };
                self.of(&it.accu_init)?;
                let outer = self.scope.len();
                self.scope.push((it.accu_var.clone(), Known::Nothing));
                self.scope.push((it.iter_var.clone(), item));
                self.of(&it.loop_step)?;
                self.scope.truncate(outer);
                // The loop's own result says nothing of its type.
                Known::Nothing
            }
            Expr::Struct(_) | Expr::Unspecified => Known::Nothing,
        })
    }

    fn field(&self, of: Known, name: &str) -> Result<Known, CompileError> {
        let undefined = || CompileError::Invalid(format!("undefined field '{name}'"));
        match of {
            Known::Nothing | Known::NotBool => Ok(Known::Nothing),
            Known::Metadata if matches!(name, "name" | "generateName") => Ok(Known::Nothing),
            Known::Metadata => Err(undefined()),
            Known::Node(id) => match self.shape(id) {
                Shape::Struct(shape) => {
                    let whole = shape.embedded || self.object == Some(id);
                    if whole && name == "metadata" {
                        return Ok(Known::Metadata);
                    }
                    let found = shape.fields.iter().find(|(field, _)| escape(field) == name);
                    found.map(|(_, field)| Known::Node(field.node)).ok_or_else(undefined)
                }
                Shape::Map { value, .. } => Ok(Known::Node(*value)),
                Shape::Any => Ok(Known::Nothing),
                _ => Err(CompileError::Invalid(format!(
                    "field '{name}' is asked of a value that has no fields"
                ))),
            },
        }
    }
}
