//! What is wrong or odd about policies, found without a hub: what their admission would refuse, and what is allowed and
//! cannot be meant. Members and templates beside them, where given, are looked at too.

use std::sync::Arc;

use federation_types::{
    policy::{ClusterPlacementPolicy, Limits, PlacementPolicy, PlacementPolicySpec},
    reason::lint as code,
    shape,
    validate::{self, Problem},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

mod policy;
mod selector;
mod together;

use crate::{
    claim::Policy,
    policy::CompiledPolicy,
    scenario::{Document, Scenario},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The hub refuses it, or it can never do what it says.
    Error,
    /// It is allowed and hardly meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the documents it is about.
    pub document: usize,
    pub severity: Severity,
    /// A code of [`federation_types::reason::lint`].
    pub code: &'static str,
    pub field: String,
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// Collects findings about one document.
struct Report<'a> {
    document: usize,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (field, message, advice) = (field.into(), message.into(), advice.into());
        let document = self.document;
        self.findings.push(Finding { document, severity, code, field, message, advice });
    }

    fn warn(
        &mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.say(Severity::Warning, code, field, message, advice);
    }

    fn refused(&mut self, problems: Vec<Problem>) {
        for it in problems {
            let advice = if it.message.starts_with("Unknown field") {
                "correct the name: the hub would leave the field out".to_owned()
            } else {
                "the hub refuses the policy as it is".to_owned()
            };
            let code = if it.message.starts_with("Unknown field") {
                code::UNKNOWN_FIELD
            } else {
                code::INVALID
            };
            self.say(Severity::Error, code, it.field, it.message, advice);
        }
    }
}

/// A policy that can be read, with the document it stands in.
struct Read {
    document: usize,
    policy: Arc<Policy>,
}

/// Looks at all documents together; what is found is in their order.
pub fn lint(documents: &[&Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut policies = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let mut report = Report { document: at, findings: &mut findings };
        if let Some(policy) = read(document, &mut report) {
            policy::look(&policy.spec, policy.limits.as_ref(), policy.limits_only, &mut report);
            policies.push(Read { document: at, policy: Arc::new(policy) });
        }
    }
    together::look(documents, &policies, &mut findings);
    findings.sort_by(|a, b| {
        (a.document, a.severity, &a.field).cmp(&(b.document, b.severity, &b.field))
    });
    findings
}

/// The policy of a document, if it is one and says what it should.
fn read(document: &Document, report: &mut Report<'_>) -> Option<Policy> {
    let kind = document.kind();
    if !kind.ends_with("Policy")
        || !(shape::is_ours(&document.value) || document.value.get("apiVersion").is_none())
    {
        return None;
    }
    let Some(schema) = shape::of_kind(kind) else {
        let message = format!("Unsupported value: {kind:?}: no kind of archipel.dev is called so");
        report.say(
            Severity::Error,
            code::INVALID,
            "kind",
            message,
            "name a kind that the hub serves",
        );
        return None;
    };
    let mut problems = Vec::new();
    if document.value.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        problems.push(Problem {
            field: "metadata.name".to_owned(),
            message: "Required value".to_owned(),
        });
    }
    shape::check(&schema["properties"]["spec"], &document.value["spec"], "spec", &mut problems);
    let sound = problems.iter().all(|it| it.message.starts_with("Unknown field"));
    report.refused(problems);
    if !sound {
        return None;
    }
    let (policy, problems) = match kind {
        "PlacementPolicy" => {
            let it: PlacementPolicy = object(document, report)?;
            (Policy::from(&it), validate::placement_policy(&it.spec))
        }
        "ClusterPlacementPolicy" => {
            let it: ClusterPlacementPolicy = object(document, report)?;
            (Policy::from(&it), validate::cluster_placement_policy(&it.spec))
        }
        "OverridePolicy" => {
            let it: federation_types::overrides::OverridePolicy = object(document, report)?;
            report.refused(validate::override_policy(&it.spec));
            return None;
        }
        "ClusterOverridePolicy" => {
            let it: federation_types::overrides::ClusterOverridePolicy = object(document, report)?;
            report.refused(validate::override_policy(&it.spec.overrides));
            return None;
        }
        _ => return None,
    };
    let valid = problems.is_empty();
    report.refused(problems);
    let limits: Vec<(&str, &Limits)> =
        policy.limits.iter().map(|it| ("the policy itself", it)).collect();
    let compiled = CompiledPolicy::compile("the policy", None, &policy.spec, &limits);
    if valid && let Err(problems) = compiled {
        report.refused(problems);
        return None;
    }
    valid.then_some(policy)
}

fn object<T: DeserializeOwned>(document: &Document, report: &mut Report<'_>) -> Option<T> {
    match serde_json::from_value(document.value.clone()) {
        Ok(it) => Some(it),
        Err(error) => {
            report.refused(vec![Problem { field: String::new(), message: error.to_string() }]);
            None
        }
    }
}

/// Whether the spec says anything about where.
fn places(spec: &PlacementPolicySpec) -> bool {
    !spec.affinities.is_empty() || !spec.spread.is_empty() || spec.replicas.is_some()
}

/// The fleet of the members among the documents; `None` where there are none or some cannot be read.
fn fleet(documents: &[&Document]) -> Option<crate::fleet::Fleet> {
    let inventory = ["MemberCluster", "ClusterSet"];
    let given: Vec<Value> = documents
        .iter()
        .filter(|it| inventory.contains(&it.kind()))
        .map(|it| it.value.clone())
        .collect();
    if !given.iter().any(|it| it["kind"] == "MemberCluster") {
        return None;
    }
    Scenario::of_values(given, "").ok().map(|it| it.fleet())
}

#[cfg(test)]
mod tests;
