//! Names: which strings may name an object, a label, a value, with the messages that users know.

/// Which names the objects of a kind may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameRule {
    /// Most kinds, and every custom one.
    #[default]
    Subdomain,
    /// Namespace.
    Label,
    /// Service.
    Dns1035,
    /// RBAC, APIService and others whose names are only a part of a URL's path.
    PathSegment,
}

impl NameRule {
    /// What is wrong with `name`; `prefix` when it is a generateName, to which a suffix will be added.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        // A suffix follows, so a trailing dash does not stay trailing.
        let masked = if prefix && name.len() > 1 && name.ends_with('-') {
            format!("{}a", &name[..name.len() - 1])
        } else {
            name.to_owned()
        };
        match self {
            Self::Subdomain => dns1123_subdomain(&masked),
            Self::Label => dns1123_label(&masked),
            Self::Dns1035 => dns1035_label(&masked),
            Self::PathSegment => path_segment(name, prefix),
        }
    }

    /// The rule of a built-in kind.
    pub fn of(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("", "Namespace") => Self::Label,
            ("", "Service") => Self::Dns1035,
            ("rbac.authorization.k8s.io", _)
            | ("apiregistration.k8s.io", "APIService")
            | ("certificates.k8s.io", "ClusterTrustBundle") => Self::PathSegment,
            _ => Self::Subdomain,
        }
    }
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && lower(b[0])
        && lower(b[b.len() - 1])
        && b.iter().all(|&b| lower(b) || b == b'-')
}

/// The API says "characters" of names and "bytes" of labels, and counts bytes.
fn too_long(max: usize, unit: &str) -> String {
    format!("must be no more than {max} {unit}")
}

fn pattern(message: &str, regex: &str, examples: &[&str]) -> String {
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", shown.join(" or "))
}

/// One part of a domain name, up to 63 bytes.
pub fn dns1123_label(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(too_long(63, "characters"));
    }
    if !is_label(s) {
        if s.split('.').all(is_label) {
            // Whoever wrote a subdomain here is told what is wrong with it.
            errors.push("must not contain dots".to_owned());
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                           and must start and end with an alphanumeric character";
            errors.push(pattern(message, LABEL, &["my-name", "123-abc"]));
        }
    }
    errors
}

/// A domain name, up to 253 bytes.
pub fn dns1123_subdomain(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 253 {
        errors.push(too_long(253, "characters"));
    }
    if !s.split('.').all(is_label) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                       and must start and end with an alphanumeric character";
        errors.push(pattern(message, SUBDOMAIN, &["example.com"]));
    }
    errors
}

/// A label that starts with a letter.
pub fn dns1035_label(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(too_long(63, "characters"));
    }
    if !is_label(s) || !s.as_bytes()[0].is_ascii_lowercase() {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
                       start with an alphabetic character, and end with an alphanumeric character";
        errors.push(pattern(message, DNS1035, &["my-name", "abc-123"]));
    }
    errors
}

/// What may stand between two slashes of a URL.
pub fn path_segment(s: &str, prefix: bool) -> Vec<String> {
    if !prefix && (s == "." || s == "..") {
        return vec![format!("may not be '{s}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|bad| s.contains(bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

fn is_qualified(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// The key of a label or an annotation: `name` or `prefix/name`.
pub fn qualified(s: &str) -> Vec<String> {
    let message = "must consist of alphanumeric characters, '-', '_' or '.', \
                   and must start and end with an alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let name = match s.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(
                    dns1123_subdomain(prefix).into_iter().map(|m| {
                        format!("prefix part {}", m.replace("253 characters", "253 bytes"))
                    }),
                );
            }
            name
        }
        _ => {
            let message = "a valid label key ".to_owned() + message;
            return vec![
                pattern(&message, QUALIFIED, &examples)
                    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long(63, "bytes")));
    }
    if !is_qualified(name) {
        errors.push(format!("name part {}", pattern(message, QUALIFIED, &examples)));
    }
    errors
}

/// The value of a label.
pub fn label_value(s: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if s.len() > 63 {
        errors.push(too_long(63, "bytes"));
    }
    if !s.is_empty() && !is_qualified(s) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                       and must start and end with an alphanumeric character";
        errors.push(pattern(message, LABEL_VALUE, &["MyValue", "my_value", "12345"]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_takes_and_refuses() {
        for good in ["a", "a-b", "a.b-c.9", "1"] {
            assert_eq!(dns1123_subdomain(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "ä"] {
            assert_eq!(dns1123_subdomain(bad).len(), 1, "{bad}");
            assert_eq!(dns1123_label(bad).len(), 1, "{bad}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(dns1035_label("1a").len(), 1);
        assert_eq!(dns1035_label("").len(), 1);
        assert_eq!(path_segment("..", false), ["may not be '..'"]);
        assert_eq!(path_segment("system:a/b", false), ["may not contain '/'"]);
        assert_eq!(path_segment("..", true), Vec::<String>::new());
        for good in ["app", "app.kubernetes.io/name", "A_b.C"] {
            assert_eq!(qualified(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "B/a"] {
            assert!(!qualified(bad).is_empty(), "{bad}");
        }
        assert_eq!(label_value(""), Vec::<String>::new());
        assert_eq!(label_value("a b").len(), 1);
    }

    #[test]
    fn a_generated_name_may_end_in_a_dash() {
        assert_eq!(NameRule::Subdomain.check("web-", true), Vec::<String>::new());
        assert_eq!(NameRule::Subdomain.check("web-", false).len(), 1);
        assert_eq!(
            NameRule::of("rbac.authorization.k8s.io", "Role").check("a:b", false),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_message_shows_an_example_and_the_pattern() {
        assert_eq!(
            dns1123_subdomain("A")[0],
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        );
    }
}
