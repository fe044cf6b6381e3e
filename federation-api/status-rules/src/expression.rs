//! One expression of a rule.

use federation_schema::cel::{Budget, CelValue, Fault, Program, json, plain};
use federation_types::validate::Problem;
use serde_json::Value;

/// The only variable that an expression has.
const VARIABLE: &str = "object";

/// A compiled expression and the field that it stands in.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) field: &'static str,
    program: Program,
}

/// An object as expressions see it, and what they may still cost on it.
pub(crate) struct Subject {
    value: CelValue,
    size: u64,
    budget: Budget,
}

/// What all expressions of a rule may cost on one object: some milliseconds.
const BUDGET: Budget = Budget(200_000);

impl Subject {
    pub(crate) fn new(object: &Value) -> Self {
        let mut size = 0;
        let value = plain(object, &mut size);
        Self { value, size, budget: BUDGET }
    }
}

impl Expression {
    /// Compiles the text of a field.
    pub(crate) fn compile(field: &'static str, text: &str) -> Result<Self, Problem> {
        match Program::compile_anywhere(text, &[VARIABLE]) {
            Ok(program) => Ok(Self { field, program }),
            Err(error) => {
                let message = format!("Invalid value: {text:?}: {error}");
                Err(Problem { field: field.to_owned(), message })
            }
        }
    }

    /// What it yields on an object.
    pub(crate) fn evaluate(&self, subject: &mut Subject) -> Result<CelValue, Fault> {
        let variables = [(VARIABLE, subject.value.clone())];
        self.program.evaluate(&variables, subject.size, &mut subject.budget)
    }

    /// The same as JSON; what has no form there is none.
    pub(crate) fn json(&self, subject: &mut Subject) -> Result<Value, Fault> {
        let value = self.evaluate(subject)?;
        Ok(json(&value).unwrap_or(Value::Null))
    }

    /// The same as true or false; a field that is not there makes it false.
    pub(crate) fn holds(&self, subject: &mut Subject) -> Result<bool, String> {
        match self.evaluate(subject) {
            Ok(CelValue::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("yields {}, not true or false", other.type_of())),
            Err(Fault::Missing(_)) => Ok(false),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The same as a text; empty where it yields none.
    pub(crate) fn text(&self, subject: &mut Subject) -> String {
        match self.evaluate(subject) {
            Ok(CelValue::String(text)) => text.to_string(),
            _ => String::new(),
        }
    }

    /// The same as a whole number; none where it yields none.
    pub(crate) fn number(&self, subject: &mut Subject) -> Option<i64> {
        match self.evaluate(subject) {
            Ok(CelValue::Int(number)) => Some(number),
            Ok(CelValue::UInt(number)) => i64::try_from(number).ok(),
            _ => None,
        }
    }
}
