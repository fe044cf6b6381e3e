//! Label selectors, from their string form (`app in (a,b),!c`) and from LabelSelector objects.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::{SelectorError, parser};
use crate::{error::go_quote, name};

/// How a [`Requirement`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    NotEquals,
    Exists,
    DoesNotExist,
    Greater,
    Less,
}

/// One condition of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

/// All of its requirements must hold; without any, everything is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
}

impl Requirement {
    /// Checked for the values its operator takes and for valid keys and values.
    pub fn new(
        key: &str,
        operator: Operator,
        values: BTreeSet<String>,
    ) -> Result<Self, SelectorError> {
        let mut errors = Vec::new();
        let bad = name::qualified(key);
        if !bad.is_empty() {
            errors.push(format!("key: Invalid value: {}: {}", go_quote(key), bad.join("; ")));
        }
        let shown = || {
            let all: Vec<String> = values.iter().map(|v| go_quote(v)).collect();
            format!("[{}]", all.join(","))
        };
        let detail = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::NotEquals if values.len() != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Some("values set must be empty for exists and does not exist")
            }
            Operator::Greater | Operator::Less if values.len() != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        };
        if let Some(detail) = detail {
            errors.push(format!("values: Invalid value: {}: {detail}", shown()));
        }
        for (i, value) in values.iter().enumerate() {
            if matches!(operator, Operator::Greater | Operator::Less)
                && value.parse::<i64>().is_err()
            {
                errors.push(format!(
                    "values[{i}]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                    go_quote(value)
                ));
            }
            let bad = name::label_value(value);
            if !bad.is_empty() {
                errors.push(format!(
                    "values[{i}][{key}]: Invalid value: {}: {}",
                    go_quote(value),
                    bad.join("; ")
                ));
            }
        }
        match errors.len() {
            0 => Ok(Self { key: key.to_owned(), operator, values }),
            1 => Err(SelectorError(errors.remove(0))),
            _ => Err(SelectorError(format!("[{}]", errors.join(", ")))),
        }
    }

    /// Whether it holds for the label's value.
    pub fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In | Operator::Equals => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn | Operator::NotEquals => {
                !value.is_some_and(|v| self.values.contains(v))
            }
            Operator::Greater | Operator::Less => {
                let number = |t: &str| t.parse::<i64>().ok();
                let (Some(have), Some(want)) =
                    (value.and_then(number), self.values.first().and_then(|v| number(v)))
                else {
                    return false;
                };
                if self.operator == Operator::Greater { have > want } else { have < want }
            }
        }
    }
}

impl LabelSelector {
    /// From its string form.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text).map_err(SelectorError)
    }

    /// From a LabelSelector object: `{matchLabels, matchExpressions}`.
    ///
    /// An object without conditions selects everything; where no object at all means nothing, the caller knows it.
    pub fn from_object(object: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let mut errors = Vec::new();
        let none = serde_json::Map::new();
        let labels = object.get("matchLabels").and_then(Value::as_object).unwrap_or(&none);
        for (key, value) in labels {
            let values = BTreeSet::from([value.as_str().unwrap_or_default().to_owned()]);
            match Requirement::new(key, Operator::Equals, values) {
                Ok(requirement) => requirements.push(requirement),
                Err(e) => errors.push(e.0),
            }
        }
        let expressions = object.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text =
                |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    errors.push(format!(
                        "{} is not a valid label selector operator",
                        go_quote(other)
                    ));
                    continue;
                }
            };
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            match Requirement::new(text("key"), operator, values) {
                Ok(requirement) => requirements.push(requirement),
                Err(e) => errors.push(e.0),
            }
        }
        match errors.into_iter().next() {
            Some(error) => Err(SelectorError(error)),
            None => {
                requirements.sort_by(|a, b| a.key.cmp(&b.key));
                Ok(Self { requirements })
            }
        }
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects what carries these labels; `label` looks one up.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    /// Whether it selects this object, by its `metadata.labels`.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|m| m.get("labels"));
        self.matches(|key| labels?.get(key)?.as_str())
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let values = r.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match r.operator {
                Operator::Exists => write!(f, "{}", r.key)?,
                Operator::DoesNotExist => write!(f, "!{}", r.key)?,
                Operator::Equals => write!(f, "{}={values}", r.key)?,
                Operator::NotEquals => write!(f, "{}!={values}", r.key)?,
                Operator::Greater => write!(f, "{}>{values}", r.key)?,
                Operator::Less => write!(f, "{}<{values}", r.key)?,
                Operator::In => write!(f, "{} in ({values})", r.key)?,
                Operator::NotIn => write!(f, "{} notin ({values})", r.key)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_operator_selects() {
        let object = json!({"metadata": {"labels": {"app": "web", "n": "5"}}});
        for (text, want) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (a, web)", true),
            ("app notin (a,web)", false),
            ("other in ()", false),
            ("n>4,n<6", true),
            ("n > 5", false),
            ("app>1", false),
            ("app=web,!x,n in (5)", true),
            ("in in (x)", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_object(&object), want, "{text}");
        }
    }

    #[test]
    fn bad_selectors_name_the_word() {
        for (text, want) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a,", "found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().0, want, "{text}");
        }
        assert!(LabelSelector::parse("a=b c").is_err());
        assert!(LabelSelector::parse("n>x").is_err());
        assert!(LabelSelector::parse(&format!("a={}", "x".repeat(64))).is_err());
    }

    #[test]
    fn an_object_is_read_and_shown() {
        let selector = LabelSelector::from_object(&json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["y", "x"]},
                {"key": "c", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "a in (x,y),b=1,!c");
        assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        assert_eq!(
            LabelSelector::from_object(&bad).unwrap_err().0,
            "\"Is\" is not a valid label selector operator"
        );
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
        assert!(LabelSelector::from_object(&bad).is_err());
    }
}
