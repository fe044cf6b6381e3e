//! Differential tests: what this crate says, against Kubernetes' own libraries, over generated cases.
#![expect(
    clippy::disallowed_methods,
    reason = "where the oracle is kept and how many cases are run is the environment's"
)]

mod generate;
mod process;

use std::collections::BTreeSet;

use federation_schema::{
    apply::{self, ApplyError, Owns, Write},
    catalogue::{Catalogue, Gvk},
    crd, merge,
    model::TypeRef,
    name,
    quantity::Quantity,
    selector::LabelSelector,
    validate,
};
use generate::Dice;
use process::Oracle;
use serde_json::{Value, json};

const KINDS: [(&str, &str); 5] = [
    ("apps/v1", "Deployment"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("apps/v1", "StatefulSet"),
    ("v1", "ConfigMap"),
];

fn cases(of: usize) -> usize {
    std::env::var("ORACLE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(of)
}

fn type_of(api_version: &str, kind: &str) -> TypeRef {
    Catalogue::builtin().type_of(&Gvk::of(api_version, kind)).expect("a built-in kind")
}

/// Without times, which are the oracle's own, and without nulls, which Go's types do not keep.
fn plain(mut object: Value) -> Value {
    strip(&mut object);
    if let Some(list) = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut)
    {
        for entry in list.iter_mut().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        list.sort_by_key(|e| {
            format!("{}{}{}{}", e["operation"], e["manager"], e["apiVersion"], e["subresource"])
        });
    }
    object
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The first place at which two values differ.
fn difference(ours: &Value, theirs: &Value, at: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let below = |key: &&String| {
                difference(&ours[key.as_str()], &theirs[key.as_str()], &format!("{at}.{key}"))
            };
            keys.iter().find_map(below)
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let below = |i: usize| difference(&a[i], &b[i], &format!("{at}[{i}]"));
            (0..a.len()).find_map(below)
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ => (ours != theirs).then(|| format!("at {at} we say {ours}, they say {theirs}")),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON is printable")
}

#[test]
fn strategic_merges_agree() {
    let mut oracle = Oracle::start();
    let mut refused = 0;
    for case in 0..cases(2000) {
        let mut dice = Dice::new(case as u64 + 1);
        let (api_version, kind) = KINDS[case % KINDS.len()];
        let ty = type_of(api_version, kind);
        let live = generate::object(&mut dice, &ty, api_version, kind);
        let mut patch = generate::patch(&mut dice, &ty, &live, 0);
        generate::order(&mut dice, &ty, &mut patch, &live);
        let theirs = oracle.ask(&json!({
            "op": "strategic", "apiVersion": api_version, "kind": kind, "live": live, "patch": patch,
        }));
        let ours = merge::strategic(&live, &patch, &ty);
        let error = theirs["error"].as_str();
        refused += usize::from(error.is_some());
        match (&ours, error) {
            (Ok(ours), None) => assert_eq!(
                difference(ours, &theirs["object"], ""),
                None,
                "case {case}\nlive {}\npatch {}",
                pretty(&live),
                pretty(&patch)
            ),
            (Err(_), Some(_)) => {}
            // An order for a list that stays empty is nothing that must fail.
            (Ok(_), Some("no elements in any of the given slices")) => {}
            _ => panic!(
                "case {case}: we say {ours:?}, they say {error:?}\nlive {}\npatch {}",
                pretty(&live),
                pretty(&patch)
            ),
        }
    }
    println!("strategic: {refused} refused by both");
}

#[test]
fn applies_agree() {
    let mut oracle = Oracle::start();
    let (mut steps, mut conflicts) = (0, 0);
    for case in 0..cases(400) {
        let mut dice = Dice::new(case as u64 + 77);
        let (api_version, kind) = KINDS[case % KINDS.len()];
        let ty = type_of(api_version, kind);
        let mut live: Option<Value> = None;
        for step in 0..8 {
            let manager = dice.pick(&["a", "b", "kubectl"]);
            let mut sent = generate::object(&mut dice, &ty, api_version, kind);
            let force = dice.chance(40);
            let applies = dice.chance(65);
            let subresource = if live.is_some() && dice.chance(10) { "status" } else { "" };
            if !applies && let Some(live) = &live {
                // An update changes some of what stands there.
                let status = sent.get("status").cloned();
                let spec = sent.get("spec").cloned();
                sent = live.clone();
                if let Some(spec) = spec.filter(|_| dice.chance(70)) {
                    sent["spec"] = spec;
                }
                if let Some(status) = status {
                    sent["status"] = status;
                }
            }
            let write = Write {
                manager,
                api_version,
                subresource,
                now: "2026-11-21T10:00:00Z",
                owns: Owns::AllBut("status"),
            };
            let request = json!({
                "op": if applies { "apply" } else { "update" }, "apiVersion": api_version, "kind": kind, "live": live,
                "object": sent, "manager": manager, "force": force, "subresource": subresource, "reset": ["status"],
            });
            let theirs = oracle.ask(&request);
            let ours = if applies {
                apply::apply(live.as_ref(), &sent, &ty, &write, force)
            } else {
                Ok(apply::update(live.as_ref(), sent.clone(), &ty, &write))
            };
            steps += 1;
            let error = theirs["error"].as_str();
            let next = match (ours, error) {
                (Ok(ours), None) => {
                    assert_eq!(
                        difference(&plain(ours.clone()), &plain(theirs["object"].clone()), ""),
                        None,
                        "case {case} step {step}\nrequest {}",
                        pretty(&request)
                    );
                    ours
                }
                (Err(ApplyError::Conflicts(ours)), Some(error)) => {
                    conflicts += 1;
                    let mut causes: Vec<String> =
                        ours.causes().map(|(m, f)| format!("{m}: {f}")).collect();
                    let mut theirs: Vec<String> =
                        serde_json::from_value(theirs["list"].clone()).expect("causes");
                    causes.sort();
                    theirs.sort();
                    assert_eq!(
                        causes,
                        theirs,
                        "case {case} step {step}\nrequest {}",
                        pretty(&request)
                    );
                    let head = |text: &str| text.split(':').next().map(str::to_owned);
                    assert_eq!(head(&ours.to_string()), head(error));
                    continue;
                }
                (ours, error) => panic!(
                    "case {case} step {step}: we say {ours:?}, they say {error:?}\n{}",
                    pretty(&request)
                ),
            };
            let mut next = next;
            strip(&mut next);
            next["metadata"]["uid"] = json!("1");
            live = Some(next);
        }
    }
    println!("apply: {steps} steps, {conflicts} conflicts");
    assert!(conflicts > steps / 20, "too few conflicts to mean anything: {conflicts}");
}

#[test]
fn quantities_agree() {
    let mut oracle = Oracle::start();
    let make = |dice: &mut Dice| {
        let mut text = dice.pick(&["", "", "", "-", "+"]).to_owned();
        for _ in 0..=dice.below(5) {
            text.push_str(dice.pick(&["0", "1", "2", "5", "9", "00", "24"]));
        }
        if dice.chance(30) {
            text.push('.');
            for _ in 0..dice.below(4) {
                text.push_str(dice.pick(&["0", "1", "5", "25"]));
            }
        }
        text.push_str(dice.pick(&[
            "", "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi",
            "Ei", "e3", "E6", "e-3", "e1", "x", "K", "e",
        ]));
        text
    };
    for case in 0..cases(5000) {
        let mut dice = Dice::new(case as u64 + 5);
        let (one, other) = (make(&mut dice), make(&mut dice));
        let theirs = oracle.ask(&json!({"op": "quantity", "text": one, "other": other}));
        let ours = (one.parse::<Quantity>(), other.parse::<Quantity>());
        match (ours, theirs["error"].as_str()) {
            ((Ok(a), Ok(b)), None) => {
                // Past the largest suffix they leave it out, and with it eighteen zeros.
                if a.as_nano().abs() < 10_i128.pow(30) {
                    assert_eq!(json!(a.to_string()), theirs["text"], "{one}");
                }
                assert_eq!(json!(a.cmp(&b) as i8), theirs["number"], "{one} against {other}");
            }
            ((Err(_), _) | (_, Err(_)), Some(_)) => {}
            (ours, error) => panic!("{one} and {other}: we say {ours:?}, they say {error:?}"),
        }
    }
}

#[test]
fn selectors_agree() {
    let mut oracle = Oracle::start();
    for case in 0..cases(5000) {
        let mut dice = Dice::new(case as u64 + 9);
        let mut text = String::new();
        for _ in 0..=dice.below(9) {
            text.push_str(dice.pick(&[
                "a", "b", "c.d/e", " ", ",", "=", "==", "!=", "!", " in ", " notin ", "(", ")",
                "(a,b)", ">", "<", "1", "a=b", "a in (b)", "-", "in",
            ]));
        }
        let labels = json!({"a": dice.pick(&["a", "b", "1", "2"]), "c.d/e": "a"});
        let theirs = oracle.ask(&json!({"op": "selector", "text": text, "labels": labels}));
        match (LabelSelector::parse(&text), theirs["error"].as_str()) {
            (Ok(ours), None) => {
                let yes = ours.matches(|key| labels.get(key)?.as_str());
                assert_eq!(json!(yes), theirs["yes"], "{text:?}");
            }
            (Err(ours), Some(theirs)) => {
                let words = ours.0.contains(": found '");
                assert!(!words || ours.0 == theirs, "{text:?}: we say {ours}, they say {theirs}");
            }
            (ours, theirs) => panic!("{text:?}: we say {ours:?}, they say {theirs:?}"),
        }
    }
}

#[test]
fn names_agree() {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Rule); 5] = [
        ("subdomain", name::dns1123_subdomain),
        ("label", name::dns1123_label),
        ("dns1035", name::dns1035_label),
        ("qualified", name::qualified),
        ("value", name::label_value),
    ];
    let mut oracle = Oracle::start();
    for case in 0..cases(3000) {
        let mut dice = Dice::new(case as u64 + 3);
        let mut text = String::new();
        for _ in 0..dice.below(6) {
            text.push_str(dice.pick(&["a", "b1", "-", ".", "/", "A", "_", " ", "é", "9"]));
        }
        if dice.chance(3) {
            text.push_str(&"x".repeat(60 + dice.below(200)));
        }
        for (rule, check) in rules {
            let theirs = oracle.ask(&json!({"op": "name", "text": text, "other": rule}));
            let ours = check(&text).join("\n");
            assert_eq!(ours, theirs["text"].as_str().unwrap_or_default(), "{rule} {text:?}");
        }
    }
}

mod custom;
