//! Applies override rules to a content on its way into one cluster.
//!
//! A rule that cannot do what it says is a problem and never skipped: a copy that lacks its override is worse than none.

use federation_types::{
    overrides::{EnvOverride, ImageOverride, MapOverride, OverrideRule, WordsOverride},
    revision::NamedRule,
    selector::{ClusterFacts, ClusterSelector},
};
use serde_json::{Map, Value, json};

use crate::image::Image;

/// Evaluates one CEL expression of a selector against a cluster.
pub type Evaluate<'a> = &'a dyn Fn(&str, &ClusterFacts) -> Result<bool, String>;

/// Which rule does not apply, where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {path}: {why}")]
pub struct Problem {
    pub rule: String,
    pub path: String,
    pub why: String,
}

/// Which of the rules are about the cluster, in order. Expressions need an evaluator; without one they are a problem.
pub fn matching(
    rules: &[NamedRule],
    cluster: &ClusterFacts,
    evaluate: Option<Evaluate<'_>>,
) -> Result<Vec<usize>, Problem> {
    let mut matching = Vec::new();
    for (at, named) in rules.iter().enumerate() {
        let problem = |why: String| Problem {
            rule: named.from.clone(),
            path: "clusters.expressions".to_owned(),
            why,
        };
        if selects(&named.rule.clusters, cluster, evaluate).map_err(problem)? {
            matching.push(at);
        }
    }
    Ok(matching)
}

fn selects(
    selector: &ClusterSelector,
    cluster: &ClusterFacts,
    evaluate: Option<Evaluate<'_>>,
) -> Result<bool, String> {
    if !selector.matches(cluster) {
        return Ok(false);
    }
    for expression in &selector.expressions {
        let evaluate = evaluate.ok_or("expressions are not evaluated in overrides")?;
        if !evaluate(expression, cluster)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Applies one rule to a content.
pub fn apply(content: &mut Value, named: &NamedRule) -> Result<(), Problem> {
    let identity = identity(content);
    let problem = |(path, why): (String, String)| Problem { rule: named.from.clone(), path, why };
    parts(content, &named.rule).map_err(problem)?;
    if self::identity(content) != identity {
        let why = "apiVersion, kind, name and namespace cannot be overridden".to_owned();
        return Err(problem(("jsonPatch".to_owned(), why)));
    }
    Ok(())
}

type PartResult = Result<(), (String, String)>;

fn identity(content: &Value) -> [Value; 4] {
    ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"]
        .map(|it| content.pointer(it).cloned().unwrap_or_default())
}

fn parts(content: &mut Value, rule: &OverrideRule) -> PartResult {
    for (at, it) in rule.image.iter().enumerate() {
        each_container(content, &it.container, &format!("image[{at}]"), |container| {
            image(container, it)
        })?;
    }
    for (at, it) in rule.command.iter().enumerate() {
        each_container(content, &it.container, &format!("command[{at}]"), |container| {
            words(container, "command", it);
            Ok(())
        })?;
    }
    for (at, it) in rule.args.iter().enumerate() {
        each_container(content, &it.container, &format!("args[{at}]"), |container| {
            words(container, "args", it);
            Ok(())
        })?;
    }
    for (at, it) in rule.env.iter().enumerate() {
        each_container(content, &it.container, &format!("env[{at}]"), |container| {
            env(container, it);
            Ok(())
        })?;
    }
    if let Some(labels) = &rule.labels {
        map(content, "labels", labels);
    }
    if let Some(annotations) = &rule.annotations {
        map(content, "annotations", annotations);
    }
    for (at, operation) in rule.json_patch.iter().enumerate() {
        let path = || format!("jsonPatch[{at}] {}", operation.path);
        let value = serde_json::to_value([operation]).expect("an operation is plain data");
        let patch: json_patch::Patch =
            serde_json::from_value(value).map_err(|error| (path(), error.to_string()))?;
        json_patch::patch(content, &patch).map_err(|error| (path(), error.kind.to_string()))?;
    }
    Ok(())
}

/// Where a kind keeps its pod: paths below the content's root.
const POD_SPECS: [&str; 4] =
    ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/template/spec", "/spec"];

fn pod_spec(content: &mut Value) -> Option<&mut Map<String, Value>> {
    let path = POD_SPECS
        .into_iter()
        .find(|path| content.pointer(&format!("{path}/containers")).is_some_and(Value::is_array))?;
    content.pointer_mut(path)?.as_object_mut()
}

fn each_container(
    content: &mut Value,
    name: &str,
    path: &str,
    change: impl Fn(&mut Map<String, Value>) -> Result<(), String>,
) -> PartResult {
    let problem = |why: String| (path.to_owned(), why);
    let pod =
        pod_spec(content).ok_or_else(|| problem("the template has no containers".to_owned()))?;
    let mut found = false;
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let own = container.get("name").and_then(Value::as_str).unwrap_or_default();
            if name.is_empty() || own == name {
                found = true;
                change(container).map_err(problem)?;
            }
        }
    }
    if found { Ok(()) } else { Err(problem(format!("there is no container `{name}`"))) }
}

fn image(container: &mut Map<String, Value>, change: &ImageOverride) -> Result<(), String> {
    let text = container
        .get("image")
        .and_then(Value::as_str)
        .ok_or("the container has no image to change")?;
    let mut image = Image::parse(text);
    if let Some(registry) = &change.registry {
        image.registry = Some(registry.clone());
    }
    if let Some(repository) = &change.repository {
        image.repository.clone_from(repository);
    }
    if let Some(tag) = &change.tag {
        image.set_version(tag);
    }
    container.insert("image".to_owned(), json!(image.to_string()));
    Ok(())
}

fn words(container: &mut Map<String, Value>, field: &str, change: &WordsOverride) {
    let mut words: Vec<String> = match &change.set {
        Some(words) => words.clone(),
        None => container
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .filter(|it| !change.remove.contains(it))
            .collect(),
    };
    words.extend(change.add.iter().cloned());
    if words.is_empty() {
        container.remove(field);
    } else {
        container.insert(field.to_owned(), json!(words));
    }
}

fn env(container: &mut Map<String, Value>, change: &EnvOverride) {
    let name_of = |it: &Value| it.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut variables = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
    variables.retain(|it| name_of(it).is_none_or(|name| !change.remove.contains(&name)));
    for new in &change.set {
        let value = json!({"name": new.name, "value": new.value});
        match variables.iter_mut().find(|it| name_of(it).as_deref() == Some(new.name.as_str())) {
            Some(old) => *old = value,
            None => variables.push(value),
        }
    }
    if variables.is_empty() {
        container.remove("env");
    } else {
        container.insert("env".to_owned(), Value::Array(variables));
    }
}

fn map(content: &mut Value, field: &str, change: &MapOverride) {
    let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let mut entries = metadata.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    for name in &change.remove {
        entries.remove(name);
    }
    for (name, value) in &change.set {
        entries.insert(name.clone(), json!(value));
    }
    if entries.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), Value::Object(entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(rule: Value) -> NamedRule {
        NamedRule {
            from: "OverridePolicy shop/web rule 0".into(),
            rule: serde_json::from_value(rule).expect("a rule"),
        }
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"template": {"spec": {
                "initContainers": [{"name": "init", "image": "busybox:1"}],
                "containers": [{
                    "name": "web", "image": "shop/web:1", "args": ["-v", "-x"],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}],
                }],
            }}},
        })
    }

    fn applied(rule: Value) -> Result<Value, String> {
        let mut content = deployment();
        apply(&mut content, &named(rule)).map_err(|it| it.to_string())?;
        Ok(content)
    }

    #[test]
    fn images_change_part_by_part_in_every_container_or_in_one() {
        let content = applied(
            json!({"image": [{"registry": "r.example"}, {"container": "web", "tag": "2"}]}),
        )
        .expect("applies");
        let image = |path: &str| content.pointer(path).cloned().unwrap_or_default();
        assert_eq!(image("/spec/template/spec/initContainers/0/image"), "r.example/busybox:1");
        assert_eq!(image("/spec/template/spec/containers/0/image"), "r.example/shop/web:2");
    }

    #[test]
    fn words_variables_labels_and_patches_are_applied() {
        let content = applied(json!({
            "args": [{"container": "web", "remove": ["-x"], "add": ["-y"]}],
            "command": [{"container": "web", "set": ["/web"]}],
            "env": [{"container": "web", "set": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}], "remove": ["A"]}],
            "labels": {"set": {"cloud": "gke"}, "remove": ["app"]},
            "annotations": {"set": {"note": "x"}},
            "jsonPatch": [{"op": "add", "path": "/spec/minReadySeconds", "value": 5}],
        }))
        .expect("applies");
        let container = &content["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["-v", "-y"]));
        assert_eq!(container["command"], json!(["/web"]));
        assert_eq!(
            container["env"],
            json!([{"name": "B", "value": "2"}, {"name": "C", "value": "3"}])
        );
        assert_eq!(content["metadata"]["labels"], json!({"cloud": "gke"}));
        assert_eq!(content["metadata"]["annotations"], json!({"note": "x"}));
        assert_eq!(content["spec"]["minReadySeconds"], 5);
    }

    #[test]
    fn what_does_not_apply_names_the_rule_and_the_path() {
        let check = |rule: Value, parts: [&str; 2]| {
            let message = applied(rule).expect_err("a problem");
            assert!(message.starts_with("OverridePolicy shop/web rule 0: "), "{message}");
            assert!(parts.iter().all(|it| message.contains(it)), "{message}");
        };
        check(json!({"image": [{"container": "db", "tag": "2"}]}), ["image[0]", "`db`"]);
        let remove = json!({"jsonPatch": [{"op": "remove", "path": "/spec/none"}]});
        check(remove, ["jsonPatch[0]", "/spec/none"]);
        let rename =
            json!({"jsonPatch": [{"op": "replace", "path": "/metadata/name", "value": "x"}]});
        check(rename, ["jsonPatch", "name"]);
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let problem = apply(&mut map, &named(json!({"image": [{"tag": "2"}]}))).expect_err("none");
        assert_eq!(problem.why, "the template has no containers");
    }

    #[test]
    fn rules_are_chosen_by_cluster_and_expressions_only_with_an_evaluator() {
        let cluster = ClusterFacts { provider: "gke".into(), ..ClusterFacts::default() };
        let rules = [
            named(json!({"clusters": {"providers": ["eks"]}})),
            named(json!({"clusters": {"providers": ["gke"]}})),
            named(json!({})),
        ];
        assert_eq!(matching(&rules, &cluster, None), Ok(vec![1, 2]));
        let with = [named(json!({"clusters": {"expressions": ["cluster.minor >= 34"]}}))];
        assert!(matching(&with, &cluster, None).is_err());
        let no: Evaluate<'_> = &|_, _| Ok(false);
        assert_eq!(matching(&with, &cluster, Some(no)), Ok(vec![]));
    }
}
