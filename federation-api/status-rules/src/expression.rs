//! One expression of a rule.

use federation_schema::cel::{Budget, CelValue, Fault, Program, json, plain};
use federation_types::validate::Problem;
use serde_json::{Map, Value};

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

/// What an expression is to yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yields {
    Truth,
    Text,
    Number,
    Object,
    List,
}

impl Yields {
    fn holds(self, value: &CelValue) -> bool {
        match self {
            Self::Truth => matches!(value, CelValue::Bool(_)),
            Self::Text => matches!(value, CelValue::String(_)),
            Self::Number => matches!(value, CelValue::Int(_) | CelValue::UInt(_)),
            Self::Object => matches!(value, CelValue::Map(_)),
            Self::List => matches!(value, CelValue::List(_)),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Truth => "true or false",
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Object => "an object",
            Self::List => "a list",
        }
    }
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
    /// Compiles the text of a field. What yields something else than it should on an object of which nothing is known
    /// does so on every one, and so does what takes too long there.
    pub(crate) fn compile(
        field: &'static str,
        text: &str,
        yields: Yields,
    ) -> Result<Self, Problem> {
        let invalid = |why: String| Problem {
            field: field.to_owned(),
            message: format!("Invalid value: {text:?}: {why}"),
        };
        let program = Program::compile_anywhere(text, &[VARIABLE])
            .map_err(|error| invalid(error.to_string()))?;
        let expression = Self { field, program };
        match expression.evaluate(&mut Subject::new(&Value::Object(Map::new()))) {
            Err(fault @ Fault::Cost) => Err(invalid(fault.to_string())),
            Err(_) => Ok(expression),
            Ok(value) if yields.holds(&value) => Ok(expression),
            Ok(value) => {
                Err(invalid(format!("yields {}, not {}", value.type_of(), yields.words())))
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
