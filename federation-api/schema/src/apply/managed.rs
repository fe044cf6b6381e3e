//! `metadata.managedFields`: who owns what, and since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    fieldset::FieldSet,
    schema::Ty,
    walk::{is_outdated, reconcile},
};
use crate::error::go_quote;

/// The updates that are remembered one by one; older ones share an entry.
const MOST_UPDATERS: usize = 10;

/// What tells one entry from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ManagerId {
    pub(crate) manager: String,
    pub(crate) applied: bool,
    /// Empty for appliers: they own what they applied in whatever version they did.
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl ManagerId {
    /// As conflicts name it.
    pub(crate) fn show(&self) -> String {
        let mut text = go_quote(&self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", go_quote(&self.subresource)));
        }
        if !self.applied {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) set: FieldSet,
    pub(crate) api_version: String,
    pub(crate) time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Managed {
    pub(crate) entries: BTreeMap<ManagerId, Entry>,
}

impl Managed {
    /// Reads `metadata.managedFields`.
    pub(crate) fn decode(list: &Value) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for (at, entry) in list.as_array().into_iter().flatten().enumerate() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let applied = match text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = text("apiVersion").to_owned();
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
                other => {
                    return Err(format!(
                        "invalid fieldsType {} in managed fields entry {at}",
                        go_quote(other)
                    ));
                }
            }
            let id = ManagerId {
                manager: text("manager").to_owned(),
                applied,
                api_version: if applied { String::new() } else { api_version.clone() },
                subresource: text("subresource").to_owned(),
            };
            let set = entry.get("fieldsV1").map(FieldSet::parse).transpose()?.unwrap_or_default();
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            entries.insert(id, Entry { set, api_version, time });
        }
        Ok(Self { entries })
    }

    /// The list to store: updates after applies of the same time, the oldest first.
    pub(crate) fn encode(&self) -> Option<Value> {
        let mut list: Vec<(&ManagerId, &Entry)> = self.entries.iter().collect();
        list.sort_by(|(a, x), (b, y)| {
            let key = |id: &ManagerId| id.applied;
            key(b)
                .cmp(&key(a))
                .then_with(|| x.time.cmp(&y.time))
                .then_with(|| a.manager.cmp(&b.manager))
                .then_with(|| x.api_version.cmp(&y.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        let encoded: Vec<Value> =
            list.into_iter().map(|(id, entry)| encode_entry(id, entry)).collect();
        (!encoded.is_empty()).then_some(Value::Array(encoded))
    }

    /// The same without times, to see whether a write changed anything.
    pub(crate) fn same_ownership(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self
                .entries
                .iter()
                .zip(&other.entries)
                .all(|((a, x), (b, y))| a == b && x.set == y.set && x.api_version == y.api_version)
    }

    pub(crate) fn reconcile(&mut self, ty: &Ty) {
        for entry in self.entries.values_mut().filter(|it| is_outdated(&it.set, ty)) {
            entry.set = reconcile(&entry.set, ty);
        }
    }

    pub(crate) fn drop_empty(&mut self) {
        self.entries.retain(|_, entry| !entry.set.is_empty());
    }

    /// Merges the oldest updates into one entry per version until there are few enough.
    pub(crate) fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, ManagerId)> = self
            .entries
            .iter()
            .filter(|(id, _)| !id.applied)
            .map(|(id, entry)| (entry.time.clone(), id.clone()))
            .collect();
        let mut left = updaters.len();
        updaters.sort();
        let mut first_of: BTreeMap<String, ManagerId> = BTreeMap::new();
        for (_, id) in updaters {
            if left <= MOST_UPDATERS {
                return;
            }
            let Some(entry) = self.entries.get(&id).cloned() else { continue };
            let Some(first) = first_of.get(&entry.api_version) else {
                first_of.insert(entry.api_version.clone(), id);
                continue;
            };
            let bucket = ManagerId {
                manager: "ancient-changes".to_owned(),
                applied: false,
                api_version: entry.api_version.clone(),
                subresource: String::new(),
            };
            if !self.entries.contains_key(&bucket)
                && let Some(oldest) = self.entries.remove(first)
            {
                self.entries.insert(bucket.clone(), oldest);
            }
            if id == bucket {
                continue;
            }
            self.entries.remove(&id);
            if let Some(ancient) = self.entries.get_mut(&bucket) {
                ancient.set = ancient.set.union(&entry.set);
                ancient.time = entry.time;
            }
            left -= 1;
        }
    }
}

fn encode_entry(id: &ManagerId, entry: &Entry) -> Value {
    let mut out = Map::new();
    let mut put = |field: &str, value: &str| {
        if !value.is_empty() {
            out.insert(field.to_owned(), value.into());
        }
    };
    put("manager", &id.manager);
    put("operation", if id.applied { "Apply" } else { "Update" });
    put("apiVersion", &entry.api_version);
    put("time", entry.time.as_deref().unwrap_or_default());
    put("fieldsType", "FieldsV1");
    put("subresource", &id.subresource);
    out.insert("fieldsV1".to_owned(), entry.set.to_fields());
    Value::Object(out)
}

/// What `managedFields` of a request says.
pub(crate) fn is_reset(list: Option<&Value>) -> bool {
    match list.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.is_empty(),
        _ => false,
    }
}
