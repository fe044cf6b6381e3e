//! Custom kinds: schemas and objects.

use super::{Dice, Oracle, Value, cases, crd, difference, json, pretty, validate};

/// A schema of a field, structural or nearly so.
fn schema(dice: &mut Dice, depth: usize) -> Value {
    let kinds = [
        "string", "integer", "number", "boolean", "object", "object", "array", "map", "port", "any",
    ];
    let kind = if depth > 3 { kinds[dice.below(4)] } else { kinds[dice.below(kinds.len())] };
    let mut out = match kind {
        "object" => {
            let mut properties = json!({});
            let mut required = Vec::new();
            for name in ["a", "b", "c"] {
                if dice.chance(60) {
                    properties[name] = schema(dice, depth + 1);
                    if dice.chance(20) {
                        required.push(name);
                    }
                }
            }
            let mut out = json!({"type": "object", "properties": properties});
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            if dice.chance(15) {
                out["x-kubernetes-preserve-unknown-fields"] = json!(true);
            }
            if dice.chance(5) {
                out["oneOf"] = json!([{"required": ["a"]}, {"required": ["b"]}]);
            }
            if dice.chance(5) {
                out["anyOf"] = json!([{"properties": {"a": {"minimum": 2}}}, {"properties": {"b": {"enum": ["x"]}}}]);
            }
            out
        }
        "map" => json!({"type": "object", "additionalProperties": schema(dice, depth + 1)}),
        "array" => {
            let mut out = json!({"type": "array", "items": schema(dice, depth + 1)});
            if dice.chance(20) {
                out["maxItems"] = json!(1);
            }
            if dice.chance(20) {
                out["minItems"] = json!(1);
            }
            if dice.chance(20) {
                out["x-kubernetes-list-type"] = json!("set");
                out["items"]["nullable"] = json!(false);
            }
            out
        }
        "port" => json!({"x-kubernetes-int-or-string": true}),
        "any" => json!({"x-kubernetes-preserve-unknown-fields": true}),
        "string" => {
            let mut out = json!({"type": "string"});
            match dice.below(8) {
                0 => out["enum"] = json!(["x", "y"]),
                1 => out["pattern"] = json!("^x"),
                2 => out["minLength"] = json!(2),
                3 => out["maxLength"] = json!(1),
                4 => out["format"] = json!(dice.pick(&["ipv4", "date-time", "byte", "whatever"])),
                5 => out["default"] = json!("x"),
                6 => out["not"] = json!({"enum": ["y"]}),
                _ => {}
            }
            out
        }
        "integer" | "number" => {
            let mut out = json!({"type": kind});
            match dice.below(7) {
                0 => out["minimum"] = json!(2),
                1 => out["maximum"] = json!(1),
                2 => out["multipleOf"] = json!(2),
                3 => out["default"] = json!(3),
                4 => {
                    out["minimum"] = json!(1);
                    out["exclusiveMinimum"] = json!(true);
                }
                5 => out["allOf"] = json!([{"minimum": 2}, {"maximum": 5}]),
                _ => {}
            }
            out
        }
        kind => json!({"type": kind}),
    };
    if dice.chance(15) {
        out["nullable"] = json!(true);
    }
    // What makes a schema not structural.
    let free = out.get("x-kubernetes-preserve-unknown-fields").is_some();
    if !free && dice.chance(2) {
        out.as_object_mut().expect("a schema").remove("type");
    }
    if dice.chance(1) {
        out["allOf"] = json!([{"type": "string", "default": 1, "nullable": true}]);
    }
    out
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth > 3 { 7 } else { 11 }) {
        0 => Value::Null,
        1 => json!(true),
        2 | 3 => json!(dice.below(4)),
        4 => json!(1.5),
        5 | 6 => json!(dice.pick(&["x", "y", "xyz", "10.0.0.1"])),
        7 => Value::Array((0..dice.below(3)).map(|_| value(dice, depth + 1)).collect()),
        _ => {
            let mut out = json!({});
            for name in ["a", "b", "c", "d"] {
                if dice.chance(50) {
                    out[name] = value(dice, depth + 1);
                }
            }
            out
        }
    }
}

/// A value that mostly fits.
fn fitting(dice: &mut Dice, schema: &Value, depth: usize) -> Value {
    if dice.chance(12) {
        return value(dice, depth);
    }
    match schema["type"].as_str() {
        Some("string") => json!(dice.pick(&["x", "y", "xyz", "10.0.0.1"])),
        Some("integer") => json!(dice.below(5)),
        Some("number") => json!(dice.below(9) as f64 / 2.0),
        Some("boolean") => json!(true),
        Some("array") => Value::Array(
            (0..dice.below(4)).map(|_| fitting(dice, &schema["items"], depth + 1)).collect(),
        ),
        Some("object") => {
            let mut out = json!({});
            for name in ["a", "b", "c"] {
                let below =
                    schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                if let Some(below) = below.filter(|_| dice.chance(75)) {
                    out[name] = fitting(dice, below, depth + 1);
                }
            }
            if dice.chance(20) {
                out["odd"] = json!({"x": 1});
            }
            out
        }
        _ => value(dice, depth),
    }
}

#[test]
fn custom_kinds_agree() {
    let mut oracle = Oracle::start();
    let (mut not_structural, mut invalid, mut other_words) = (0, 0, 0);
    for case in 0..cases(3000) {
        let mut dice = Dice::new(case as u64 + 21);
        let root = json!({"type": "object", "properties": {"spec": schema(&mut dice, 0), "other": schema(&mut dice, 2)}});
        let object = json!({
            "apiVersion": "x.y/v1", "kind": "A", "metadata": {"name": "a"},
            "spec": fitting(&mut dice, &root["properties"]["spec"], 0), "odd": 1,
            "other": fitting(&mut dice, &root["properties"]["other"], 2),
        });
        let theirs = oracle.ask(&json!({"op": "crd", "schema": root, "object": object}));
        let shown = || format!("case {case}\nschema {}\nobject {}", pretty(&root), pretty(&object));
        let list = |field: &str| -> Vec<String> {
            let mut list: Vec<String> = theirs[field]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            list.sort();
            list
        };
        let ty = match crd::compile(&root, "schema") {
            Err(problems) => {
                not_structural += 1;
                let mut ours: Vec<String> = problems.iter().map(ToString::to_string).collect();
                // Not a rule of structure: the API has it elsewhere.
                ours.retain(|p| !p.contains("x-kubernetes-list-type is specified"));
                ours.sort();
                assert_eq!(ours, list("list"), "{}", shown());
                continue;
            }
            Ok(compiled) => compiled.ty,
        };
        assert_eq!(list("list"), Vec::<String>::new(), "{}", shown());
        let mut ours = object.clone();
        crd::prune(&mut ours, &ty);
        crd::default(&mut ours, &ty);
        assert_eq!(difference(&ours, &theirs["object"], ""), None, "{}", shown());
        let mut problems: Vec<String> =
            validate::validate(&ours, &ty).iter().map(ToString::to_string).collect();
        // They take a list for a string that has a format; we do not.
        problems.retain(|p| {
            list("more").contains(p) || !p.ends_with("must be of type string: \"array\"")
        });
        problems.sort();
        invalid += usize::from(!problems.is_empty());
        // They go on after a wrong type and say more (a format speaks before the type does); what we complain of they
        // complain of too, in the same words but for few, and both say something or nothing.
        let field = |problem: &str| problem.split(": ").next().map(str::to_owned);
        let unsaid: Vec<&String> = problems.iter().filter(|p| !list("more").contains(p)).collect();
        other_words += unsaid.len();
        let same_field = |p: &String| list("more").iter().any(|t| field(t) == field(p));
        let more: Vec<String> = unsaid.into_iter().filter(|p| !same_field(p)).cloned().collect();
        assert_eq!(more, Vec::<String>::new(), "they say {:#?}\n{}", list("more"), shown());
        assert_eq!(
            problems.is_empty(),
            list("more").is_empty(),
            "they say {:#?}\n{}",
            list("more"),
            shown()
        );
    }
    println!(
        "crd: {not_structural} not structural, {invalid} invalid, {other_words} in other words"
    );
    assert!(other_words * 50 < invalid, "{other_words} of {invalid} in other words");
    assert!(not_structural > 0 && invalid > 0);
}
