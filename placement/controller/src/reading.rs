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
use status_rules::{Rules, Standing};

use crate::index::{Index, Template};

/// The rules that hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// By name.
    pub(crate) objects: BTreeMap<String, Arc<StatusRule>>,
    pub(crate) rules: Arc<Rules>,
    /// How each rule stands.
    pub(crate) standings: BTreeMap<String, Standing>,
    /// Statuses of rules may have changed.
    pub(crate) changed: bool,
}

/// The kind that a rule is about, as templates are keyed.
pub(crate) fn target(rule: &StatusRule) -> Gvk {
    let gvk = Gvk::new(&rule.spec.target.api_version, &rule.spec.target.kind);
    Gvk::unversioned(&gvk.group, &gvk.kind)
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
        let specs = reading.objects.iter().map(|(name, it)| (name.as_str(), &it.spec));
        let (rules, standings) = Rules::new(specs);
        reading.rules = Arc::new(rules);
        reading.standings = standings;
        let kinds: BTreeSet<Gvk> = old.iter().chain(&new).map(|it| target(it)).collect();
        let keys: Vec<ObjectKey> =
            self.templates.keys().filter(|it| kinds.contains(&it.gvk)).cloned().collect();
        for key in keys {
            self.read_again(key);
        }
    }

    fn read_again(&mut self, key: ObjectKey) {
        let Some(old) = self.templates.get(&key) else { return };
        let Ok(content) = serde_json::from_str::<Value>(&old.content) else { return };
        let workload = Workload::read(&content, &self.reading.rules);
        let template = Template { workload, ..(**old).clone() };
        self.templates.insert(key.clone(), Arc::new(template));
        // What the rule changes is an edit of somebody's, and no change of a cluster.
        self.decided.remove(&key);
        self.dirty.insert(key);
    }
}
