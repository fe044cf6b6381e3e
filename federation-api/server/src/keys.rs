//! Where an object stands in the store, for what reads the store beside the verbs.

/// The key of an object; the namespace of a cluster-wide one is empty.
pub(crate) fn object(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    crate::registry::key(group, resource, Some(namespace).filter(|it| !it.is_empty()), name)
}

/// The prefix of all objects of a group, whatever their kind.
pub(crate) fn group(group: &str) -> String {
    let some = crate::registry::prefix(group, "");
    some.strip_suffix('/').map_or_else(|| some.clone(), str::to_owned)
}

/// Resource, namespace (empty if it has none) and name of a key that belongs to `group`.
pub(crate) fn split<'a>(group: &str, key: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let (resource, place) = key.strip_prefix(self::group(group).as_str())?.split_once('/')?;
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    Some((resource, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_splits_into_what_it_was_made_of() {
        let key = object("apps", "deployments", "shop", "web");
        assert!(key.starts_with(&group("apps")), "{key}");
        assert_eq!(split("apps", &key), Some(("deployments", "shop", "web")));
        assert_eq!(split("app", &key), None);
        let key = object("", "namespaces", "", "shop");
        assert_eq!(split("", &key), Some(("namespaces", "", "shop")));
    }
}
