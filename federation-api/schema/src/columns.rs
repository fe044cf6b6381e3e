//! What a table shows of an object: the columns of built-in kinds as Kubernetes prints them, and those that a CRD
//! declares.

use jiff::Timestamp;
use serde_json::Value;

use crate::{catalogue::Gvk, jsonpath::JsonPath};

mod builtin;
mod cells;
mod custom;
mod human;
mod pod;
mod storage;
mod traffic;

pub use human::{age, human_duration};

/// The head of a column, as in `meta.k8s.io/v1 Table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name` for the column that names the object.
    pub format: String,
    pub description: String,
    /// 0 is always shown, more with `-o wide`.
    pub priority: i64,
}

impl Column {
    /// The JSON of a `TableColumnDefinition`.
    pub fn to_json(&self) -> Value {
        serde_json::json!({"name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority})
    }
}

/// Why a CRD's column cannot be printed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("additionalPrinterColumns[{index}].{field}: {problem}")]
pub struct ColumnError {
    pub index: usize,
    pub field: &'static str,
    pub problem: String,
}

/// Makes the rows of one kind.
#[derive(Debug)]
pub struct Printer {
    columns: Vec<Column>,
    cells: Vec<CellOf>,
}

/// Where a cell comes from.
#[derive(Debug)]
enum CellOf {
    Builtin(builtin::Cell),
    Path(JsonPath),
}

impl Printer {
    /// Of a built-in kind; kinds without columns of their own get the name and the time of creation.
    pub fn builtin(gvk: &Gvk) -> Self {
        let (columns, cells) = builtin::columns(gvk)
            .iter()
            .map(|column| (column.head(), CellOf::Builtin(column.cell)))
            .unzip();
        Self { columns, cells }
    }

    /// Of a custom kind, from the `additionalPrinterColumns` of its version: without any, its age.
    pub fn custom(columns: &[Value]) -> Result<Self, ColumnError> {
        custom::printer(columns)
    }

    /// The heads of the columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The cells of an object's row, one per column.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let pairs = self.columns.iter().zip(&self.cells);
        pairs
            .map(|(column, cell)| match cell {
                CellOf::Builtin(cell) => cell.of(object, now),
                CellOf::Path(path) => custom::cell(&column.kind, path, object, now),
            })
            .collect()
    }
}

/// The cells of a built-in kind's object.
pub fn cells(gvk: &Gvk, object: &Value, now: Timestamp) -> Vec<Value> {
    Printer::builtin(gvk).cells(object, now)
}

#[cfg(test)]
mod tests;
