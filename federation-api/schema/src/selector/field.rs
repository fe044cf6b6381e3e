//! Field selectors: `metadata.name=a,status.phase!=Running`.

use super::SelectorError;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    pub value: String,
    /// `!=`.
    pub negated: bool,
}

/// All of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// From its string form. Which fields a kind supports is for the caller to say.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let mut terms = split(text);
        terms.sort_unstable();
        for term in terms.into_iter().filter(|t| !t.is_empty()) {
            // The operator is the first "!=", "==" or "="; the longer one where two begin at the same place.
            let operator = term.char_indices().find_map(|(at, _)| {
                ["!=", "==", "="]
                    .into_iter()
                    .find(|op| term[at..].starts_with(op))
                    .map(|op| (at, op))
            });
            let Some((at, operator)) = operator else {
                return Err(SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            requirements.push(FieldRequirement {
                field: term[..at].to_owned(),
                value: unescape(&term[at + operator.len()..])?,
                negated: operator == "!=",
            });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects an object whose fields `field` looks up; an absent field counts as empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements
            .iter()
            .all(|r| (field(&r.field).unwrap_or_default() == r.value) != r.negated)
    }

    /// The value that `field` must have, if it must have one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.field == field && !r.negated).map(|r| r.value.as_str())
    }
}

/// At commas that no backslash precedes.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(SelectorError(format!("invalid escape sequence: \\{c}"))),
                None => return Err(SelectorError("invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read() {
        let selector =
            FieldSelector::parse(r"status.phase!=Running,metadata.name=a\,b\=c\\").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some(r"a,b=c\"));
        let look = |name: &str, phase: &str| {
            let (name, phase) = (name.to_owned(), phase.to_owned());
            selector.matches(move |field| match field {
                "metadata.name" => Some(name.clone()),
                "status.phase" if !phase.is_empty() => Some(phase.clone()),
                _ => None,
            })
        };
        assert!(look(r"a,b=c\", "Pending"));
        assert!(look(r"a,b=c\", ""));
        assert!(!look(r"a,b=c\", "Running"));
        assert!(!look("a", "Pending"));
        assert!(FieldSelector::parse("").unwrap().is_empty());
    }

    #[test]
    fn bad_terms_are_named() {
        assert_eq!(
            FieldSelector::parse("metadata.name").unwrap_err().0,
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
        );
        assert!(FieldSelector::parse("a=b=c").is_err());
        assert!(FieldSelector::parse(r"a=\x").is_err());
        assert!(FieldSelector::parse("a=\\").is_err());
    }
}
