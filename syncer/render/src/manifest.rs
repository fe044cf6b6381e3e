//! One object rendered for one member: revision, overrides, replicas and our marks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use federation_types::{
    field_path::FieldPath,
    names::{COPY_OF_ANNOTATION, MANAGED_LABEL, ObjectKey, REVISION_ANNOTATION},
    placement::{PlacedCluster, PlacementSpec},
    revision::NamedRule,
    selector::ClusterFacts,
};
use serde_json::{Map, Value, json};

use crate::{
    bounds::Bounds,
    marks::{self, Asked, RevisionMark},
    overrides::{self, Evaluate, Problem},
    revision, spot,
};

/// What goes into a manifest.
#[derive(Clone, Debug)]
pub struct Rendering<'a> {
    pub hub: &'a str,
    pub key: &'a ObjectKey,
    pub template_uid: &'a str,
    /// `Revision.spec.hash`
    pub revision: &'a str,
    /// The template's generation when the revision was made.
    pub generation: i64,
    pub content: &'a Value,
    pub rules: &'a [NamedRule],
    /// Which of the rules are about the cluster, from [`overrides::matching`].
    pub matching: &'a [usize],
    pub replicas: ReplicasOf,
    /// Where a custom kind has its replicas; none: at `spec.replicas`.
    pub replicas_path: Option<&'a FieldPath>,
    /// The provider on whose spot nodes the copy is to run.
    pub spot: Option<&'a str>,
    /// The Placement that asks for the copy.
    pub asked: Option<&'a Asked>,
}

/// What is said of replicas in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReplicasOf {
    /// As the content says.
    #[default]
    Content,
    /// So many in this cluster, counted from an ordinal if it is a part of a StatefulSet.
    Set { count: i64, ordinals: Option<i64> },
    /// A share of a Job's parallelism, and its completions in proportion: `before` is what the clusters ahead of this one
    /// hold and `total` what all hold, so that the completions of all add up.
    Share { count: i64, before: i64, total: i64 },
    /// What the object bounds is divided, and its numbers with it.
    Bounds(Bounds),
    /// Nothing: another manager in the member owns them (RULES 4.5).
    Released { ordinals: Option<i64> },
}

impl ReplicasOf {
    /// For a cluster of a Placement.
    pub fn of(placement: &PlacementSpec, cluster: &str, kind: &str) -> Self {
        let placed = placement.clusters.iter().find(|it| it.name == cluster);
        if let Some(bounds) = Bounds::of(placement, cluster) {
            return Self::Bounds(bounds);
        }
        let Some(count) = placed.and_then(|it| it.replicas) else { return Self::Content };
        if kind != "Job" {
            return Self::Set { count, ordinals: placed.and_then(|it| it.ordinals_start) };
        }
        if !placement.divided {
            return Self::Content;
        }
        let share = |it: &PlacedCluster| it.replicas.unwrap_or(0);
        let ahead = placement.clusters.iter().take_while(|it| it.name != cluster);
        let total = placement.clusters.iter().map(share).sum();
        Self::Share { count, before: ahead.map(share).sum(), total }
    }

    /// The same where another manager in the member owns the replicas.
    pub fn released(self) -> Self {
        match self {
            Self::Set { ordinals, .. } => Self::Released { ordinals },
            Self::Content => Self::Released { ordinals: None },
            other => other,
        }
    }
}

/// What is sent to a member. Equal input gives equal bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub key: ObjectKey,
    pub mark: RevisionMark,
    pub object: Value,
}

impl Manifest {
    /// The object as JSON.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.object).expect("a JSON value serialises")
    }
}

/// Why no manifest could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderProblem {
    #[error(transparent)]
    Override(#[from] Problem),
    #[error("the revision holds no object with metadata")]
    NoObject,
    #[error("{0}: what is above it is no object, and holds no replicas")]
    NoReplicas(FieldPath),
}

/// Renders for a cluster; rules are matched first.
pub fn render_for(
    rendering: Rendering<'_>,
    cluster: &ClusterFacts,
    evaluate: Option<Evaluate<'_>>,
) -> Result<Manifest, RenderProblem> {
    let matching = overrides::matching(rendering.rules, cluster, evaluate)?;
    render(&Rendering { matching: &matching, ..rendering })
}

/// Renders with the rules that match. The result depends on nothing else, so clusters with the same rules and replicas
/// share it.
pub fn render(rendering: &Rendering<'_>) -> Result<Manifest, RenderProblem> {
    let mut object = rendering.content.clone();
    for at in rendering.matching {
        if let Some(rule) = rendering.rules.get(*at) {
            overrides::apply(&mut object, rule)?;
        }
    }
    match rendering.replicas_path {
        None => replicas(&mut object, &rendering.replicas),
        Some(path) => replicas_at(&mut object, path, &rendering.replicas)?,
    }
    if let Some(provider) = rendering.spot {
        spot::pin(&mut object, provider);
    }
    secret_text(&mut object);

    let key = rendering.key;
    let copy_of = marks::copy_of(rendering.hub, key, rendering.template_uid);
    set_metadata(&mut object, "labels", MANAGED_LABEL, "true").ok_or(RenderProblem::NoObject)?;
    set_metadata(&mut object, "annotations", COPY_OF_ANNOTATION, &copy_of)
        .ok_or(RenderProblem::NoObject)?;
    let mark = RevisionMark {
        revision: rendering.revision.to_owned(),
        generation: rendering.generation,
        digest: revision::digest(&object),
        asked: rendering.asked.cloned(),
    };
    set_metadata(&mut object, "annotations", REVISION_ANNOTATION, &mark.to_string())
        .ok_or(RenderProblem::NoObject)?;
    Ok(Manifest { key: key.clone(), mark, object })
}

fn replicas(object: &mut Value, replicas: &ReplicasOf) {
    if let ReplicasOf::Bounds(bounds) = replicas {
        return bounds.divide(object);
    }
    let scalable = revision::is_scalable(object);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match replicas {
        ReplicasOf::Content | ReplicasOf::Bounds(_) => (),
        ReplicasOf::Set { count, ordinals: start } => {
            spec.insert("replicas".to_owned(), json!(count));
            ordinals(spec, *start);
        }
        ReplicasOf::Released { ordinals: start } => {
            if scalable {
                spec.remove("replicas");
            }
            ordinals(spec, *start);
        }
        ReplicasOf::Share { count, before, total } => {
            let completions = spec.get("completions").and_then(Value::as_i64);
            if let Some(completions) = completions.filter(|_| *total > 0) {
                let until = |share: i64| completions.saturating_mul(share) / total;
                spec.insert(
                    "completions".to_owned(),
                    json!(until(before + count) - until(*before)),
                );
            }
            spec.insert("parallelism".to_owned(), json!(count));
        }
    }
}

/// The replicas of a custom kind, where its rule says they are.
fn replicas_at(
    object: &mut Value,
    path: &FieldPath,
    replicas: &ReplicasOf,
) -> Result<(), RenderProblem> {
    match replicas {
        ReplicasOf::Set { count, .. } | ReplicasOf::Share { count, .. } => {
            let written = path.set(object, json!(count));
            written.then_some(()).ok_or_else(|| RenderProblem::NoReplicas(path.clone()))
        }
        ReplicasOf::Released { .. } => {
            path.remove(object);
            Ok(())
        }
        ReplicasOf::Content | ReplicasOf::Bounds(_) => Ok(()),
    }
}

/// Pods of a divided StatefulSet are numbered from where their cluster's part begins: no two have one name.
fn ordinals(spec: &mut Map<String, Value>, start: Option<i64>) {
    if let Some(start) = start {
        spec.insert("ordinals".to_owned(), json!({"start": start}));
    }
}

/// `stringData` can be written and never read back: as `data` it can be compared.
fn secret_text(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) != Some("Secret")
        || object.get("apiVersion").and_then(Value::as_str) != Some("v1")
    {
        return;
    }
    let Some(secret) = object.as_object_mut() else { return };
    let Some(Value::Object(text)) = secret.remove("stringData") else { return };
    let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Some(data) = data.as_object_mut() {
        for (name, value) in text {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            data.insert(name, Value::String(encoded));
        }
    }
}

fn set_metadata(object: &mut Value, field: &str, name: &str, value: &str) -> Option<()> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let entries = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if entries.is_null() {
        *entries = Value::Object(Map::new());
    }
    entries.as_object_mut()?.insert(name.to_owned(), Value::String(value.to_owned()));
    Some(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use federation_types::names::Gvk;

    use super::*;

    fn rendered(content: &Value, replicas: ReplicasOf) -> Manifest {
        rendered_at(content, replicas, None).expect("renders")
    }

    fn rendered_at(
        content: &Value,
        replicas: ReplicasOf,
        path: Option<&FieldPath>,
    ) -> Result<Manifest, RenderProblem> {
        let text = |path: &str| {
            content.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let key = ObjectKey {
            gvk: Gvk::new(&text("/apiVersion"), &text("/kind")),
            namespace: text("/metadata/namespace").into(),
            name: text("/metadata/name").into(),
        };
        let rendering = Rendering {
            hub: "hub",
            key: &key,
            template_uid: "uid",
            revision: "9f3c",
            generation: 3,
            content,
            rules: &[],
            matching: &[],
            replicas,
            replicas_path: path,
            spot: None,
            asked: None,
        };
        render(&rendering)
    }

    fn set(count: i64) -> ReplicasOf {
        ReplicasOf::Set { count, ordinals: None }
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 5, "template": {"metadata": {"labels": {"app": "web"}}}},
        })
    }

    #[test]
    fn rule_4_2_our_marks_are_on_the_object_only_and_never_on_pod_templates() {
        let manifest = rendered(&deployment(), set(2));
        let text = serde_json::to_string_pretty(&manifest.object).expect("serialises");
        expect![[r#"
            {
              "apiVersion": "apps/v1",
              "kind": "Deployment",
              "metadata": {
                "annotations": {
                  "archipel.dev/copy-of": "hub/apps/Deployment/shop/web/uid",
                  "archipel.dev/revision": "9f3c/3/cafb923c1b0e82c3"
                },
                "labels": {
                  "archipel.dev/managed": "true"
                },
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "replicas": 2,
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  }
                }
              }
            }"#]]
        .assert_eq(&text);
    }

    #[test]
    fn equal_input_gives_equal_bytes_and_replicas_count() {
        let one = rendered(&deployment(), set(2));
        assert_eq!(one.bytes(), rendered(&deployment(), set(2)).bytes());
        let two = rendered(&deployment(), set(3));
        assert_ne!(one.mark.digest, two.mark.digest);
        let released = rendered(&deployment(), ReplicasOf::Released { ordinals: None });
        assert_eq!(released.object["spec"].get("replicas"), None);
    }

    #[test]
    fn replicas_of_a_custom_kind_are_written_where_its_rule_says() {
        let engine = |spec: &Value| json!({"apiVersion": "example.org/v1", "kind": "Engine", "metadata": {"name": "e"}, "spec": spec});
        let path = FieldPath::parse(".spec.pool.size").expect("a path");
        let spec = |content: &Value, replicas| {
            rendered_at(content, replicas, Some(&path)).map(|it| it.object["spec"].clone())
        };
        let stated = engine(&json!({"pool": {"size": 9, "cpu": 1}}));
        assert_eq!(spec(&stated, set(2)), Ok(json!({"pool": {"size": 2, "cpu": 1}})));
        assert_eq!(spec(&engine(&json!({})), set(2)), Ok(json!({"pool": {"size": 2}})));
        let released = ReplicasOf::Released { ordinals: None };
        assert_eq!(spec(&stated, released), Ok(json!({"pool": {"cpu": 1}})));
        let wrong = engine(&json!({"pool": "large"}));
        assert_eq!(spec(&wrong, set(2)), Err(RenderProblem::NoReplicas(path.clone())));
    }

    #[test]
    fn a_divided_job_gets_its_share_and_the_completions_of_all_add_up() {
        let placement = |divided: bool| PlacementSpec {
            divided,
            clusters: [("a", 3), ("b", 2), ("c", 2)]
                .map(|(name, replicas)| PlacedCluster {
                    name: name.into(),
                    replicas: Some(replicas),
                    ..PlacedCluster::default()
                })
                .to_vec(),
            ..PlacementSpec::default()
        };
        let job = |spec: &Value, cluster: &str| {
            let content = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec});
            let replicas = ReplicasOf::of(&placement(true), cluster, "Job");
            rendered(&content, replicas).object["spec"].clone()
        };
        assert_eq!(job(&json!({"parallelism": 7}), "b"), json!({"parallelism": 2}));
        let counted = json!({"parallelism": 7, "completions": 10});
        let shares = ["a", "b", "c"].map(|it| job(&counted, it)["completions"].as_i64());
        assert_eq!(shares, [Some(4), Some(3), Some(3)]);
        assert_eq!(ReplicasOf::of(&placement(false), "a", "Job"), ReplicasOf::Content);
        assert_eq!(ReplicasOf::of(&placement(false), "a", "Deployment"), set(3));
    }

    #[test]
    fn rule_3_4_a_part_of_a_stateful_set_counts_from_its_own_ordinal() {
        let content = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {"replicas": 5, "serviceName": "db"},
        });
        let placement = PlacementSpec {
            divided: true,
            clusters: [("a", 3, 0), ("b", 2, 3)]
                .map(|(name, replicas, start)| PlacedCluster {
                    name: name.into(),
                    replicas: Some(replicas),
                    ordinals_start: Some(start),
                    ..PlacedCluster::default()
                })
                .to_vec(),
            ..PlacementSpec::default()
        };
        let of = |cluster: &str| ReplicasOf::of(&placement, cluster, "StatefulSet");
        let spec = |replicas| rendered(&content, replicas).object["spec"].clone();
        let b = json!({"replicas": 2, "serviceName": "db", "ordinals": {"start": 3}});
        assert_eq!(spec(of("b")), b);
        assert_eq!(spec(of("a"))["ordinals"], json!({"start": 0}));
        // An autoscaler takes the replicas and never the numbers.
        let released = json!({"serviceName": "db", "ordinals": {"start": 3}});
        assert_eq!(spec(of("b").released()), released);
    }

    #[test]
    fn a_secrets_text_is_sent_as_data() {
        let content = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "MQ=="}, "stringData": {"b": "2"},
        });
        let object = rendered(&content, ReplicasOf::Content).object;
        assert_eq!(object["data"], json!({"a": "MQ==", "b": "Mg=="}));
        assert_eq!(object.get("stringData"), None);
    }
}
