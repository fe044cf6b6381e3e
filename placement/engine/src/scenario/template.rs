//! What is wrong with a template as far as decisions read it: a field of another type would count as left out.

use federation_types::{quantity, validate::Problem};
use serde_json::Value;

use crate::workload::{KindClass, Workload};

/// Where a kind keeps its pod template, and the counts that it has.
fn parts(class: KindClass) -> Option<(&'static str, &'static [&'static str])> {
    Some(match class {
        KindClass::Deployment | KindClass::ReplicaSet => ("spec.template", &["spec.replicas"]),
        KindClass::StatefulSet => ("spec.template", &["spec.replicas", "spec.ordinals.start"]),
        KindClass::DaemonSet => ("spec.template", &[]),
        KindClass::Job => ("spec.template", &["spec.parallelism", "spec.completions"]),
        KindClass::CronJob => (
            "spec.jobTemplate.spec.template",
            &["spec.jobTemplate.spec.parallelism", "spec.jobTemplate.spec.completions"],
        ),
        KindClass::Pod => ("", &[]),
        KindClass::Scalable | KindClass::Unit | KindClass::Plain => return None,
    })
}

/// What is not as it must be, under the path `field`.
pub(super) fn problems(template: &Value, field: &str) -> Vec<Problem> {
    let mut check = Check { field, found: Vec::new() };
    check.texts(template, "metadata.labels");
    let Some((pods, counts)) = parts(Workload::from_template(template).class) else {
        return check.found;
    };
    for count in counts {
        let fits = |it: &Value| it.as_i64().is_some_and(|it| it >= 0);
        check.is(template, count, fits, "must be a whole number that is not negative");
    }
    for text in ["spec.completionMode", "spec.strategy.type"] {
        check.is(template, text, Value::is_string, "must be text");
    }
    if !pods.is_empty() {
        check.is(template, pods, Value::is_object, "must be an object");
        check.texts(template, &format!("{pods}.metadata.labels"));
    }
    let pod = if pods.is_empty() { "spec".to_owned() } else { format!("{pods}.spec") };
    check.texts(template, &format!("{pod}.nodeSelector"));
    for list in ["containers", "initContainers"] {
        let path = format!("{pod}.{list}");
        check.is(template, &path, Value::is_array, "must be a list");
        let containers = at(template, &path).and_then(Value::as_array);
        for (n, container) in containers.into_iter().flatten().enumerate() {
            check.resources(container, &format!("{path}[{n}]"));
        }
    }
    if let Some(it) = at(template, &pod) {
        check.resources(it, &pod);
    }
    check.found
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(&format!("/{}", path.replace('.', "/"))).filter(|it| !it.is_null())
}

struct Check<'a> {
    field: &'a str,
    found: Vec<Problem>,
}

impl Check<'_> {
    fn say(&mut self, path: &str, value: &Value, rule: &str) {
        let field = format!("{}.{path}", self.field);
        let shown = match value {
            Value::Object(_) => "an object".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            other => other.to_string(),
        };
        self.found.push(Problem { field, message: format!("Invalid value: {shown}: {rule}") });
    }

    fn is(&mut self, value: &Value, path: &str, fits: impl Fn(&Value) -> bool, rule: &str) {
        if let Some(it) = at(value, path).filter(|it| !fits(it)) {
            self.say(path, it, rule);
        }
    }

    /// A map of texts.
    fn texts(&mut self, value: &Value, path: &str) {
        self.is(value, path, Value::is_object, "must be an object");
        for (key, it) in at(value, path).and_then(Value::as_object).into_iter().flatten() {
            if !it.is_string() {
                self.say(&format!("{path}.{key}"), it, "must be text");
            }
        }
    }

    /// Requests and limits of what has them.
    fn resources(&mut self, value: &Value, path: &str) {
        for part in ["requests", "limits"] {
            let amounts = value.pointer(&format!("/resources/{part}"));
            let Some(amounts) = amounts.filter(|it| !it.is_null()) else { continue };
            let path = format!("{path}.resources.{part}");
            let Some(amounts) = amounts.as_object() else {
                self.say(&path, amounts, "must be an object");
                continue;
            };
            for (name, it) in amounts {
                let text = match it {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let amount = quantity::units(name, &text).filter(|it| *it >= 0);
                if amount.is_none() || !(it.is_string() || it.is_number()) {
                    let rule = "must be an amount, such as 500m or 1Gi";
                    self.say(&format!("{path}.{name}"), it, rule);
                }
            }
        }
    }
}
