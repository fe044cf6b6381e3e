//! All rules that hold.

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    names::Gvk,
    status_rule::{StatusRuleSpec, is_native},
    validate::Problem,
};

use crate::{
    built_in::{built_in_rule, built_in_spec},
    rule::{Rule, completed, target},
};

/// Whether a rule of a user is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    /// Another rule, whose name sorts first, is about the same kind.
    Shadowed {
        by: String,
    },
    /// It cannot be followed.
    Invalid(Vec<Problem>),
}

/// The rules of users, over those that are built in.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    own: BTreeMap<Gvk, Arc<Rule>>,
}

impl Rules {
    /// The rules of users by their names, in the order of these: of several about one kind the first one holds. Says how
    /// each of them stands.
    pub fn new<'a>(
        specs: impl IntoIterator<Item = (&'a str, &'a StatusRuleSpec)>,
    ) -> (Self, BTreeMap<String, Standing>) {
        let mut rules = Self::default();
        let mut names: BTreeMap<Gvk, &str> = BTreeMap::new();
        let mut standings = BTreeMap::new();
        for (name, spec) in specs {
            let kind = target(spec);
            if let Some(by) = names.get(&kind) {
                let by = (*by).to_owned();
                standings.insert(name.to_owned(), Standing::Shadowed { by });
                continue;
            }
            let own = built_in_spec(&kind).map(|it| completed(spec, it));
            let title = format!("StatusRule {name}");
            let standing = match Rule::compile(&title, own.as_ref().unwrap_or(spec)) {
                Ok(rule) => {
                    rules.own.insert(kind.clone(), Arc::new(rule));
                    names.insert(kind, name);
                    Standing::Active
                }
                Err(problems) => Standing::Invalid(problems),
            };
            standings.insert(name.to_owned(), standing);
        }
        (rules, standings)
    }

    /// The rule for a kind, in whatever version; none for kinds of Kubernetes itself, and for those that nobody has said
    /// anything of.
    pub fn find(&self, gvk: &Gvk) -> Option<&Rule> {
        if is_native(&gvk.group, &gvk.kind) {
            return None;
        }
        let kind = Gvk::unversioned(&gvk.group, &gvk.kind);
        match self.own.get(&kind) {
            Some(rule) => Some(rule),
            None => built_in_rule(&kind),
        }
    }

    /// The kinds that rules of users are about.
    pub fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.own.keys()
    }
}

#[cfg(test)]
mod tests;
