//! `archipel policy read`: how objects of custom kinds are read, by which rule.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use federation_types::{
    reason::copy,
    status_rule::{StatusRule, is_native},
};
use placement_engine::{
    Workload,
    scenario::{Document, documents},
    workload::{KindClass, Requests},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use status_rules::{Rules, Standing};
use syncer_render::health::{self, Health};

use super::files;
use crate::output::{self, Failure, Format};

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Files of objects, or directories of them (`*.yaml`, `*.yml`, `*.json`): as they are applied, or as a member shows
    /// them. StatusRules among them are followed.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
}

/// Why objects were not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{file}: {flaw}")]
    File { file: String, flaw: String },
    #[error("{rule}: {why}")]
    Rule { rule: String, why: String },
    #[error("no object to read: give templates, or objects as a member shows them")]
    Nothing,
    #[error("{0} of the objects cannot be read by their rule")]
    Unreadable(usize),
}

/// One object as it is read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reading {
    object: String,
    /// Who says how; empty: the hub itself, or the conventions for custom kinds.
    rule: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    unreadable: String,
    bound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas_path: Option<String>,
    /// Whether the object has a number there; without one it counts as 1.
    stated: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    requests: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Value>,
    /// Its health cannot be told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fails: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
}

impl Read {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let files = files::read(&self.paths, &[".yaml", ".yml", ".json"])?;
        let mut all: Vec<Document> = Vec::new();
        for file in &files {
            let found = documents(&file.text).map_err(|flaw| ReadError::File {
                file: file.path.display().to_string(),
                flaw: flaw.to_string(),
            })?;
            all.extend(found);
        }
        let readings = readings(&all)?;
        if !output::machine(self.output, &readings)? {
            let texts: Vec<String> = readings.iter().map(text).collect();
            output::line(texts.join("\n").trim_end());
        }
        let fails = |it: &&Reading| !it.unreadable.is_empty() || it.fails;
        match readings.iter().filter(fails).count() {
            0 => Ok(()),
            unreadable => Err(ReadError::Unreadable(unreadable).into()),
        }
    }
}

/// All objects but ours, by the rules among them.
fn readings(documents: &[Document]) -> Result<Vec<Reading>, ReadError> {
    let mut specs = std::collections::BTreeMap::new();
    for document in documents.iter().filter(|it| it.kind() == "StatusRule") {
        let rule = StatusRule::deserialize(&document.value)
            .map_err(|error| ReadError::Rule { rule: document.title(), why: error.to_string() })?;
        specs.insert(rule.metadata.name.clone().unwrap_or_default(), rule.spec);
    }
    let (rules, standings) = Rules::new(specs.iter().map(|(name, it)| (name.as_str(), it)));
    for (name, standing) in standings {
        let why = match standing {
            Standing::Active => continue,
            Standing::Shadowed { by } => format!("StatusRule {by} is about the same kind"),
            Standing::Invalid(problems) => {
                let all = problems.iter().map(|it| format!("{}: {}", it.field, it.message));
                all.collect::<Vec<_>>().join("; ")
            }
        };
        return Err(ReadError::Rule { rule: format!("StatusRule {name}"), why });
    }
    let objects = documents.iter().map(|it| &it.value);
    let others = objects
        .filter(|it| !it["apiVersion"].as_str().unwrap_or_default().starts_with("archipel.dev/"));
    let readings: Vec<Reading> = others.map(|it| reading(it, &rules)).collect();
    if readings.is_empty() { Err(ReadError::Nothing) } else { Ok(readings) }
}

fn reading(object: &Value, rules: &Rules) -> Reading {
    let workload = Workload::read(object, rules);
    let gvk = &workload.key.gvk;
    let rule = rules.find(gvk);
    let mut unreadable = workload.unreadable.clone();
    let needs = rule.map_or_else(|| Ok(Vec::new()), |it| it.dependencies(object));
    let needs = needs.unwrap_or_else(|error| {
        unreadable = error.to_string();
        Vec::new()
    });
    // Of what was applied only, nothing is known but that it was.
    let live = object.get("status").is_some_and(|it| !it.is_null());
    let health = live.then(|| health::assess(gvk, object, rules));
    let component = |it: &placement_engine::components::Component| json!({"name": it.name, "replicas": it.replicas, "requests": requests(&it.requests)});
    let own = match rule {
        Some(rule) => rule.name.clone(),
        None if is_native(&gvk.group, &gvk.kind) => String::new(),
        None => "no rule: the conventions for custom kinds".to_owned(),
    };
    let path = workload.replicas_path(rules).filter(|_| workload.class == KindClass::Scalable);
    Reading {
        object: workload.key.to_string(),
        rule: own,
        unreadable,
        bound: workload.is_bound(),
        replicas: workload.replicas,
        stated: path.as_ref().is_none_or(|it| it.get(object).is_some()),
        replicas_path: path.map(String::from),
        requests: requests(&workload.requests),
        components: workload.components.iter().map(component).collect(),
        kept: health
            .iter()
            .flat_map(|it| &it.kept)
            .map(|(path, value)| json!({"path": path.to_string(), "value": value}))
            .collect(),
        fails: health.as_ref().is_some_and(|it| it.reason == copy::RULE_FAILED),
        health: health.map(|it| state(&it)),
        needs: needs
            .iter()
            .map(|it| format!("{}/{} {}", it.api_version, it.kind, it.name))
            .collect(),
    }
}

fn state(health: &Health) -> Value {
    json!({"state": health.state, "reason": health.reason, "message": health.message,
           "replicas": health.replicas, "readyReplicas": health.ready})
}

/// `cpu 1500m, memory 2147483648, nvidia.com/gpu 1`
fn requests(requests: &Requests) -> String {
    let [cpu, memory, _, storage] = requests.base;
    let mut parts = Vec::new();
    if cpu > 0 {
        parts.push(format!("cpu {cpu}m"));
    }
    for (name, bytes) in [("memory", memory), ("ephemeral-storage", storage)] {
        if bytes > 0 {
            parts.push(format!("{name} {}Mi", bytes / (1 << 20)));
        }
    }
    parts.extend(requests.extended.iter().map(|(name, n)| format!("{name} {n}")));
    parts.join(", ")
}

fn text(reading: &Reading) -> String {
    let mut out = reading.object.clone();
    if !reading.rule.is_empty() {
        let _ = write!(out, "  by {}", reading.rule);
    }
    out.push('\n');
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<11} {value}");
        }
    };
    line("unreadable", reading.unreadable.clone());
    if let Some(replicas) = reading.replicas {
        let at = match &reading.replicas_path {
            Some(path) if reading.stated => format!(" at {path}"),
            Some(path) => format!(", as it has no {path}"),
            None => String::new(),
        };
        line("replicas", format!("{replicas}{at}"));
    }
    line("each takes", reading.requests.clone());
    for it in &reading.components {
        let text = |name: &str| it[name].as_str().unwrap_or_default();
        let takes = if text("requests").is_empty() { "nothing stated" } else { text("requests") };
        line("part", format!("{} × {}: {takes}", text("name"), it["replicas"]));
    }
    if reading.bound {
        line("bound", "moves by an approved plan only".to_owned());
    }
    if let Some(health) = &reading.health {
        let text = |name: &str| health[name].as_str().unwrap_or_default();
        let more = [text("reason"), text("message")];
        let more: Vec<&str> = more.into_iter().filter(|it| !it.is_empty()).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(": ")) };
        line("health", format!("{}{more}", text("state")));
        for (name, shown) in [("replicas", "runs"), ("readyReplicas", "ready")] {
            line(shown, health[name].as_i64().map(|it| it.to_string()).unwrap_or_default());
        }
    }
    for it in &reading.kept {
        line("keeps", format!("{} {}", it["path"].as_str().unwrap_or_default(), it["value"]));
    }
    for it in &reading.needs {
        line("needs", it.clone());
    }
    out
}
