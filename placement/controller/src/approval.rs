//! Moves that somebody has to approve (RULES 1.2, 3.4): what an approval names, and whether it is one. PURE.
//!
//! An approval is an annotation of the template, `MOVE/TIME`: the hash of this one move, and when it was approved. The
//! Placement remembers the approval that it moved by, so none is used twice; a move that has become another one since,
//! because the fleet or the policy has changed, is not approved by it.
//!
//! A move that no policy asks for, chosen by a plan for the whole fleet, says in its approval where to: `MOVE:a=2,b=3/TIME`.

use std::{collections::BTreeMap, fmt};

use federation_types::{names::short_hash, placement::PlacementSpec};
use placement_engine::{Decision, Fleet, Previous};

use crate::index::Template;

/// Which moves are approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Approvals {
    /// Those that a template's annotation names.
    #[default]
    Given,
    /// Every one: of a dry run, which shows what an approval would bring about.
    All,
}

/// The hash of one move: of which template, from where, and where to.
pub(crate) fn token(
    template: &Template,
    previous: &Previous,
    decision: &Decision,
    fleet: &Fleet,
) -> String {
    let to: Vec<_> =
        decision.clusters.iter().map(|it| (fleet.name(it.cluster), it.replicas)).collect();
    hash(template, previous, &to)
}

/// What an approval names: a move by its hash, and where to, if no policy but a plan chose that.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    hash: String,
    to: Option<BTreeMap<String, i64>>,
}

impl Token {
    /// Reads an approval, with or without its time.
    fn read(approval: &str) -> Option<Self> {
        let token = approval.split('/').next()?;
        let Some((hash, text)) = token.split_once(':') else {
            return Some(Self { hash: token.to_owned(), to: None });
        };
        let mut to = BTreeMap::new();
        for one in text.split(',') {
            let (name, n) = one.split_once('=')?;
            to.insert(name.to_owned(), n.parse().ok()?);
        }
        Some(Self { hash: hash.to_owned(), to: Some(to) })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hash)?;
        let to = self.to.iter().flatten();
        for (at, (name, n)) in to.enumerate() {
            write!(f, "{}{name}={n}", if at == 0 { ':' } else { ',' })?;
        }
        Ok(())
    }
}

/// The token of a move that was chosen: its hash, and where to.
pub(crate) fn chosen_token(
    template: &Template,
    previous: &Previous,
    to: &BTreeMap<String, i64>,
) -> String {
    let by_name: Vec<_> = to.iter().map(|(name, n)| (name.as_str(), Some(*n))).collect();
    let hash = hash(template, previous, &by_name);
    Token { hash, to: Some(to.clone()) }.to_string()
}

/// Where the template's approval says that it is to run; none if that is not about the copies that stand, or was used.
pub(crate) fn chosen(
    template: &Template,
    placed: &PlacementSpec,
    previous: &Previous,
) -> Option<BTreeMap<String, i64>> {
    if template.approved == placed.approval {
        return None;
    }
    let token = Token::read(&template.approved)?;
    let named = token.to_string();
    let to = token.to?;
    (chosen_token(template, previous, &to) == named).then_some(to)
}

/// Whether a token is that of a move that was chosen.
pub(crate) fn is_chosen(token: &str) -> bool {
    Token::read(token).is_some_and(|it| it.to.is_some())
}

fn hash(template: &Template, previous: &Previous, to: &[(&str, Option<i64>)]) -> String {
    let from: Vec<_> = previous.clusters.iter().map(|it| (it.name.as_str(), it.replicas)).collect();
    let key = &template.workload.key;
    let text = serde_json::to_vec(&(
        &key.gvk.group,
        &key.gvk.kind,
        &key.namespace,
        &key.name,
        &template.uid,
        from,
        to,
    ))
    .expect("names and numbers can be written as JSON");
    short_hash(&text)
}

/// Whether the move may be made: somebody approved it, and that approval was not used before.
pub(crate) fn is_given(
    approvals: Approvals,
    template: &Template,
    placed: &PlacementSpec,
    token: &str,
) -> bool {
    if approvals == Approvals::All {
        return true;
    }
    let named = template.approved.split('/').next().unwrap_or_default();
    named == token && template.approved != placed.approval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let check = |text: &str, to: Option<&[(&str, i64)]>| {
            let token = Token::read(&format!("{text}/2026-11-21T10:00:00Z")).unwrap();
            assert_eq!(token.to_string(), text);
            let to: Option<BTreeMap<String, i64>> =
                to.map(|it| it.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect());
            assert_eq!(token.to, to);
        };
        check("9f3c", None);
        check("9f3c:a=2,b=3", Some(&[("a", 2), ("b", 3)]));
        assert_eq!(Token::read("9f3c:a=2,b/2026"), None);
        assert!(is_chosen("9f3c:a=2") && !is_chosen("9f3c"));
    }
}
