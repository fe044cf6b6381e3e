//! Manifests that were made lately: clusters with the same rules and replicas share one.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use federation_types::{names::ObjectKey, reason::copy, selector::ClusterFacts};
use parking_lot::Mutex;
use serde_json::Value;
use syncer_render::{
    Asked, Manifest, Rendering,
    manifest::ReplicasOf,
    overrides::{self, Evaluate},
    render,
};

use crate::index::RevisionEntry;

/// A manifest and its bytes.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) manifest: Manifest,
    pub(crate) bytes: Vec<u8>,
}

/// Evaluates the CEL expressions of override selectors; the composition root has one.
pub type Evaluator = Arc<dyn Fn(&str, &ClusterFacts) -> Result<bool, String> + Send + Sync>;

#[derive(PartialEq, Eq, Hash)]
struct RenderKey {
    key: Arc<ObjectKey>,
    template: String,
    revision: String,
    matching: Vec<usize>,
    replicas: ReplicasOf,
    /// The provider on whose spot nodes it is to run.
    spot: Option<String>,
    asked: Asked,
}

/// What a Placement says of a copy beside its revision.
pub(crate) struct How<'a> {
    /// The template's uid.
    pub(crate) template: &'a str,
    pub(crate) replicas: ReplicasOf,
    pub(crate) spot: bool,
    pub(crate) asked: Asked,
}

type ContentKey = (Arc<ObjectKey>, String);

pub(crate) struct Renders {
    hub: String,
    evaluate: Option<Evaluator>,
    contents: Mutex<Recent<ContentKey, Arc<Value>>>,
    manifests: Mutex<Recent<RenderKey, Arc<Rendered>>>,
}

/// What cannot be rendered: a reason and a message for the copy's report.
pub(crate) type RenderFailure = (&'static str, String);

impl Renders {
    pub(crate) fn new(hub: String, evaluate: Option<Evaluator>) -> Self {
        let (contents, manifests) = (Mutex::new(Recent::new(256)), Mutex::new(Recent::new(1024)));
        Self { hub, evaluate, contents, manifests }
    }

    pub(crate) fn render(
        &self,
        key: &Arc<ObjectKey>,
        revision: &RevisionEntry,
        cluster: &ClusterFacts,
        how: How<'_>,
    ) -> Result<Arc<Rendered>, RenderFailure> {
        let failed = |message: String| (copy::RENDER_FAILED, message);
        let evaluate = self.evaluate.as_deref().map(|it| it as Evaluate<'_>);
        let matching = overrides::matching(&revision.rules, cluster, evaluate)
            .map_err(|error| failed(error.to_string()))?;
        let id = RenderKey {
            key: Arc::clone(key),
            template: how.template.to_owned(),
            revision: revision.hash.clone(),
            matching,
            replicas: how.replicas,
            spot: how.spot.then(|| cluster.provider.clone()),
            asked: how.asked,
        };
        if let Some(found) = self.manifests.lock().get(&id) {
            return Ok(found);
        }
        let content = self.content(key, revision).map_err(failed)?;
        let manifest = render(&Rendering {
            hub: &self.hub,
            key,
            template_uid: how.template,
            revision: &revision.hash,
            generation: revision.generation,
            content: &content,
            rules: &revision.rules,
            matching: &id.matching,
            replicas: id.replicas.clone(),
            replicas_path: revision.replicas_path.as_ref(),
            spot: id.spot.as_deref(),
            asked: Some(&id.asked),
        })
        .map_err(|error| failed(error.to_string()))?;
        let bytes = manifest.bytes();
        let rendered = Arc::new(Rendered { manifest, bytes });
        self.manifests.lock().put(id, Arc::clone(&rendered));
        Ok(rendered)
    }

    fn content(
        &self,
        key: &Arc<ObjectKey>,
        revision: &RevisionEntry,
    ) -> Result<Arc<Value>, String> {
        let id = (Arc::clone(key), revision.hash.clone());
        if let Some(found) = self.contents.lock().get(&id) {
            return Ok(found);
        }
        let content: Value = serde_json::from_str(revision.content.get())
            .map_err(|error| format!("the revision's content: {error}"))?;
        let content = Arc::new(content);
        self.contents.lock().put(id, Arc::clone(&content));
        Ok(content)
    }
}

/// The last so many entries or twice as many: what was not asked for during a generation goes.
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    fn new(generation: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut recent = Recent::new(2);
        recent.put("a", 1);
        for name in ["b", "c", "d", "e"] {
            recent.put(name, 0);
            assert_eq!(recent.get(&"a"), Some(1));
        }
        assert_eq!(recent.get(&"b"), None);
        assert!(recent.young.len() + recent.old.len() <= 4);
    }
}
