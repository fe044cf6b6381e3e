//! The columns that a CRD declares.

use jiff::Timestamp;
use serde_json::Value;

use super::{CellOf, Column, ColumnError, Printer, builtin::Cell, human};
use crate::jsonpath::JsonPath;

pub(super) fn printer(columns: &[Value]) -> Result<Printer, ColumnError> {
    let name = Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: "The name of the object.".to_owned(),
        priority: 0,
    };
    let mut printer = Printer { columns: vec![name], cells: vec![CellOf::Builtin(Cell::Name)] };
    if columns.is_empty() {
        let age = Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: "How long ago the object was created.".to_owned(),
            priority: 0,
        };
        printer.columns.push(age);
        printer.cells.push(CellOf::Builtin(Cell::Age));
    }
    for (index, column) in columns.iter().enumerate() {
        let wrong = |field, problem: &dyn ToString| ColumnError {
            index,
            field,
            problem: problem.to_string(),
        };
        let text = |key: &str| column[key].as_str().unwrap_or_default().to_owned();
        let path = text("jsonPath");
        printer
            .cells
            .push(CellOf::Path(path.parse::<JsonPath>().map_err(|e| wrong("jsonPath", &e))?));
        let kind = text("type");
        if !matches!(kind.as_str(), "string" | "integer" | "number" | "boolean" | "date") {
            return Err(wrong(
                "type",
                &format!("{kind:?} is none of string, integer, number, boolean, date"),
            ));
        }
        if text("name").is_empty() {
            return Err(wrong("name", &"is missing"));
        }
        printer.columns.push(Column {
            name: text("name"),
            kind,
            format: text("format"),
            description: if text("description").is_empty() {
                format!("What stands at {path}.")
            } else {
                text("description")
            },
            priority: column["priority"].as_i64().unwrap_or(0),
        });
    }
    Ok(printer)
}

/// The first value at the path, if it is of the column's type.
pub(super) fn cell(kind: &str, path: &JsonPath, object: &Value, now: Timestamp) -> Value {
    let Some(value) = path.find(object).into_iter().next() else { return Value::Null };
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.as_str().into(),
        // Lists and maps are shown as JSON.
        ("string", value) => value.to_string().into(),
        ("integer", Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|f| f as i64));
            whole.map_or(Value::Null, Into::into)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(_)) => human::age(value, now).into(),
        _ => Value::Null,
    }
}
