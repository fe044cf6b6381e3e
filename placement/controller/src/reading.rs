//! How templates of custom kinds are read: the StatusRules, and what they make of the templates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    names::{Gvk, ObjectKey},
    status_rule::StatusRule,
};
use placement_engine::Workload;
use serde_json::Value;
use status_rules::{Compiled, Rules, Standing};

use crate::index::{Index, Template};

/// The rules that hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// By name.
    pub(crate) objects: BTreeMap<String, Arc<StatusRule>>,
    compiled: BTreeMap<String, Arc<Compiled>>,
    pub(crate) rules: Arc<Rules>,
    /// How each rule stands.
    pub(crate) standings: BTreeMap<String, Standing>,
    /// Statuses of rules may have changed.
    pub(crate) changed: bool,
    /// Templates that were read by rules that hold no more.
    outdated: BTreeSet<ObjectKey>,
}

impl Index {
    /// A rule as a watch delivers it. Templates of its kind are read anew, and decided anew.
    pub fn set_status_rule(&mut self, name: &str, rule: Option<StatusRule>) {
        let new = rule.map(Arc::new);
        let reading = &mut self.reading;
        let old = match &new {
            Some(new) => reading.objects.insert(name.to_owned(), Arc::clone(new)),
            None => reading.objects.remove(name),
        };
        reading.changed = true;
        if old.as_ref().map(|it| &it.spec) == new.as_ref().map(|it| &it.spec) {
            return;
        }
        match &new {
            Some(new) => {
                let compiled = Arc::new(Compiled::new(name, new.spec.clone()));
                reading.compiled.insert(name.to_owned(), compiled);
            }
            None => drop(reading.compiled.remove(name)),
        }
        let all = reading.compiled.iter().map(|(name, it)| (name.as_str(), &**it));
        let (rules, standings) = Rules::of(all);
        reading.rules = Arc::new(rules);
        reading.standings = standings;
        let kinds: BTreeSet<Gvk> = old.iter().chain(&new).map(|it| it.spec.kind()).collect();
        let keys: Vec<ObjectKey> =
            self.templates.keys().filter(|it| kinds.contains(&it.gvk)).cloned().collect();
        for key in keys {
            // What the rule changes is an edit of somebody's, and no change of a cluster.
            self.decided.remove(&key);
            self.dirty.insert(key.clone());
            self.reading.outdated.insert(key);
        }
    }

    /// Reads a template anew if its rule has changed since: each by its own pass, so that others get their turn.
    pub(crate) fn refresh(&mut self, key: &ObjectKey) {
        if !self.reading.outdated.remove(key) {
            return;
        }
        let Some(old) = self.templates.get(key) else { return };
        let Ok(content) = serde_json::from_str::<Value>(&old.content) else { return };
        let mut workload = Workload::read(&content, &self.reading.rules);
        workload.remember(&old.workload);
        let template = Template { workload, ..(**old).clone() };
        self.templates.insert(key.clone(), Arc::new(template));
        // It may be one more, or one less, that the rule cannot be evaluated on.
        self.reading.changed = true;
    }
}
