//! One rule of `x-kubernetes-validations`: read and checked with its definition, asked about each object.

use serde_json::Value;

use super::{
    CelValue, check,
    program::{Budget, CompileError, Fault, Program},
    value,
};
use crate::{
    error::{FieldError, child, item},
    model::{NodeId, Schema, Shape, TypeRef},
};

/// How long a message may be.
const LONGEST_MESSAGE: usize = 5120;

/// What a broken rule is called in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    #[default]
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    program: Program,
    message: Option<Box<str>>,
    message_expression: Option<Program>,
    reason: Reason,
    /// `.spec.a`, as `spec.a`; empty for the value itself.
    field_path: Box<str>,
    /// Whether it compares with what was before.
    pub transition: bool,
    optional_old: bool,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub struct RuleContext<'s> {
    pub schema: &'s Schema,
    pub node: NodeId,
    /// Whether the node is a whole object.
    pub root: bool,
    /// Whether it can be told which old value became which new one.
    pub correlatable: bool,
    /// The path of the rules: `…openAPIV3Schema.x-kubernetes-validations`.
    pub at: &'s str,
}

impl Rule {
    /// Reads the rules of one node. What is wrong goes to `errors`, what is not evaluated here to `warnings`.
    pub fn read_all(
        list: &[Value],
        context: RuleContext<'_>,
        errors: &mut Vec<FieldError>,
        warnings: &mut Vec<String>,
    ) -> Vec<Self> {
        let mut rules = Vec::new();
        for (index, rule) in list.iter().enumerate() {
            let at = item(context.at, index);
            let before = errors.len();
            let read = Reading { rule, at: &at, context, errors, warnings }.read();
            if errors.len() == before {
                rules.extend(read);
            }
        }
        rules
    }

    /// What the rule has against a value. `None` if nothing, or if it does not apply.
    pub fn judge(
        &self,
        now: &CelValue,
        old: Option<&CelValue>,
        ty: &TypeRef,
        at: &str,
        size: u64,
        budget: &mut Budget,
    ) -> Option<FieldError> {
        let mut variables = vec![("self", now.clone())];
        if self.transition {
            match old {
                _ if self.optional_old => {
                    variables.push(("oldSelf", value::optional(old.cloned())));
                }
                Some(old) => variables.push(("oldSelf", old.clone())),
                None => return None,
            }
        }
        let detail = match self.program.evaluate(&variables, size, budget) {
            Ok(CelValue::Bool(true)) => return None,
            Ok(CelValue::Bool(false)) => self.message(&variables, size, budget),
            Ok(_) => format!("rule must evaluate to a bool: {}", self.program.text),
            Err(fault @ (Fault::Failed(_) | Fault::Missing(_))) => {
                format!("{fault} evaluating rule: {}", self.program.text)
            }
            Err(fault @ Fault::Cost) => format!("{fault}, evaluating rule: {}", self.program.text),
        };
        let field = child(at, &self.field_path);
        let field = if self.field_path.is_empty() { at.to_owned() } else { field };
        let kind = type_name(&ty.node().shape);
        Some(match self.reason {
            Reason::Invalid => FieldError::invalid(field, kind, detail),
            Reason::Forbidden => FieldError::forbidden(field, detail),
            Reason::Required => FieldError::required(field, detail),
            Reason::Duplicate => FieldError { detail, ..FieldError::duplicate(field, kind) },
        })
    }

    fn message(&self, variables: &[(&str, CelValue)], size: u64, budget: &mut Budget) -> String {
        let made = self.message_expression.as_ref().and_then(|expression| {
            match expression.evaluate(variables, size, budget) {
                Ok(CelValue::String(text)) => Some(text.trim().to_owned()),
                Ok(_) | Err(_) => None,
            }
        });
        let fits = |text: &String| {
            !text.is_empty() && !text.contains('\n') && text.len() <= LONGEST_MESSAGE
        };
        made.filter(fits)
            .or_else(|| self.message.as_deref().map(str::to_owned))
            .unwrap_or_else(|| format!("failed rule: {}", self.program.text))
    }
}

fn type_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any | Shape::Struct(_) | Shape::Map { .. } => "object",
        Shape::Boolean => "boolean",
        Shape::Integer { .. } => "integer",
        Shape::Number => "number",
        Shape::String(_) | Shape::Quantity => "string",
        Shape::IntOrString => "int-or-string",
        Shape::List { .. } => "array",
    }
}

/// A rule being read.
struct Reading<'r> {
    rule: &'r Value,
    at: &'r str,
    context: RuleContext<'r>,
    errors: &'r mut Vec<FieldError>,
    warnings: &'r mut Vec<String>,
}

impl Reading<'_> {
    fn refuse(&mut self, field: &str, value: &str, why: impl Into<String>) {
        self.errors.push(FieldError::invalid(child(self.at, field), value, why));
    }

    fn text(&self, field: &str) -> Option<String> {
        self.rule.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    fn read(mut self) -> Option<Rule> {
        let Some(text) = self.text("rule").filter(|text| !text.trim().is_empty()) else {
            let why = "rule is not specified";
            self.errors.push(FieldError::required(child(self.at, "rule"), why));
            return None;
        };
        let message = self.text("message").map(|text| text.trim().to_owned());
        if let Some(message) = &message {
            if message.is_empty() {
                self.refuse("message", message, "message must be non-empty if specified");
            } else if message.contains('\n') {
                self.refuse("message", message, "message must not contain line breaks");
            } else if message.len() > 2048 {
                self.errors.push(FieldError::too_long(child(self.at, "message"), 2048));
            }
        } else if text.contains('\n') && self.rule.get("messageExpression").is_none() {
            let why = "message must be specified if rule contains line breaks";
            self.errors.push(FieldError::required(child(self.at, "message"), why));
        }
        let reason = self.reason();
        let field_path = self.field_path();
        let program = self.program("rule", &text, true)?;
        let transition = program.uses("oldSelf");
        if transition && !self.context.correlatable {
            let why = "oldSelf cannot be used within a list that is no map: \
                       it cannot be told which old item became which new one";
            self.refuse("rule", &text, why);
        }
        let optional_old = self.rule.get("optionalOldSelf").and_then(Value::as_bool);
        if optional_old.is_some() && !transition {
            self.refuse("optionalOldSelf", "true", "must not be set: oldSelf is not used in rule");
        }
        let message_expression = match self.text("messageExpression") {
            Some(text) => Some(self.program("messageExpression", &text, false)?),
            None => None,
        };
        Some(Rule {
            program,
            message: message.map(Into::into),
            message_expression,
            reason,
            field_path: field_path.into(),
            transition,
            optional_old: optional_old == Some(true),
        })
    }

    fn program(&mut self, field: &str, text: &str, boolean: bool) -> Option<Program> {
        match self.compile(text, boolean) {
            Ok(program) => Some(program),
            Err(error @ CompileError::Invalid(_)) => {
                self.refuse(field, text, error.to_string());
                None
            }
            Err(CompileError::Unsupported(why)) => {
                self.warnings.push(format!("{}.{field} is not evaluated: {why}", self.at));
                None
            }
        }
    }

    fn compile(&self, text: &str, boolean: bool) -> Result<Program, CompileError> {
        let RuleContext { schema, node, root, .. } = self.context;
        let program = Program::parse(text, &["self", "oldSelf"])?;
        let optional = self.rule.get("optionalOldSelf").and_then(Value::as_bool) == Some(true);
        let typed: &[&str] = if optional { &["self"] } else { &["self", "oldSelf"] };
        check::fields(program.expression(), schema, node, typed, root, boolean)?;
        Ok(program.metered())
    }

    fn reason(&mut self) -> Reason {
        let Some(text) = self.text("reason") else { return Reason::default() };
        match text.as_str() {
            "FieldValueInvalid" => Reason::Invalid,
            "FieldValueForbidden" => Reason::Forbidden,
            "FieldValueRequired" => Reason::Required,
            "FieldValueDuplicate" => Reason::Duplicate,
            _ => {
                let supported = [
                    "FieldValueRequired",
                    "FieldValueInvalid",
                    "FieldValueForbidden",
                    "FieldValueDuplicate",
                ];
                let at = child(self.at, "reason");
                self.errors.push(FieldError::not_supported(at, text, supported));
                Reason::default()
            }
        }
    }

    /// `.a.b['c.d']` as `a.b[c.d]`, if the schema has it.
    fn field_path(&mut self) -> String {
        let Some(text) = self.text("fieldPath") else { return String::new() };
        match self.walk(&text) {
            Some(path) => path,
            None => {
                let why =
                    "fieldPath must be a path of fields that the schema has, as .a.b or .a['b']";
                self.refuse("fieldPath", &text, why);
                String::new()
            }
        }
    }

    fn walk(&self, text: &str) -> Option<String> {
        let mut node = self.context.node;
        let mut path = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let name;
            if let Some(quoted) = rest.strip_prefix("['") {
                let (inner, after) = quoted.split_once("']")?;
                (name, rest) = (inner, after);
            } else {
                let plain = rest.strip_prefix('.')?;
                let end = plain.find(['.', '[']).unwrap_or(plain.len());
                (name, rest) = plain.split_at(end);
            }
            if name.is_empty() {
                return None;
            }
            match &self.context.schema.nodes[node.0 as usize].shape {
                Shape::Struct(shape) => {
                    node = shape.fields.get(name)?.node;
                    path = child(&path, name);
                }
                Shape::Map { value, .. } => {
                    node = *value;
                    path = crate::error::key(&path, name);
                }
                _ => return None,
            }
        }
        (!path.is_empty()).then_some(path)
    }
}
