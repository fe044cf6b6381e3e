//! Who is who: the UID of kube-system is a cluster's identity, and only one member may have it (RULES 4.8). Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Which member is which cluster; of two that are the same, the one that was made first.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// By uid: when the member was made, and its name.
    members: BTreeMap<String, BTreeSet<(String, String)>>,
    uids: BTreeMap<String, String>,
}

impl Identities {
    /// A member says who its cluster is; refused with the name of the member that is it already.
    pub(crate) fn claim(&mut self, uid: &str, created: &str, name: &str) -> Result<(), String> {
        if self.uids.get(name).is_none_or(|it| it != uid) {
            self.release(name);
            self.uids.insert(name.to_owned(), uid.to_owned());
        }
        let same = self.members.entry(uid.to_owned()).or_default();
        same.insert((created.to_owned(), name.to_owned()));
        match same.first() {
            Some((_, first)) if first != name => Err(first.clone()),
            _ => Ok(()),
        }
    }

    /// A member is gone.
    pub(crate) fn release(&mut self, name: &str) {
        let Some(uid) = self.uids.remove(name) else { return };
        if let Some(same) = self.members.get_mut(&uid) {
            same.retain(|(_, it)| it != name);
            if same.is_empty() {
                self.members.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_8_the_first_of_two_members_that_are_one_cluster_is_the_member() {
        let mut identities = Identities::default();
        assert_eq!(identities.claim("u", "2026-02", "late"), Ok(()));
        assert_eq!(identities.claim("u", "2026-01", "early"), Ok(()));
        assert_eq!(identities.claim("u", "2026-02", "late"), Err("early".to_owned()));
        assert_eq!(identities.claim("v", "2026-03", "other"), Ok(()));
        identities.release("early");
        assert_eq!(identities.claim("u", "2026-02", "late"), Ok(()));
    }

    #[test]
    fn a_member_that_became_another_cluster_frees_its_old_identity() {
        let mut identities = Identities::default();
        assert_eq!(identities.claim("u", "1", "a"), Ok(()));
        assert_eq!(identities.claim("v", "1", "a"), Ok(()));
        assert_eq!(identities.claim("u", "2", "b"), Ok(()));
    }
}
