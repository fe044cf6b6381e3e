//! The part of Kubernetes' JSONPath that column definitions use: fields, indices, slices, wildcards, recursive descent
//! and filters by one comparison.
//!
//! ```text
//! .spec.replicas   .status.conditions[?(@.type=="Ready")].status   .items[0]   .spec['a.b']   ..name   .list[-1]
//! ```

use std::str::FromStr;

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// Why a path was not understood.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("JSONPath {path:?}: {problem}")]
pub struct JsonPathError {
    path: String,
    problem: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Negative counts from the end.
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    /// Every value below, the value itself included.
    Descend,
    Filter {
        path: Vec<Self>,
        test: Option<(Comparison, Value)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(path: &str) -> Result<Self, JsonPathError> {
        let trimmed = path.trim();
        let inner = trimmed.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(trimmed);
        let problem = |problem| JsonPathError { path: path.to_owned(), problem };
        let mut parser = Parser { rest: inner.strip_prefix('$').unwrap_or(inner) };
        let steps = parser.steps().map_err(problem)?;
        if !parser.rest.is_empty() {
            return Err(problem("something follows that is no step"));
        }
        Ok(Self { steps })
    }
}

impl JsonPath {
    /// The values at the path; none where something on the way is missing.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        walk(&self.steps, root)
    }
}

struct Parser<'p> {
    rest: &'p str,
}

impl Parser<'_> {
    fn steps(&mut self) -> Result<Vec<Step>, &'static str> {
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                steps.push(Step::Descend);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                // A lone dot is the value itself.
                if !self.rest.is_empty() && !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else if steps.is_empty() && self.rest.starts_with(|c: char| c.is_alphanumeric()) {
                steps.push(self.name()?);
            } else {
                return Ok(steps);
            }
        }
    }

    fn name(&mut self) -> Result<Step, &'static str> {
        let mut name = String::new();
        let mut escaped = false;
        let mut length = 0;
        for c in self.rest.chars() {
            match c {
                '\\' if !escaped => escaped = true,
                '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' if !escaped => break,
                c => {
                    name.push(c);
                    escaped = false;
                }
            }
            length += c.len_utf8();
        }
        self.rest = &self.rest[length..];
        match name.as_str() {
            "" => Err("a field name is missing"),
            "*" => Ok(Step::All),
            _ => Ok(Step::Field(name)),
        }
    }

    fn bracket(&mut self) -> Result<Step, &'static str> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            self.rest = rest;
            return self.filter();
        }
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let (name, rest) = self.rest[1..].split_once(quote).ok_or("a quote is not closed")?;
            self.rest = rest.strip_prefix(']').ok_or("a bracket is not closed")?;
            return Ok(Step::Field(name.to_owned()));
        }
        let (inner, rest) = self.rest.split_once(']').ok_or("a bracket is not closed")?;
        self.rest = rest;
        let number = |text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "an index is no number"),
        };
        match inner.split_once(':') {
            _ if inner == "*" => Ok(Step::All),
            Some((from, to)) => Ok(Step::Slice(number(from)?, number(to)?)),
            None => number(inner)?.map(Step::Index).ok_or("an index is missing"),
        }
    }

    fn filter(&mut self) -> Result<Step, &'static str> {
        self.skip_spaces();
        self.rest = self.rest.strip_prefix('@').ok_or("a filter must start with @")?;
        let path = self.steps()?;
        self.skip_spaces();
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons
            .iter()
            .find_map(|(sign, c)| self.rest.strip_prefix(sign).map(|rest| (*c, rest)));
        let test = match found {
            None => None,
            Some((comparison, rest)) => {
                self.rest = rest;
                self.skip_spaces();
                Some((comparison, self.literal()?))
            }
        };
        self.skip_spaces();
        self.rest = self.rest.strip_prefix(")]").ok_or("a filter is not closed")?;
        Ok(Step::Filter { path, test })
    }

    fn literal(&mut self) -> Result<Value, &'static str> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let (text, rest) = self.rest[1..].split_once(quote).ok_or("a quote is not closed")?;
            self.rest = rest;
            return Ok(text.into());
        }
        let end = self.rest.find([')', ' ']).ok_or("a filter is not closed")?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(text)
            .map_err(|_| "a filter compares with neither text, number nor truth")
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

fn walk<'v>(steps: &[Step], root: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![root];
    for step in steps {
        found = found.into_iter().flat_map(|value| take(step, value)).collect();
    }
    found
}

fn take<'v>(step: &Step, value: &'v Value) -> Vec<&'v Value> {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            place(*index, items.len()).and_then(|at| items.get(at)).into_iter().collect()
        }
        Step::Slice(from, to) => {
            let bound = |bound: Option<i64>, missing| match bound {
                Some(index) => place(index, items.len()).unwrap_or(0).min(items.len()),
                None => missing,
            };
            let (from, to) = (bound(*from, 0), bound(*to, items.len()));
            items.get(from..to).unwrap_or_default().iter().collect()
        }
        Step::All => children(value),
        Step::Descend => {
            let mut all = vec![value];
            let mut at = 0;
            while let Some(value) = all.get(at) {
                let below = children(value);
                all.extend(below);
                at += 1;
            }
            all
        }
        Step::Filter { path, test } => {
            let passes = |item: &&Value| {
                let found = walk(path, item);
                match test {
                    None => !found.is_empty(),
                    Some((comparison, wanted)) => {
                        found.first().is_some_and(|v| compare(v, *comparison, wanted))
                    }
                }
            };
            items.iter().filter(passes).collect()
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    if index >= 0 {
        usize::try_from(index).ok()
    } else {
        length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
    }
}

fn compare(value: &Value, comparison: Comparison, wanted: &Value) -> bool {
    let order = match (value, wanted) {
        (Value::String(a), Value::String(b)) => a.partial_cmp(b),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()),
        },
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        _ => None,
    };
    match comparison {
        Comparison::Equal => order.is_some_and(|o| o.is_eq()),
        Comparison::NotEqual => !order.is_some_and(|o| o.is_eq()),
        Comparison::Less => order.is_some_and(|o| o.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
        Comparison::Greater => order.is_some_and(|o| o.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(path: &str, value: &Value) -> Vec<Value> {
        path.parse::<JsonPath>().expect(path).find(value).into_iter().cloned().collect()
    }

    #[test]
    fn paths_find_what_they_name() {
        let object = json!({"metadata": {"labels": {"app.io/name": "web"}}, "spec": {"replicas": 3, "ports": [80, 443, 8080]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "n": 2}, {"type": "Synced", "status": "False", "n": 5}]}});
        let cases = [
            (".spec.replicas", json!([3])),
            ("{.spec.replicas}", json!([3])),
            ("$.spec.replicas", json!([3])),
            (".spec.ports[0]", json!([80])),
            (".spec.ports[-1]", json!([8080])),
            (".spec.ports[1:]", json!([443, 8080])),
            (".spec.ports[:2]", json!([80, 443])),
            (".spec.ports[*]", json!([80, 443, 8080])),
            (".spec.ports[7]", json!([])),
            (".metadata.labels['app.io/name']", json!(["web"])),
            (".metadata.labels.app\\.io/name", json!(["web"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type == 'Synced')].status", json!(["False"])),
            (".status.conditions[?(@.n>3)].type", json!(["Synced"])),
            (".status.conditions[?(@.n)].n", json!([2, 5])),
            ("..status", json!([{"conditions": object["status"]["conditions"]}, "True", "False"])),
            (".nothing.here", json!([])),
        ];
        for (path, wanted) in cases {
            assert_eq!(Value::Array(find(path, &object)), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [".a[", ".a[?(@.b==1]", ".a['b]", ".a]", ".a[x]", ".a..", ".a[?(b==1)]"] {
            assert!(path.parse::<JsonPath>().is_err(), "{path}");
        }
    }
}
