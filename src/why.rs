//! `archipel why KIND/NAME`: why a template is where it is, and why not elsewhere.

use clap::Args;
use federation_types::{
    reason::rule,
    review::{ClusterExplanation, Counterfactual, ExplanationSpec, ExplanationStatus},
    words::counted,
};
use kube::{
    Client,
    api::ApiResource,
    discovery::{Discovery, Scope, verbs},
};

use crate::{
    hub::Hub,
    output::{self, Failure, Format, Table},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// `deployment/web`, `deploy/web` or `deployments.apps/web`.
    #[arg(value_name = "KIND/NAME")]
    object: String,
    /// The object's namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// Only why it is not on this cluster, and what would change that.
    #[arg(long, value_name = "CLUSTER")]
    not: Option<String>,
    /// How it is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

/// Why the question cannot be asked.
#[derive(Debug, thiserror::Error)]
enum WhyError {
    #[error("`{0}` is not KIND/NAME")]
    NotAnObject(String),
    #[error("the hub serves no kind `{0}`")]
    UnknownKind(String),
}

impl Why {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Some((kind, name)) = self.object.split_once('/') else {
            return Err(WhyError::NotAnObject(self.object).into());
        };
        let client = self.hub.client().await?;
        let (resource, namespaced) = find_kind(&client, kind).await?;
        let spec = ExplanationSpec {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            name: name.to_owned(),
            namespace: if namespaced { self.namespace.clone() } else { String::new() },
            cluster: self.not.clone().unwrap_or_default(),
        };
        let status: ExplanationStatus =
            plan::ask(&client, "Explanation", "explanations", &spec).await?;
        if output::machine(self.output, &status)? {
            return Ok(());
        }
        match &self.not {
            Some(cluster) => print_not(&status, cluster),
            None => print_all(&status, self.output == Format::Wide),
        }
        Ok(())
    }
}

/// Finds a kind by any of its names, as kubectl does: kind, plural, singular, or `plural.group`.
pub(crate) async fn find_kind(client: &Client, word: &str) -> Result<(ApiResource, bool), Failure> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let word = word.to_lowercase();
    let short = [
        ("deploy", "deployments"),
        ("sts", "statefulsets"),
        ("ds", "daemonsets"),
        ("svc", "services"),
        ("cm", "configmaps"),
        ("sa", "serviceaccounts"),
        ("ing", "ingresses"),
        ("po", "pods"),
        ("ns", "namespaces"),
        ("cj", "cronjobs"),
        ("pvc", "persistentvolumeclaims"),
        ("rs", "replicasets"),
        ("hpa", "horizontalpodautoscalers"),
        ("pdb", "poddisruptionbudgets"),
        ("netpol", "networkpolicies"),
    ];
    let full =
        short.iter().find(|(short, _)| *short == word).map_or(word.as_str(), |(_, full)| full);
    let (plural, group) = full.split_once('.').unwrap_or((full, ""));
    for api_group in discovery.groups() {
        for (resource, capabilities) in api_group.recommended_resources() {
            let named = resource.plural == plural || resource.kind.to_lowercase() == plural;
            let in_group = group.is_empty() || resource.group == group;
            if named && in_group && capabilities.supports_operation(verbs::LIST) {
                return Ok((resource, capabilities.scope == Scope::Namespaced));
            }
        }
    }
    Err(WhyError::UnknownKind(word).into())
}

fn print_all(status: &ExplanationStatus, wide: bool) {
    output::line(&status.summary);
    if !status.pending.is_empty() {
        output::line(format_args!("decided now: {}", status.pending));
    }
    if !status.policy.is_empty() {
        output::line(format_args!("claimed by {}", status.policy));
    }
    for shadowed in &status.shadowed {
        output::line(format_args!("  also matched by {shadowed}"));
    }
    if !status.affinity.is_empty() {
        output::line(format_args!("affinity group: {}", status.affinity));
    }
    let as_decided = if status.pending.is_empty() { "" } else { ", as decided now" };
    if !status.monthly_cost.is_empty() {
        output::line(format_args!("allocated cost: {} per month{as_decided}", status.monthly_cost));
    }
    for (name, cost) in [
        ("added to the bill", &status.marginal_monthly_cost),
        ("of it paid in advance", &status.committed_monthly_cost),
    ] {
        if !cost.is_empty() && cost != "$0.00" {
            output::line(format_args!("{name}: {cost} per month{as_decided}"));
        }
    }
    for note in &status.notes {
        output::line(format_args!("note: {note}"));
    }
    if status.clusters.is_empty() {
        return;
    }
    output::line("");
    let mut headers = vec![
        "CLUSTER",
        "REPLICAS",
        "RULE",
        "WANTED",
        "FOUND",
        "ONE MORE COSTS",
        "ORDER",
        "CHANGES",
    ];
    if wide {
        headers.extend(["SCORE", "WOULD CHANGE"]);
    }
    let held = !status.pending.is_empty();
    if held {
        headers.insert(1, "HOLDS IT");
    }
    let mut table = Table::new(&headers);
    for it in &status.clusters {
        let mut cells = vec![
            it.cluster.clone(),
            it.replicas.map_or_else(|| "-".to_owned(), |it| it.to_string()),
            it.rule.clone(),
            it.wanted.clone(),
            it.found.clone(),
            it.marginal_cost.clone(),
            it.order.map_or_else(String::new, |it| it.to_string()),
            changes(it),
        ];
        if wide {
            cells.push(score(it));
            cells.push(it.would_change.clone());
        }
        if held {
            cells.insert(1, if it.holds { "yes" } else { "" }.to_owned());
        }
        table.row(cells);
    }
    table.print();
}

fn print_not(status: &ExplanationStatus, cluster: &str) {
    if status.clusters.is_empty() {
        // Nothing is decided for it, on this cluster or any other.
        output::line(&status.summary);
        return;
    }
    let Some(it) = status.clusters.iter().find(|it| it.cluster == cluster) else {
        output::line(undecided(status, cluster));
        return;
    };
    output::line(verdict(it));
    if !status.pending.is_empty() {
        output::line(format_args!("  decided now: {}", status.pending));
    }
    let order = it.order.map_or_else(String::new, |it| it.to_string());
    for (label, text) in [
        ("wanted", &it.wanted),
        ("found", &it.found),
        ("by policy", &it.policy),
        ("would change", &it.would_change),
        ("changes", &changes(it)),
        ("one more replica costs", &it.marginal_cost),
        ("place by that cost", &order),
    ] {
        if !text.is_empty() {
            output::line(format_args!("  {label}: {text}"));
        }
    }
    let score = score(it);
    if !score.is_empty() {
        output::line(format_args!("  score: {score}"));
    }
}

/// Why nothing is said of a cluster that there is: nobody decides for the template. One that there is not, the hub refuses
/// to speak of.
fn undecided(status: &ExplanationStatus, cluster: &str) -> String {
    format!("nothing decides on {cluster}: {}", status.summary)
}

/// Whether a copy is there, and what a decision would say of the cluster.
fn verdict(it: &ClusterExplanation) -> String {
    let cluster = &it.cluster;
    let chosen = it.rule == rule::CHOSEN;
    match (it.holds, it.replicas) {
        (true, Some(n)) if chosen => {
            format!("it is on {cluster}, with {}", counted(n, "replica", "replicas"))
        }
        (true, None) if chosen => format!("it is on {cluster}"),
        (true, _) => format!("it is on {cluster}, which would not be chosen now: {}", it.rule),
        (false, _) if chosen => format!("it is not on {cluster}, which would be chosen now"),
        (false, _) if it.eligible => {
            format!("{cluster} is eligible and was not chosen: {}", it.rule)
        }
        (false, _) => format!("{cluster} was refused: {}", it.rule),
    }
}

/// What would change the answer, by its kinds alone: `Tolerated, RoomFreed`; of several ways to be chosen, each.
fn changes(it: &ClusterExplanation) -> String {
    let kinds = |all: &Vec<Counterfactual>| {
        let kinds: Vec<String> = all.iter().map(kind).collect();
        kinds.join(", ")
    };
    if it.wins_if.is_empty() {
        return kinds(&it.changes);
    }
    let mut ways: Vec<String> = it.wins_if.iter().map(kinds).collect();
    ways.dedup();
    ways.join(" or ")
}

/// `RoomFreed`
fn kind(change: &Counterfactual) -> String {
    let value = serde_json::to_value(change).unwrap_or_default();
    value["change"].as_str().unwrap_or_default().to_owned()
}

fn score(it: &ClusterExplanation) -> String {
    let parts = it.score.iter().map(|part| {
        let hourly = federation_types::money::Money(part.micros);
        format!("{} {hourly}/h", part.name)
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_holds_a_copy_is_told_from_one_that_would() {
        let said = |holds: bool, rule: &str, eligible: bool| {
            let replicas = (rule == rule::CHOSEN).then_some(2);
            let (cluster, rule) = ("a".to_owned(), rule.to_owned());
            verdict(&ClusterExplanation {
                cluster,
                holds,
                rule,
                eligible,
                replicas,
                ..ClusterExplanation::default()
            })
        };
        assert_eq!(said(true, "Chosen", true), "it is on a, with 2 replicas");
        assert_eq!(said(true, "Taint", false), "it is on a, which would not be chosen now: Taint");
        assert_eq!(said(false, "Chosen", true), "it is not on a, which would be chosen now");
        assert_eq!(said(false, "Taint", false), "a was refused: Taint");
    }

    #[test]
    fn a_template_that_no_policy_claims_is_told_from_a_cluster_that_is_not_there() {
        let summary = "Deployment shop/web is claimed by no placement policy: it stays on the hub";
        let status = ExplanationStatus { summary: summary.into(), ..Default::default() };
        assert_eq!(undecided(&status, "a"), format!("nothing decides on a: {summary}"));
    }

    #[test]
    fn what_would_change_the_answer_is_named_by_its_kind() {
        let mut it = ClusterExplanation {
            changes: vec![Counterfactual::ClusterReady, Counterfactual::Replicas { to: 3 }],
            ..ClusterExplanation::default()
        };
        assert_eq!(changes(&it), "ClusterReady, Replicas");
        it.wins_if =
            vec![vec![Counterfactual::ClusterAccepted], vec![Counterfactual::Replicas { to: 3 }]];
        assert_eq!(changes(&it), "ClusterAccepted or Replicas");
    }
}
