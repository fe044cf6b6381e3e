//! The fields of an object, taken one by one: those that nobody took are left over, and are named.

use serde_json::{Map, Value};

use crate::{Change, Note};

/// Fields under a path, with the notes made on the way.
#[derive(Debug)]
pub(crate) struct Fields {
    object: String,
    path: String,
    left: Map<String, Value>,
    notes: Vec<Note>,
}

impl Fields {
    pub(crate) fn new(object: &str, path: &str, value: Option<&Value>) -> Self {
        let left = value.and_then(Value::as_object).cloned().unwrap_or_default();
        Self { object: object.to_owned(), path: path.to_owned(), left, notes: Vec::new() }
    }

    fn at(&self, field: &str) -> String {
        match (self.path.as_str(), field) {
            (path, "") => path.to_owned(),
            ("", field) => field.to_owned(),
            (path, field) => format!("{path}.{field}"),
        }
    }

    pub(crate) fn note(&mut self, field: &str, change: Change, why: impl Into<String>) {
        let (object, path) = (self.object.clone(), self.at(field));
        self.notes.push(Note { object, path, change, why: why.into() });
    }

    /// Takes a field; `null` is none.
    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|it| !it.is_null())
    }

    /// Takes a text; what is no text is named.
    pub(crate) fn text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text).filter(|it| !it.is_empty()),
            _ => {
                self.note(field, Change::Dropped, "must be text");
                None
            }
        }
    }

    pub(crate) fn number(&mut self, field: &str) -> Option<i64> {
        let value = self.take(field)?;
        let number = value.as_i64();
        if number.is_none() {
            self.note(field, Change::Dropped, "must be a whole number");
        }
        number
    }

    pub(crate) fn truth(&mut self, field: &str) -> bool {
        match self.take(field) {
            Some(Value::Bool(it)) => it,
            Some(_) => {
                self.note(field, Change::Dropped, "must be true or false");
                false
            }
            None => false,
        }
    }

    pub(crate) fn texts(&mut self, field: &str) -> Vec<String> {
        let Some(value) = self.take(field) else { return Vec::new() };
        let texts = serde_json::from_value(value);
        if texts.is_err() {
            self.note(field, Change::Dropped, "must be a list of texts");
        }
        texts.unwrap_or_default()
    }

    /// Takes an object; its notes come back by [`Fields::join`].
    pub(crate) fn inner(&mut self, field: &str) -> Option<Self> {
        let value = self.take(field)?;
        if !value.is_object() {
            self.note(field, Change::Dropped, "must be an object");
            return None;
        }
        Some(Self::new(&self.object, &self.at(field), Some(&value)))
    }

    /// Takes a list of objects.
    pub(crate) fn list(&mut self, field: &str) -> Vec<Self> {
        let Some(value) = self.take(field) else { return Vec::new() };
        let Value::Array(list) = value else {
            self.note(field, Change::Dropped, "must be a list");
            return Vec::new();
        };
        let path = self.at(field);
        list.iter()
            .enumerate()
            .map(|(at, it)| Self::new(&self.object, &format!("{path}[{at}]"), Some(it)))
            .collect()
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.left.get(field).is_some_and(|it| !it.is_null())
    }

    /// Leaves a field out, if it is there, and says why.
    pub(crate) fn drop(&mut self, field: &str, why: &str) {
        if self.take(field).is_some() {
            self.note(field, Change::Dropped, why);
        }
    }

    /// What was read of an inner object belongs here.
    pub(crate) fn join(&mut self, inner: Self) {
        self.notes.extend(inner.finish());
    }

    /// The notes; what nobody took is named.
    pub(crate) fn finish(mut self) -> Vec<Note> {
        let left: Vec<String> = self.left.keys().cloned().collect();
        for field in left {
            self.note(&field, Change::Dropped, "not known here");
        }
        self.notes
    }

    /// The notes, whatever is left.
    pub(crate) fn forget(self) -> Vec<Note> {
        self.notes
    }
}
