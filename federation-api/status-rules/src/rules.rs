//! All rules that hold.

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    names::Gvk,
    status_rule::{StatusRuleSpec, is_native},
    validate::Problem,
};

use crate::{
    built_in::{built_in_rule, built_in_spec},
    rule::{Rule, completed},
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

/// A user's rule with what it was compiled from, so that it is compiled once.
#[derive(Clone, Debug)]
pub struct Compiled {
    spec: StatusRuleSpec,
    rule: Result<Arc<Rule>, Vec<Problem>>,
}

impl Compiled {
    /// Compiles a rule; what it leaves out comes from the one that is built in.
    pub fn new(name: &str, spec: StatusRuleSpec) -> Self {
        let whole = built_in_spec(&spec.kind()).map(|it| completed(&spec, it));
        let rule = Rule::compile(&format!("StatusRule {name}"), whole.as_ref().unwrap_or(&spec));
        Self { spec, rule: rule.map(Arc::new) }
    }

    /// What it was compiled from.
    pub fn spec(&self) -> &StatusRuleSpec {
        &self.spec
    }
}

impl Rules {
    /// The rules of users by their names, in the order of these: of several about one kind the first one holds. Says how
    /// each of them stands.
    pub fn of<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a Compiled)>,
    ) -> (Self, BTreeMap<String, Standing>) {
        let mut all = Self::default();
        let mut names: BTreeMap<Gvk, &str> = BTreeMap::new();
        let mut standings = BTreeMap::new();
        for (name, compiled) in rules {
            let kind = compiled.spec.kind();
            let standing = match (&compiled.rule, names.get(&kind)) {
                (_, Some(by)) => Standing::Shadowed { by: (*by).to_owned() },
                (Err(problems), None) => Standing::Invalid(problems.clone()),
                (Ok(rule), None) => {
                    all.own.insert(kind.clone(), Arc::clone(rule));
                    names.insert(kind, name);
                    Standing::Active
                }
            };
            standings.insert(name.to_owned(), standing);
        }
        (all, standings)
    }

    /// The same of rules that are read once.
    pub fn new<'a>(
        specs: impl IntoIterator<Item = (&'a str, &'a StatusRuleSpec)>,
    ) -> (Self, BTreeMap<String, Standing>) {
        let compiled: Vec<(&str, Compiled)> = specs
            .into_iter()
            .map(|(name, spec)| (name, Compiled::new(name, spec.clone())))
            .collect();
        Self::of(compiled.iter().map(|(name, it)| (*name, it)))
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
