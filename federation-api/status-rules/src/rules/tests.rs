use federation_types::placement::CopyState;
use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> StatusRuleSpec {
    serde_json::from_value(value).unwrap()
}

fn engine(mut rule: Value) -> StatusRuleSpec {
    rule["target"] = json!({"apiVersion": "example.org/v1", "kind": "Engine"});
    spec(rule)
}

fn one(rule: &StatusRuleSpec) -> Rules {
    let (rules, standings) = Rules::new([("engines", rule)]);
    assert_eq!(standings["engines"], Standing::Active);
    rules
}

fn read(rule: &StatusRuleSpec, live: &Value) -> crate::Reading {
    let rules = one(rule);
    rules.find(&Gvk::new("example.org/v2", "Engine")).unwrap().read(live)
}

#[test]
fn replicas_are_read_where_the_rule_says() {
    let rules = one(&engine(json!({"replicas": {
        "path": ".spec.pool.size", "podTemplate": "object.spec.pool.pod",
        "requests": "{'cpu': object.spec.pool.cpu, 'memory': '1Gi'}"}})));
    let rule = rules.find(&Gvk::new("example.org/v1", "Engine")).unwrap();
    let template = json!({"spec": {"pool": {"size": 3, "pod": {"spec": {}}, "cpu": 2}}});
    assert_eq!(rule.replicas(&template), Ok(Some(3)));
    assert_eq!(rule.pod_template(&template), Ok(Some(json!({"spec": {}}))));
    let requests = rule.requests(&template).unwrap().unwrap();
    assert_eq!((requests["cpu"].as_str(), requests["memory"].as_str()), ("2", "1Gi"));
    // Left out it cannot be read: nothing else would tell a slip of the pen.
    let error = rule.replicas(&json!({"spec": {}})).unwrap_err().to_string();
    assert!(
        error.ends_with("there is no .spec.pool.size, and the rule states no default"),
        "{error}"
    );
    let stated = one(&engine(json!({"replicas": {"path": ".spec.size", "default": 2}})));
    let stated = stated.find(&Gvk::new("example.org/v1", "Engine")).unwrap();
    assert_eq!(stated.replicas(&json!({"spec": {}})), Ok(Some(2)));
    let error = rule.replicas(&json!({"spec": {"pool": {"size": "three"}}})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "StatusRule engines: spec.replicas.path: .spec.pool.size is no number of replicas"
    );
    let error =
        rule.replicas(&json!({"spec": {"pool": {"size": 99_999_999_999_i64}}})).unwrap_err();
    assert!(error.to_string().ends_with("is no number of replicas"));
    // What a replica takes is stated beside the pod template: without one nothing is amiss.
    assert_eq!(rule.pod_template(&json!({"spec": {"pool": {"size": 3, "cpu": 2}}})), Ok(None));
    for bad in [json!("lots"), json!(-3), json!([1])] {
        let template = json!({"spec": {"pool": {"cpu": bad}}});
        let error = rule.requests(&template).unwrap_err().to_string();
        assert!(error.ends_with("does not yield quantities by resource"), "{error}");
    }
    let error = rule.requests(&json!({"spec": {}})).unwrap_err();
    assert_eq!(error.to_string(), "StatusRule engines: spec.replicas.requests: no such key: pool");
}

#[test]
fn parts_are_read_and_a_bad_one_is_named() {
    let parts = |expression: &str, template: &Value| {
        let rules = one(&engine(json!({"components": expression})));
        let rule = rules.find(&Gvk::new("example.org/v1", "Engine")).unwrap();
        rule.components(template).map(Option::unwrap).map_err(|it| it.to_string())
    };
    let text = "[{'name': 'head', 'template': object.spec.head}] + object.spec.groups.map(it, \
                {'name': it.name, 'replicas': it.size, 'requests': {'cpu': it.cpu}})";
    let template = json!({"spec": {"head": {"spec": {}}, "groups": [{"name": "a", "size": 2, "cpu": "500m"}]}});
    let found = parts(text, &template).unwrap();
    let short: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.replicas)).collect();
    assert_eq!(short, [("head", 1), ("a", 2)]);
    assert_eq!(found[1].requests.as_ref().unwrap()["cpu"], "500m");
    for (expression, why) in [
        ("object.spec.none", "no such key: none"),
        ("object.spec.head", "does not yield a list"),
        ("[{'name': 'a'}]", "part 0 has neither a template nor requests"),
        ("[{'requests': {}}]", "part 0 has no name"),
        (
            "[{'name': 'a', 'replicas': -1, 'requests': {}}]",
            "part 0 has replicas that are no number of pods",
        ),
        ("[{'name': 'a', 'requests': {'cpu': [1]}}]", "part 0 has requests that are no quantities"),
    ] {
        let error = parts(expression, &template).unwrap_err();
        assert_eq!(error, format!("StatusRule engines: spec.components: {why}"));
    }
}

#[test]
fn health_says_degraded_first_and_what_is_not_there_yet_is_false() {
    let rule = engine(json!({"health": {
        "ready": "object.status.phase == 'Up'", "degraded": "object.status.errors > 0",
        "reason": "object.status.phase", "message": "object.status.text"}}));
    let health = |status: Value| read(&rule, &json!({"status": status})).health.unwrap();
    assert_eq!(health(json!({"phase": "Up", "errors": 0})).0, CopyState::Ready);
    let (state, reason, message) = health(json!({"phase": "Up", "errors": 1, "text": "broken"}));
    assert_eq!((state, reason.as_str(), message.as_str()), (CopyState::Degraded, "Up", "broken"));
    assert_eq!(health(json!({"phase": "Up"})).0, CopyState::Ready);
    assert_eq!(health(json!({})).0, CopyState::Progressing);
    // What is wrong with the rule itself is said, and nothing is taken for ready.
    let (state, reason, message) = health(json!({"phase": "Up", "errors": "many"}));
    assert_eq!((state, reason.as_str()), (CopyState::Progressing, "StatusRuleFailed"));
    assert_eq!(message, "StatusRule engines: spec.health.degraded: no such overload");
    let phase = engine(json!({"health": {"ready": "object.status.phase"}}));
    let (_, _, message) = read(&phase, &json!({"status": {"phase": "Up"}})).health.unwrap();
    assert_eq!(message, "StatusRule engines: spec.health.ready: yields string, not true or false");
}

#[test]
fn counts_and_kept_fields_are_read() {
    let rule = engine(json!({"status": {
        "replicas": "object.status.pods", "readyReplicas": "object.status.up",
        "keep": [{"path": ".status.phase"}, {"path": ".status.none"}, {"path": ".status.big"}]}}));
    let live = json!({"status": {"pods": 3, "phase": "Up", "big": "x".repeat(20_000)}});
    let reading = read(&rule, &live);
    assert_eq!((reading.health, reading.replicas, reading.ready), (None, Some(3), None));
    let kept: Vec<_> =
        reading.kept.iter().map(|(path, it)| (path.to_string(), it.clone())).collect();
    assert_eq!(kept, [(".status.phase".to_owned(), json!("Up"))]);
}

#[test]
fn an_expression_that_never_ends_is_stopped() {
    let list = "[1,2,3,4,5,6,7,8,9,10]";
    let all =
        (0..9).rev().fold("true".to_owned(), |inner, at| format!("{list}.all(v{at}, {inner})"));
    let why = |rule: &StatusRuleSpec| {
        let Standing::Invalid(problems) = Rules::new([("engines", rule)]).1["engines"].clone()
        else {
            panic!("it is active")
        };
        problems[0].message.clone()
    };
    let message = why(&engine(json!({"health": {"ready": all}})));
    assert!(message.contains("takes too long"), "{message}");
    // Nor does one that takes the more the more an object holds.
    let nested = "object.l.all(a, object.l.all(b, object.l.all(c, true)))";
    let rule = engine(json!({"health": {"ready": nested}}));
    let list: Vec<i64> = (0..300).collect();
    let (state, reason, message) = read(&rule, &json!({"l": list})).health.unwrap();
    assert_eq!((state, reason.as_str()), (CopyState::Progressing, "StatusRuleFailed"));
    assert!(message.contains("takes too long"), "{message}");
}

#[test]
fn what_yields_the_wrong_thing_whatever_the_object_is_refused() {
    let why = |rule: Value| {
        let Standing::Invalid(problems) = Rules::new([("r", &engine(rule))]).1["r"].clone() else {
            panic!("it is active")
        };
        format!("{}: {}", problems[0].field, problems[0].message)
    };
    assert_eq!(
        why(json!({"health": {"ready": "'yes'"}})),
        "spec.health.ready: Invalid value: \"'yes'\": yields string, not true or false"
    );
    assert!(why(json!({"components": "3"})).ends_with("yields int, not a list"));
    let requests = json!({"replicas": {"path": ".spec.size", "requests": "[1]"}});
    assert!(why(requests).ends_with("yields list, not an object"));
    assert!(
        why(json!({"status": {"replicas": "'3'"}})).ends_with("yields string, not a whole number")
    );
}

#[test]
fn of_two_rules_about_a_kind_the_first_holds() {
    let (a, b) = (engine(json!({"bound": true})), engine(json!({"bound": false})));
    let (rules, standings) = Rules::new([("a", &a), ("b", &b)]);
    assert!(rules.find(&Gvk::new("example.org/v1", "Engine")).unwrap().bound);
    assert_eq!(standings["b"], Standing::Shadowed { by: "a".to_owned() });
}

#[test]
fn a_rule_that_cannot_be_compiled_names_every_field() {
    let rule = engine(json!({
        "replicas": {"path": ".spec.size", "requests": "{"},
        "health": {"ready": "object.status.phase ==", "degraded": "self.status"},
        "dependencies": "template.spec"}));
    let (rules, standings) = Rules::new([("engines", &rule)]);
    assert!(rules.find(&Gvk::new("example.org/v1", "Engine")).is_none());
    let Standing::Invalid(problems) = &standings["engines"] else { panic!("{standings:?}") };
    let fields: BTreeMap<_, _> =
        problems.iter().map(|it| (it.field.as_str(), it.message.as_str())).collect();
    let names: Vec<_> = fields.keys().copied().collect();
    assert_eq!(
        names,
        [
            "spec.dependencies",
            "spec.health.degraded",
            "spec.health.ready",
            "spec.replicas.requests"
        ]
    );
    assert!(
        fields["spec.health.degraded"].contains("undeclared reference to 'self'"),
        "{fields:?}"
    );
}

#[test]
fn a_rule_of_a_known_kind_leaves_the_rest_to_the_built_in_one() {
    let own = spec(json!({
        "target": {"apiVersion": "ray.io/v1", "kind": "RayCluster"},
        "health": {"ready": "object.status.readyWorkerReplicas > 0"}}));
    let (rules, _) = Rules::new([("ray", &own)]);
    let reading = rules
        .find(&Gvk::new("ray.io/v1", "RayCluster"))
        .unwrap()
        .read(&json!({"status": {"state": "suspended", "readyWorkerReplicas": 1}}));
    assert_eq!(reading.health.unwrap().0, CopyState::Ready);
    assert_eq!((reading.ready, reading.kept.len()), (Some(1), 2));
}

#[test]
fn dependencies_are_objects_with_all_their_names() {
    let needs = |expression: &str| {
        let rules = one(&engine(json!({"dependencies": expression})));
        let rule = rules.find(&Gvk::new("example.org/v1", "Engine")).unwrap();
        rule.dependencies(&json!({"spec": {"secret": "s"}})).map_err(|it| it.to_string())
    };
    let found =
        needs("[{'apiVersion': 'v1', 'kind': 'Secret', 'name': object.spec.secret}]").unwrap();
    assert_eq!((found[0].kind.as_str(), found[0].name.as_str()), ("Secret", "s"));
    assert_eq!(
        needs("[{'kind': 'Secret', 'name': 's'}]").unwrap_err(),
        "StatusRule engines: spec.dependencies: item 0 lacks apiVersion, kind or name"
    );
}
