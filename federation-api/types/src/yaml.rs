//! Writes YAML that every reader reads alike: what a reader of YAML 1.1, as kubectl is one, would take for a truth, a
//! number or a time, and is text, is quoted.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Number, Value};

/// Longer keys need a mark of their own before them.
const LONG_KEY: usize = 1_000;

/// A value as a document, fields in the order of their names.
pub fn to_string(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    match serde_json::to_value(value)? {
        Value::Object(fields) if !fields.is_empty() => object(&fields, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(&items, 0, &mut out),
        scalar => {
            leaf(&scalar, 0, &mut out);
            out.push('\n');
        }
    }
    Ok(out)
}

/// Fields one below the other; the first stands where the text stands.
fn object(fields: &Map<String, Value>, depth: usize, out: &mut String) {
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            indent(depth, out);
        }
        let name = word(key);
        let long = name.len() > LONG_KEY;
        if long {
            out.push_str("? ");
            out.push_str(&name);
            out.push('\n');
            indent(depth, out);
        } else {
            out.push_str(&name);
        }
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                indent(depth + 2, out);
                object(fields, depth + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                let depth = if long { depth + 2 } else { depth };
                indent(depth, out);
                list(items, depth, out);
            }
            value => {
                out.push(' ');
                leaf(value, depth, out);
                out.push('\n');
            }
        }
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => object(fields, depth + 2, out),
            Value::Array(items) if !items.is_empty() => list(items, depth + 2, out),
            value => {
                leaf(value, depth, out);
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
}

/// What has nothing below it, without the end of its line.
fn leaf(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Number(it) => out.push_str(&number(it)),
        Value::String(text) if is_block(text) => block(text, depth, out),
        Value::String(text) => out.push_str(&word(text)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Readers of YAML 1.1 want a point and a sign: `1.0e+21`.
fn number(it: &Number) -> String {
    let text = it.to_string();
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else { return text };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

/// Whether a text of several lines can stand as it is.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with(char::is_whitespace)
        && text.chars().all(|it| it == '\n' || it == '\t' || is_printable(it))
        && text.lines().all(|it| it.is_empty() || !it.trim().is_empty())
}

fn block(text: &str, depth: usize, out: &mut String) {
    out.push_str(match text.strip_suffix('\n') {
        None => "|-",
        Some(rest) if rest.ends_with('\n') => "|+",
        Some(_) => "|",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth + 2, out);
            out.push_str(line);
        }
    }
}

/// A text in one line: plain where every reader takes it for text.
fn word(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.chars().all(is_printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        quoted(text)
    }
}

/// With escapes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if is_printable(it) => out.push(it),
            it => {
                let code = u32::from(it);
                write!(out, "\\U{code:08x}").expect("a text takes all that is written to it");
            }
        }
    }
    out.push('"');
    out
}

/// What may stand in YAML as it is and ends no line, in either version.
fn is_printable(it: char) -> bool {
    !it.is_control()
        && !matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Texts that stand for something else, in YAML 1.1 or 1.2, in any case of letters.
const MEANT_OTHERWISE: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Whether a text can stand without quotes and is read as text: it begins with a letter, a slash or a dollar, or is an
/// option or an amount, and has nothing in it that YAML reads.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let begins = match (chars.next(), chars.next()) {
        (Some('/' | '$'), _) => true,
        // An option: a dash and a digit, or a dash and a point, might be a number.
        (Some('-'), Some(next)) => {
            next.is_ascii_alphabetic() || text.strip_prefix("--").is_some_and(begins_with_letter)
        }
        _ => begins_with_letter(text) || is_amount(text),
    };
    begins
        && !MEANT_OTHERWISE.contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(is_harmless)
        && !text.ends_with([' ', ':'])
        && ![": ", " #"].iter().any(|it| text.contains(it))
}

fn begins_with_letter(text: &str) -> bool {
    text.starts_with(char::is_alphabetic)
}

fn is_harmless(it: char) -> bool {
    it.is_alphanumeric() || " _-./:@=+,;()<>$%*?!#&|^~'\"\\[]{}`".contains(it)
}

/// `500m`, `1.5Gi`, `30s`: digits and a unit that makes no number of them.
fn is_amount(text: &str) -> bool {
    const UNITS: [&str; 20] = [
        "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "ms", "s", "h",
        "d", "cpu", "GiB",
    ];
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let mut parts = digits.split('.');
    let is_number = |it: Option<&str>| {
        it.is_none_or(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    };
    UNITS.contains(&&text[digits.len()..])
        && is_number(Some(parts.next().unwrap_or_default()))
        && is_number(parts.next())
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_reader_of_yaml_1_1_takes_for_something_else_is_quoted() {
        let other = [
            "",
            "~",
            "null",
            "Null",
            "NULL",
            "y",
            "Y",
            "n",
            "N",
            "yes",
            "Yes",
            "YES",
            "no",
            "No",
            "on",
            "On",
            "ON",
            "off",
            "OFF",
            "true",
            "True",
            "false",
            "FALSE",
            "0",
            "12",
            "-1",
            "+1",
            "1_000",
            "0o7",
            "0x1F",
            "0b11",
            "017",
            "1.5",
            "1.",
            ".5",
            "1e3",
            "1E-3",
            "1e+3",
            "6.8523015e+5",
            "-.inf",
            ".inf",
            ".Inf",
            "+.INF",
            ".nan",
            ".NaN",
            "12:30:45",
            "12:30",
            "190:20:30.15",
            "-190:20:30",
            "2026-11-21",
            "2026-11-21T12:00:00Z",
            "1.36.3",
            "<<",
            "=",
            "-",
            "--",
            "---",
            "...",
            "?",
            ":",
            "a: b",
            "a:",
            "a #b",
            "#a",
            " a",
            "a ",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'a",
            "\"a",
            "[a",
            "{a",
            ",a",
            "]",
            "}",
            "- a",
            "? a",
            "1Ei2",
            "0xm",
            "1e5m",
        ];
        for text in other {
            let written = word(text);
            assert!(written.starts_with(['\'', '"']), "{text:?} is written as {written}");
            let read: Value = serde_norway::from_str(&written).unwrap();
            assert_eq!(read, json!(text));
        }
    }

    #[test]
    fn what_every_reader_takes_for_text_stands_as_it_is() {
        let plain = [
            "web",
            "yesterday",
            "nginx:1.27",
            "registry:5000/a/b@sha256:ab",
            "/var/lib/x",
            "500m",
            "1.5Gi",
            "30s",
            "--port=80",
            "-c",
            "a b c",
            "apps/v1",
            "archipel.dev/v1alpha1",
            "cluster.region in [\"eu\"]",
            "it's",
            "a#b",
            "größe",
            "v1.36.3",
            "nano",
            "$(POD_IP)",
        ];
        for text in plain {
            assert_eq!(word(text), text);
            assert_eq!(serde_norway::from_str::<Value>(text).unwrap(), json!(text));
        }
    }

    #[test]
    fn a_document_is_read_back_as_it_was() {
        let value = json!({
            "yes": ["on", true, null, 3, 1.5, 1e21, -2.5e-9, {}, [], [[1, [2]], {"a": 1, "b": []}]],
            "data": {
                "one": "a\nb", "two": "a\nb\n", "three": "a\n\n\nb\n\n", "tab": "a:\n\tb # c\n",
                "spaces": "  a\nb", "blank": "a\n  \nb", "only": "\n", "crlf": "a\r\nb",
                "odd": "\u{1}\u{7f}\u{85}\u{2028}\u{feff}😀", "quote": "it's \"so\" \\n", "doc": "a\n---\nb\n...\n",
            },
            "items": [{"name": "x", "text": "l1\nl2\n"}, "m1\nm2"],
            "a: b": {"": "empty"},
            "k".repeat(1_200): {"deep": ["x"]},
            "l".repeat(1_200): ["x", "y"],
            "m".repeat(1_200): "z",
        });
        let text = to_string(&value).unwrap();
        assert_eq!(serde_norway::from_str::<Value>(&text).unwrap(), value, "{text}");
        for value in [json!({}), json!([]), json!("no"), json!("a\nb\n"), json!([1]), json!(null)] {
            let text = to_string(&value).unwrap();
            assert_eq!(serde_norway::from_str::<Value>(&text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"args": ["--on", "on"], "env": [{"name": "A", "value": "1"}], "selector": {}},
            "text": "a\nb\n",
        });
        let expected = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  args:\n  - --on\n  - 'on'\n  env:\n  - name: A\n    value: '1'\n  selector: {}\ntext: |\n  a\n  b\n";
        assert_eq!(to_string(&value).unwrap(), expected);
        assert_eq!(number(&Number::from_f64(1e21).unwrap()), "1.0e+21");
    }
}
