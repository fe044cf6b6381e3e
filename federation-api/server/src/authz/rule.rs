//! One RBAC rule: what it allows, and whether other rules cover it.

use serde_json::Value;

/// What somebody wants to do, without who. Names of resources are plural; a subresource stands apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// Empty for a whole collection.
    pub name: &'a str,
    /// Set when the request is for a path that is no resource; then the four above are empty.
    pub path: Option<&'a str>,
}

/// A rule of a Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    pub paths: Vec<String>,
}

impl Rule {
    /// Reads a rule as it stands in a role. What has the wrong type allows nothing.
    pub fn from_value(value: &Value) -> Self {
        let list = |field: &str| {
            value[field]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            paths: list("nonResourceURLs"),
        }
    }

    /// Whether this rule allows the action.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        if !has(&self.verbs, action.verb) {
            return false;
        }
        if let Some(path) = action.path {
            return self.paths.iter().any(|pattern| path_matches(pattern, path));
        }
        has(&self.groups, action.group)
            && self
                .resources
                .iter()
                .any(|wanted| resource_matches(wanted, action.resource, action.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == action.name))
    }

    /// Whether `held` together allow all that this rule allows.
    pub fn covered_by(&self, held: &[Self]) -> bool {
        let resources_covered = || {
            all(&self.verbs, |verb| {
                all(&self.groups, |group| {
                    all(&self.resources, |resource| {
                        let names: Vec<Option<&String>> = if self.names.is_empty() {
                            vec![None]
                        } else {
                            self.names.iter().map(Some).collect()
                        };
                        names.into_iter().all(|name| {
                            held.iter().any(|rule| rule.holds(verb, group, resource, name))
                        })
                    })
                })
            })
        };
        let paths_covered = || {
            all(&self.verbs, |verb| {
                all(&self.paths, |path| {
                    held.iter().any(|rule| {
                        has(&rule.verbs, verb)
                            && rule.paths.iter().any(|pattern| path_matches(pattern, path))
                    })
                })
            })
        };
        resources_covered() && paths_covered()
    }

    fn holds(&self, verb: &str, group: &str, resource: &str, name: Option<&String>) -> bool {
        let (kind, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        has(&self.verbs, verb)
            && has(&self.groups, group)
            && self.resources.iter().any(|held| resource_matches(held, kind, subresource))
            && (self.names.is_empty() || name.is_some_and(|name| self.names.contains(name)))
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

fn all(list: &[String], mut holds: impl FnMut(&String) -> bool) -> bool {
    list.iter().all(&mut holds)
}

/// `*`, `pods`, `pods/log` or `*/log`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((kind, sub)) => {
            !subresource.is_empty() && sub == subresource && (kind == "*" || kind == resource)
        }
    }
}

/// A path, or one with a `*` at its end for all that begin so.
fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        verbs: &[&str],
        groups: &[&str],
        resources: &[&str],
        names: &[&str],
        paths: &[&str],
    ) -> Rule {
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        Rule {
            verbs: own(verbs),
            groups: own(groups),
            resources: own(resources),
            names: own(names),
            paths: own(paths),
        }
    }

    #[test]
    fn resources_verbs_groups_and_names() {
        let pods = rule(&["get", "list"], &[""], &["pods", "pods/log", "*/scale"], &[], &[]);
        let one = rule(&["get"], &[""], &["configmaps"], &["settings"], &[]);
        let all = rule(&["*"], &["*"], &["*"], &[], &[]);
        let cases: &[(&Rule, [&str; 5], bool)] = &[
            (&pods, ["get", "", "pods", "", "a"], true),
            (&pods, ["list", "", "pods", "", ""], true),
            (&pods, ["delete", "", "pods", "", "a"], false),
            (&pods, ["get", "apps", "pods", "", "a"], false),
            (&pods, ["get", "", "pods", "log", "a"], true),
            (&pods, ["get", "", "pods", "exec", "a"], false),
            (&pods, ["get", "", "things", "scale", "a"], true),
            (&pods, ["get", "", "things", "", "a"], false),
            (&one, ["get", "", "configmaps", "", "settings"], true),
            (&one, ["get", "", "configmaps", "", "other"], false),
            (&one, ["get", "", "configmaps", "", ""], false),
            (&all, ["anything", "x.y", "z", "status", ""], true),
        ];
        for (rule, [verb, group, resource, subresource, name], allowed) in cases {
            let action = Action { verb, group, resource, subresource, name, path: None };
            assert_eq!(rule.allows(&action), *allowed, "{rule:?} {action:?}");
        }
        // All resources are no paths.
        assert!(!all.allows(&Action { verb: "get", path: Some("/metrics"), ..Action::default() }));
    }

    #[test]
    fn paths() {
        let rule = rule(&["get"], &[], &[], &[], &["/healthz", "/readyz/*"]);
        for (verb, path, allowed) in [
            ("get", "/healthz", true),
            ("get", "/healthz/", false),
            ("get", "/readyz/store", true),
            ("get", "/readyz", false),
            ("post", "/healthz", false),
        ] {
            let action = Action { verb, path: Some(path), ..Action::default() };
            assert_eq!(rule.allows(&action), allowed, "{verb} {path}");
        }
    }

    #[test]
    fn covering_needs_every_part_to_be_held() {
        let held = [
            rule(&["get", "list"], &[""], &["pods", "secrets"], &[], &[]),
            rule(&["*"], &["apps"], &["deployments", "*/scale"], &[], &[]),
            rule(&["update"], &[""], &["configmaps"], &["a", "b"], &[]),
            rule(&["get"], &[], &[], &[], &["/logs/*"]),
        ];
        let cases = [
            (rule(&["get"], &[""], &["pods"], &[], &[]), true),
            (rule(&["get"], &[""], &["pods"], &["x"], &[]), true),
            (rule(&["get", "list"], &[""], &["pods", "secrets"], &[], &[]), true),
            (rule(&["get", "watch"], &[""], &["pods"], &[], &[]), false),
            (rule(&["*"], &[""], &["pods"], &[], &[]), false),
            (rule(&["*"], &["apps"], &["deployments"], &[], &[]), true),
            (rule(&["*"], &["apps"], &["deployments/scale"], &[], &[]), true),
            (rule(&["get"], &["apps"], &["*"], &[], &[]), false),
            (rule(&["get"], &["*"], &["deployments"], &[], &[]), false),
            (rule(&["update"], &[""], &["configmaps"], &["a"], &[]), true),
            (rule(&["update"], &[""], &["configmaps"], &["a", "c"], &[]), false),
            (rule(&["update"], &[""], &["configmaps"], &[], &[]), false),
            (rule(&["get"], &[], &[], &[], &["/logs/x"]), true),
            (rule(&["get"], &[], &[], &[], &["/logs/*"]), true),
            (rule(&["get"], &[], &[], &[], &["*"]), false),
        ];
        for (wanted, covered) in cases {
            assert_eq!(wanted.covered_by(&held), covered, "{wanted:?}");
        }
    }
}
