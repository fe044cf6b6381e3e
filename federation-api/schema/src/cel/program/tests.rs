use serde_json::json;

use super::*;
use crate::cel::{Outcome, plain};

fn evaluate(text: &str, object: &serde_json::Value) -> Result<Value, Fault> {
    let program = on_large_stack(|| Program::compile(text, &["self"])).unwrap();
    let mut size = 0;
    let value = plain(object, &mut size);
    program.evaluate(&[("self", value)], size, &mut Budget(200_000))
}

fn refused(text: &str) -> CompileError {
    on_large_stack(|| Program::compile(text, &["self"]).map(drop)).unwrap_err()
}

#[test]
fn expressions_have_the_functions_of_kubernetes() {
    let object = json!({"name": "web-1", "list": [3, 1, 2], "labels": {"a": "b"}, "q": "1Gi"});
    for text in [
        "self.name.startsWith('web')",
        "self.name.matches('^[a-z]+-[0-9]$')",
        "self.name.find('[0-9]') == '1'",
        "self.list.all(x, x > 0) && self.list.exists_one(x, x == 3)",
        "self.list.map(x, x * 2).sum() == 12",
        "self.list.filter(x, x > 1).size() == 2",
        "self.list.isSorted() == false && self.list.max() == 3",
        "has(self.labels.a) && !has(self.labels.c) && 'a' in self.labels",
        "quantity(self.q).isGreaterThan(quantity('500Mi'))",
        "sets.contains(self.list, [1, 2])",
        "url('https://a.example/b').getHost() == 'a.example'",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.0.0.1')",
        "!format.dns1123Label().validate(self.name).hasValue()",
        "self.name.split('-')[0].upperAscii() == 'WEB'",
        "self.name.replace('web', 'x') == 'x-1' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && 1 + 1 == 2",
        "duration('1h') > duration('30m')",
        "self.?missing.orValue(7) == 7 && self.?name.orValue('x') == 'web-1'",
        "self.?missing.?further.orValue(7) == 7 && self.labels[?'a'].value() == 'b'",
        "self.list[?9].orValue(0) == 0 && self.list[?0].hasValue()",
        "lists.range(3) == [0, 1, 2]",
        "(self.name == 'x' ? 1 : 2) == 2",
    ] {
        assert_eq!(evaluate(text, &object), Ok(Value::Bool(true)), "{text}");
    }
}

#[test]
fn what_cannot_be_compiled_is_told_from_what_is_not_supported() {
    for (text, want) in [
        ("self.a >", "compilation failed: "),
        ("selv.a > 1", "compilation failed: undeclared reference to 'selv'"),
        (
            "self.a.frobnicate()",
            "compilation failed: undeclared reference to function 'frobnicate'",
        ),
        ("self.a.matches('[')", "compilation failed: invalid regular expression"),
        ("Foo{a: 1} == self", "compilation failed: messages cannot be made here"),
        ("", "compilation failed: it is empty"),
    ] {
        let error = refused(text);
        assert!(matches!(error, CompileError::Invalid(_)), "{text}: {error}");
        assert!(error.to_string().starts_with(want), "{text}: {error}");
    }
    for text in ["type(self) == int", "cel.bind(x, 1, x > 0)", "self.list.sortBy(x, x)[0] == 1"] {
        assert!(matches!(refused(text), CompileError::Unsupported(_)), "{text}: {}", refused(text));
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(on_large_stack(|| Program::compile(&deep, &[]).map(drop)).is_err());
    let long = vec!["self.a"; 120].join(" + ");
    assert!(matches!(refused(&long), CompileError::Unsupported(_)));
}

#[test]
fn the_deepest_expression_fits_the_stack() {
    let text = vec!["self.a"; 80].join(" + ");
    assert_eq!(evaluate(&text, &json!({"a": 1})), Ok(Value::Int(80)));
    let text = format!("{}self.a{}", "[".repeat(40), "][0]".repeat(40));
    assert_eq!(evaluate(&text, &json!({"a": 1})), Ok(Value::Int(1)));
}

#[test]
fn what_costs_too_much_is_stopped() {
    let list: Vec<u32> = (0..3000).collect();
    let object = json!({"list": list, "text": "a".repeat(100_000)});
    for text in [
        "self.list.all(x, self.list.all(y, self.list.all(z, x + y + z >= 0)))",
        "self.list.all(x, self.list.all(y, x + y >= 0)) || true",
        "lists.range(1000000000).size() > 0",
        "self.text.replace('a', self.text).size() > 0",
        "self.list.map(a, self.list.map(b, a)).size() > 0",
        "[self.text].map(x, x + x + x + x).map(x, x + x + x + x).map(x, x + x + x + x)\
         .map(x, x + x + x + x).size() > 0",
        "self.list.all(x, self.list.all(y, self.text.matches('a+')))",
    ] {
        assert_eq!(evaluate(text, &object), Err(Fault::Cost), "{text}");
    }
    let small = json!({"list": [1, 2, 3]});
    let text = "self.list.all(x, self.list.all(y, self.list.all(z, x + y + z >= 0)))";
    assert_eq!(evaluate(text, &small), Ok(Value::Bool(true)));
    assert_eq!(evaluate("self.list.all(x, x >= 0)", &object), Ok(Value::Bool(true)));
}

#[test]
fn a_budget_is_shared_and_a_failure_says_little() {
    let program = Program::compile("self.all(x, x > 0)", &["self"]).unwrap();
    let value = plain(&json!([1, 2, 3]), &mut 0);
    let mut budget = Budget(25);
    assert!(program.evaluate(&[("self", value.clone())], 4, &mut budget).is_ok());
    assert!(budget.0 < 25);
    assert_eq!(program.evaluate(&[("self", value)], 4, &mut budget), Err(Fault::Cost));
    let secret = json!({"token": "hush"});
    let Err(Fault::Failed(why)) = evaluate("self.token > 1", &secret) else { panic!("no fault") };
    assert!(!why.contains("hush"), "{why}");
    assert_eq!(evaluate("self.none == 1", &secret), Err(Fault::Missing("none".to_owned())));
}

#[test]
fn rule_2_5_mutations_make_parts_of_objects_and_patches() {
    let object = json!({"spec": {"replicas": 3, "list": [{"name": "a"}, {"name": "b"}]}});
    let made = |text: &str, outcome: Outcome| {
        let program = on_large_stack(|| Program::mutation(text, &["object"], outcome))?;
        let mut size = 0;
        let value = plain(&object, &mut size);
        let value = program.evaluate(&[("object", value)], size, &mut Budget(200_000));
        Ok::<_, CompileError>(crate::cel::json(&value.unwrap()))
    };
    for (text, want) in [
        ("Object{}", json!({})),
        (
            "Object{spec: Object.spec{replicas: object.spec.replicas * 2, foo__dash__bar: 'x', __namespace__: null}}",
            json!({"spec": {"replicas": 6, "foo-bar": "x", "namespace": null}}),
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a/b': 'c'}}}",
            json!({"metadata": {"labels": {"a/b": "c"}}}),
        ),
        (
            "Object{spec: Object.spec{list: object.spec.list.map(it, Object.spec.list{name: it.name, size: 1.5})}}",
            json!({"spec": {"list": [{"name": "a", "size": 1.5}, {"name": "b", "size": 1.5}]}}),
        ),
        (
            "object.spec.replicas > 1 ? Object{spec: Object.spec{?a: optional.none(), ?b: optional.of(true), ?c: object.spec.?replicas}} : Object{}",
            json!({"spec": {"b": true, "c": 3}}),
        ),
    ] {
        assert_eq!(made(text, Outcome::Object), Ok(Ok(want)), "{text}");
    }
    assert_eq!(
        made(
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: Object.metadata{x: 1}}] + \
             (has(object.spec.paused) ? [JSONPatch{op: 'remove', path: '/spec/paused'}] : [])",
            Outcome::Patch
        ),
        Ok(Ok(json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": {"x": 1}}])))
    );
    for (text, outcome, want) in [
        (
            "Object{spec: Foo{a: 1}}",
            Outcome::Object,
            "unexpected type name \"Foo\", expected \"Object.spec\"",
        ),
        ("Object{spec: {'a': Foo{a: 1}}}", Outcome::Object, "undeclared reference to 'Foo'"),
        (
            "Object{spec: Object.metadata{}}",
            Outcome::Object,
            "unexpected type name \"Object.metadata\"",
        ),
        ("{'spec': 1}", Outcome::Object, "must evaluate to Object"),
        ("true ? [] : Object{}", Outcome::Object, "must evaluate to Object"),
        ("JSONPatch{op: 'add'}", Outcome::Patch, "must evaluate to list(JSONPatch)"),
        ("[{'op': 'add'}]", Outcome::Patch, "must evaluate to list(JSONPatch)"),
        ("[JSONPatch{op: 'add', foo: 1}]", Outcome::Patch, "undefined field 'foo' of JSONPatch"),
        (
            "Object{spec: Object.spec{a: nothing}}",
            Outcome::Object,
            "undeclared reference to 'nothing'",
        ),
    ] {
        let error = made(text, outcome).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    let unfit = made("Object{spec: quantity('1')}", Outcome::Object).unwrap();
    assert!(unfit.unwrap_err().contains("has no form in JSON"));
}
