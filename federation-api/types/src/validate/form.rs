//! The form of single words: names, labels, patterns, quantities, dates. What is not of it can match nothing, so it is
//! a slip of the pen, and is refused where it stands.

use super::{Check, moment, spend::days};
use crate::cluster::PROVIDERS;

/// What can be asked of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The key of a label, an annotation or a taint: `tier`, `example.com/tier`.
    Key,
    /// The value of a label or a taint; may be empty.
    LabelValue,
    /// The name of an object in general; the name of a managed service, a charge, a jurisdiction, a region.
    Word,
    /// The name of one of our own objects, or of a namespace.
    Name,
    /// The same with `*` for any run of characters.
    NamePattern,
    /// A word with `*` for any run of characters.
    Pattern,
    /// `eks`, `gke`, `aks` or `onprem`.
    Provider,
}

impl Form {
    fn holds(self, text: &str) -> bool {
        match self {
            Self::Key => is_key(text),
            Self::LabelValue => text.is_empty() || is_label(text),
            Self::Word => is_word(text) && !text.contains('*'),
            Self::Name => is_name(text),
            Self::NamePattern => {
                text.contains('*') && text.bytes().all(|it| it == b'*' || in_name(it))
                    || is_name(text)
            }
            Self::Pattern => is_word(text),
            Self::Provider => PROVIDERS.contains(&text),
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Key => {
                "must be a key such as tier or example.com/tier: letters, digits, -, _ and ., at most 63 of them"
            }
            Self::LabelValue => "must be letters, digits, -, _ and ., at most 63 of them",
            Self::Word => "must be a word without spaces; * is no wildcard here",
            Self::Name => "must be a name: lower-case letters, digits, - and .",
            Self::NamePattern => {
                "must be a name: lower-case letters, digits, - and ., with * for any run of them"
            }
            Self::Pattern => "must be a word without spaces, with * for any run of characters",
            Self::Provider => "must be eks, gke, aks or onprem",
        }
    }
}

impl Check<'_> {
    /// Whether a word is of its form; if not, that is a problem.
    pub(super) fn form(&mut self, field: &str, text: &str, form: Form) -> bool {
        let holds = form.holds(text);
        if !holds {
            self.invalid(field, format!("{text:?}"), form.rule());
        }
        holds
    }

    /// Every word of a list.
    pub(super) fn forms<'a>(
        &mut self,
        field: &str,
        texts: impl IntoIterator<Item = &'a String>,
        form: Form,
    ) {
        for (at, text) in texts.into_iter().enumerate() {
            self.form(&format!("{field}[{at}]"), text, form);
        }
    }

    /// A word that may be left out.
    pub(super) fn form_if_any(&mut self, field: &str, text: &str, form: Form) {
        if !text.is_empty() {
            self.form(field, text, form);
        }
    }

    /// A day, or a time in UTC.
    pub(super) fn date(&mut self, field: &str, text: &str) {
        let day = text.len() == 10 && days(text).is_some();
        if !day && moment(text).is_none() {
            let rule =
                "must be a date such as 2026-11-21, or a time in UTC such as 2026-11-21T12:00:00Z";
            self.invalid(field, format!("{text:?}"), rule);
        }
    }
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

fn is_name(text: &str) -> bool {
    let end = |it: Option<&u8>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let bytes = text.as_bytes();
    text.len() <= 253 && end(bytes.first()) && end(bytes.last()) && text.bytes().all(in_name)
}

fn is_label(text: &str) -> bool {
    let inside = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    let end = |it: Option<&u8>| it.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63 && end(bytes.first()) && end(bytes.last()) && text.bytes().all(inside)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_name(domain) && is_label(name),
        None => is_label(text),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|it| it.is_whitespace() || it.is_control())
}

/// `v1`, `v1beta2`
fn is_version(text: &str) -> bool {
    let number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let Some(rest) = text.strip_prefix('v') else { return false };
    ["alpha", "beta"]
        .iter()
        .find_map(|it| rest.split_once(it))
        .map_or_else(|| number(rest), |(major, minor)| number(major) && number(minor))
}

/// `v1`, `apps/v1`
pub(super) fn is_api_version(text: &str) -> bool {
    match text.split_once('/') {
        Some((group, version)) => is_name(group) && is_version(version),
        None => is_version(text),
    }
}

/// `Deployment`
pub(super) fn is_kind(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_uppercase())
        && text.bytes().all(|it| it.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_slips() {
        let check = |form: Form, good: &[&str], bad: &[&str]| {
            for it in good {
                assert!(form.holds(it), "{form:?} {it:?}");
            }
            for it in bad {
                assert!(!form.holds(it), "{form:?} {it:?}");
            }
        };
        let long = "a".repeat(64);
        check(
            Form::Key,
            &["zone", "topology.kubernetes.io/zone", "Tier_2"],
            &["a b", "", "/a", "a/", "a/b/c", "-a", "A.b/ c", "Ex.com/a", &long],
        );
        check(Form::LabelValue, &["", "web", "A.b-c_1"], &["a b", "ä", "a/b", &long]);
        check(Form::Name, &["shop", "a.b-c"], &["", "Shop", "a_b", "-a", "a-", "*"]);
        check(Form::NamePattern, &["shop", "team-*", "*"], &["", "Team-*", "a b*"]);
        check(Form::Pattern, &["eu-*", "us east".split(' ').next().unwrap()], &["", "eu *"]);
        check(Form::Word, &["aws/dynamodb", "system:node"], &["", "web-*", "a\tb"]);
        check(Form::Provider, &["eks", "onprem"], &["aws", "EKS", ""]);
        assert!(is_api_version("v1") && is_api_version("example.com/v1beta2"));
        assert!(!is_api_version("apps") && !is_api_version("apps/") && !is_api_version("apps/1"));
        assert!(
            is_kind("HorizontalPodAutoscaler") && !is_kind("deployments") && !is_kind("De ploy")
        );
    }
}
