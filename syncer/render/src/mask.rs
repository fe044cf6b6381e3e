//! Takes the values of a Secret out of what is said about it (RULES 2.4).
//!
//! A member words its refusals itself, and its admission hooks may quote what they refuse.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use federation_types::names::Gvk;
use serde_json::Value;

/// What stands where a value stood.
pub const MASKED: &str = "***";

/// A line of a value is looked for by itself if it has so many characters: shorter ones stand in any text.
const LINE: usize = 8;

/// Whether objects of the kind are spoken of without their values.
pub fn is_secret(gvk: &Gvk) -> bool {
    gvk.group.is_empty() && gvk.kind == "Secret"
}

/// The message without any value of `data` and `stringData`, be it plain, in base64, quoted, or line by line.
pub fn mask(message: &str, secret: &Value) -> String {
    let mut words: Vec<String> = words(secret).into_iter().collect();
    // What holds another one goes first.
    words.sort_by_key(|it| std::cmp::Reverse(it.len()));
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for word in &words {
        let found = message.match_indices(word.as_str());
        spans.extend(found.map(|(at, it)| (at, at + it.len())));
    }
    spans.sort_unstable();
    let mut masked = String::with_capacity(message.len());
    let mut done = 0;
    for (start, end) in spans {
        if end <= done {
            continue;
        }
        if start >= done {
            masked.push_str(&message[done..start]);
            masked.push_str(MASKED);
        }
        done = end;
    }
    masked.push_str(&message[done..]);
    masked
}

/// Every form in which a value may be quoted.
fn words(secret: &Value) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let values = |field: &str| {
        let values = secret.get(field).and_then(Value::as_object);
        values.into_iter().flat_map(|it| it.values()).filter_map(Value::as_str)
    };
    for encoded in values("data") {
        words.insert(encoded.to_owned());
        if let Ok(bytes) = STANDARD.decode(encoded) {
            plain(&String::from_utf8_lossy(&bytes), &mut words);
        }
    }
    for text in values("stringData") {
        words.insert(STANDARD.encode(text));
        plain(text, &mut words);
    }
    words.remove("");
    words
}

fn plain(text: &str, words: &mut BTreeSet<String>) {
    let quoted = Value::from(text).to_string();
    words.insert(quoted[1..quoted.len() - 1].to_owned());
    let lines = text.lines().map(str::trim).filter(|it| it.chars().count() >= LINE);
    words.extend(lines.map(str::to_owned));
    words.insert(text.trim().to_owned());
    words.insert(text.to_owned());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rule_2_4_a_secrets_values_are_masked_in_every_form() {
        let secret = json!({
            "data": {"password": "aHVudGVyMg==", "empty": ""},
            "stringData": {"token": "s3cret\"x", "key": "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----\n"},
        });
        let masked = |message: &str| mask(message, &secret);
        assert_eq!(masked("denied: hunter2 is weak"), "denied: *** is weak");
        assert_eq!(masked("data[password]: \"aHVudGVyMg==\""), "data[password]: \"***\"");
        assert_eq!(masked("value s3cret\"x"), "value ***");
        assert_eq!(masked(r#"value "s3cret\"x""#), r#"value "***""#);
        assert_eq!(masked(&STANDARD.encode("s3cret\"x")), "***");
        assert_eq!(masked("line MIIEvQIBADAN here"), "line *** here");
        assert_eq!(masked("the field is immutable"), "the field is immutable");
    }

    #[test]
    fn values_that_hold_each_other_leave_nothing_behind() {
        let secret = json!({"stringData": {"a": "abc", "b": "abcdef", "c": "efgh"}});
        assert_eq!(mask("<abcdefgh>", &secret), "<***>");
        assert_eq!(mask("<abcdef> <abc>", &secret), "<***> <***>");
        assert_eq!(mask("äöü abc ß", &secret), "äöü *** ß");
    }
}
