//! `archipel status`: what is placed and how it fares, over all clusters.

mod unclaimed;

use std::collections::BTreeSet;

use clap::Args;
use federation_types::{
    budget::Freeze,
    cluster::MemberCluster,
    condition,
    names::Gvk,
    placement::{ClusterPlacement, CopyState, Placement, PlacementSpec, PlacementStatus},
    reason::{
        condition::{PLACED, READY},
        placed::OVER_LIMIT,
        rollout::{PROGRESSING, SOAKING},
    },
    words::counted,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use placement_controller::{gate::Fleet, index::template_key};
use serde::Serialize;

use self::unclaimed::Unclaimed;
use crate::{
    cluster::resume,
    freeze,
    hub::{self, Hub},
    output::{self, Failure, Format, Table},
};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How it is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

/// One template's line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    template: String,
    policy: String,
    clusters: i64,
    ready: i64,
    replicas: String,
    state: String,
    /// What is wrong, cluster by cluster.
    trouble: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    clusters: usize,
    clusters_ready: usize,
    /// Those that are not, each with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters_not_ready: Vec<String>,
    /// Those that are only observed (RULES 4.3).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters_paused: Vec<String>,
    /// The hub presumes that it is itself cut off (RULES 1.4).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut_off: bool,
    #[serde(skip_serializing_if = "Freeze::is_none")]
    frozen: Freeze,
    templates: Vec<Line>,
    /// What no policy claims: it stays on the hub (RULES 2.6).
    unclaimed: Vec<Unclaimed>,
    /// Kinds in which the user may not look for such objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unclaimed_unseen: Vec<String>,
}

/// How many clusters and unclaimed objects are named where their number is said.
const NAMED: usize = 3;

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.hub.client().await?;
        let report = report(&client, self.namespace.as_deref()).await?;
        if output::machine(self.output, &report)? {
            return Ok(());
        }
        let wide = self.output == Format::Wide;
        let Report {
            clusters,
            clusters_ready,
            clusters_not_ready,
            clusters_paused,
            cut_off,
            frozen,
            templates,
            ..
        } = &report;
        if *clusters > 0 {
            let others = not_ready_words(clusters_not_ready);
            output::line(format_args!("clusters: {clusters_ready} of {clusters} ready{others}"));
        }
        if !clusters_paused.is_empty() {
            output::line(format_args!(
                "paused, as they hold later generations than the hub: {} (`archipel cluster resume`)",
                clusters_paused.join(", ")
            ));
        }
        if *cut_off {
            output::line(
                "most of the fleet does not answer: the hub presumes that it is itself cut off, and changes nothing",
            );
        }
        if !frozen.is_none() {
            output::line(format_args!("frozen: {} (`archipel thaw`)", frozen.words()));
        }
        let settled = templates.iter().filter(|it| it.state == "Ready").count();
        output::line(format_args!("templates: {settled} of {} ready", templates.len()));
        if !wide && let Some(line) = unclaimed_line(&report.unclaimed) {
            output::line(line);
        }
        if wide && !report.unclaimed_unseen.is_empty() {
            output::line(format_args!(
                "not looked for among unclaimed objects, as you may not list them: {}",
                report.unclaimed_unseen.join(", ")
            ));
        }
        output::line("");
        if templates.is_empty() {
            let place = self.namespace.map_or(String::new(), |it| format!(" in namespace {it}"));
            output::line(format_args!(
                "nothing is placed{place} yet: apply a PlacementPolicy and an object that it selects"
            ));
            print_unclaimed(&report.unclaimed, wide);
            return Ok(());
        }
        let mut headers = vec!["NAMESPACE", "TEMPLATE", "CLUSTERS", "REPLICAS", "STATE"];
        if wide {
            headers.push("POLICY");
        }
        headers.push("TROUBLE");
        let mut table = Table::new(&headers);
        for line in templates {
            let mut cells = vec![
                line.namespace.clone(),
                line.template.clone(),
                format!("{}/{}", line.ready, line.clusters),
                line.replicas.clone(),
                line.state.clone(),
            ];
            if wide {
                cells.push(line.policy.clone());
            }
            cells.push(match line.trouble.as_slice() {
                [] => String::new(),
                [one] => one.clone(),
                [one, rest @ ..] if !wide => format!("{one} (+{} more)", rest.len()),
                all => all.join("; "),
            });
            table.row(cells);
        }
        table.print();
        print_unclaimed(&report.unclaimed, wide);
        Ok(())
    }
}

/// `; not ready: eks-1 (Unreachable), gke-2 (Unauthorized)`
fn not_ready_words(clusters: &[String]) -> String {
    let more = match clusters.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more (`archipel cluster list`)"),
    };
    let named = &clusters[..clusters.len().min(NAMED)];
    if named.is_empty() {
        return String::new();
    }
    format!("; not ready: {}{more}", named.join(", "))
}

/// A member that is not ready, and why: `eks-1 (Unreachable)`.
fn not_ready(member: &MemberCluster) -> Option<String> {
    let conditions = member.status.as_ref().map(|it| it.conditions.as_slice()).unwrap_or_default();
    let ready = condition::find(conditions, READY);
    if ready.is_some_and(|it| it.status == "True") {
        return None;
    }
    let why = ready.map_or("never reached", |it| it.reason.as_str());
    Some(format!("{} ({why})", member.name_any()))
}

/// `unclaimed: 4 objects stay on the hub, as no policy claims them: ConfigMap shop/a, … and 1 more (-o wide)`
fn unclaimed_line(unclaimed: &[Unclaimed]) -> Option<String> {
    let named: Vec<String> = unclaimed.iter().take(NAMED).map(ToString::to_string).collect();
    let count = counted(unclaimed.len(), "object", "objects");
    let (stay, them) = if unclaimed.len() == 1 { ("stays", "it") } else { ("stay", "them") };
    let more = match unclaimed.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more (-o wide)"),
    };
    let named = named.join(", ");
    (!unclaimed.is_empty()).then(|| {
        format!("unclaimed: {count} {stay} on the hub, as no policy claims {them}: {named}{more}")
    })
}

/// All of them, where there is room.
fn print_unclaimed(unclaimed: &[Unclaimed], wide: bool) {
    if !wide || unclaimed.is_empty() {
        return;
    }
    let mut table = Table::new(&["NAMESPACE", "UNCLAIMED"]);
    for it in unclaimed {
        table.row(vec![it.namespace.clone(), it.object.clone()]);
    }
    output::line("");
    table.print();
}

async fn report(client: &Client, namespace: Option<&str>) -> Result<Report, Failure> {
    let all = ListParams::default();
    if let Some(namespace) = namespace {
        hub::namespace_exists(client, namespace).await?;
    }
    // Who may see one namespace only is shown that, and no fleet.
    let hidden = |error: kube::Error| match error {
        kube::Error::Api(status) if status.code == 403 && namespace.is_some() => Ok(()),
        error => Err(error),
    };
    let members = match Api::<MemberCluster>::all(client.clone()).list(&all).await {
        Ok(members) => members.items,
        Err(error) => hidden(error).map(|()| Vec::new())?,
    };
    let frozen = match freeze::frozen(client).await {
        Ok(frozen) => frozen,
        Err(error) => hidden(error).map(|()| Freeze::default())?,
    };
    let cut_off = placement_controller::members::presume(members.iter()) == Fleet::CutOff;
    let clusters_not_ready: Vec<String> = members.iter().filter_map(not_ready).collect();
    let clusters_ready = members.len() - clusters_not_ready.len();
    let paused = members.iter().filter(|it| resume::paused(it).is_some());
    let clusters_paused = paused.map(ResourceExt::name_any).collect();
    let placements = match namespace {
        Some(namespace) => Api::<Placement>::namespaced(client.clone(), namespace),
        None => Api::<Placement>::all(client.clone()),
    };
    let mut placed = BTreeSet::new();
    let mut seen = |namespace: String, spec: &PlacementSpec, status: Option<PlacementStatus>| {
        let template = &spec.template;
        let gvk = Gvk::new(&template.api_version, &template.kind);
        placed.insert(template_key(&gvk, &namespace, &template.name));
        line(namespace, spec, &status.unwrap_or_default())
    };
    let mut templates: Vec<Line> = placements
        .list(&all)
        .await?
        .into_iter()
        .map(|it| seen(it.namespace().unwrap_or_default(), &it.spec, it.status.clone()))
        .collect();
    if namespace.is_none() {
        let cluster_placements = Api::<ClusterPlacement>::all(client.clone()).list(&all).await?;
        templates.extend(
            cluster_placements
                .into_iter()
                .map(|it| seen(String::new(), &it.spec.placement, it.status.clone())),
        );
    }
    let unclaimed = unclaimed::find(client, namespace, &placed).await?;
    templates.sort_by(|a, b| (&a.namespace, &a.template).cmp(&(&b.namespace, &b.template)));
    let clusters = members.len();
    Ok(Report {
        clusters,
        clusters_ready,
        clusters_not_ready,
        clusters_paused,
        cut_off,
        frozen,
        templates,
        unclaimed: unclaimed.objects,
        unclaimed_unseen: unclaimed.hidden,
    })
}

fn line(namespace: String, spec: &PlacementSpec, status: &PlacementStatus) -> Line {
    let placed = condition::find(&status.conditions, PLACED);
    let mut trouble: Vec<String> = Vec::new();
    if let Some(placed) = placed
        && placed.status != "True"
    {
        trouble.push(format!("{}: {}", placed.reason, placed.message));
    }
    for copy in &status.clusters {
        let well = matches!(
            copy.state,
            CopyState::Ready | CopyState::Pending | CopyState::Progressing | CopyState::Removing
        );
        if !well {
            let message = if copy.message.is_empty() { &copy.reason } else { &copy.message };
            trouble.push(format!("{}: {:?} {message}", copy.name, copy.state));
        }
        if copy.state == CopyState::Removing && copy.stale {
            let name = &copy.name;
            trouble.push(format!(
                "{name} does not answer: its copy goes when it does, or with `archipel cluster leave {name} --forget`"
            ));
        }
    }
    let held = spec.clusters.iter().filter(|it| !it.leaving.is_empty()).count();
    if held > 0
        && spec.outcome.status == "True"
        && ![PLACED, OVER_LIMIT].contains(&&*spec.outcome.reason)
    {
        trouble.push(format!("{}: {}", spec.outcome.reason, spec.outcome.message));
    }
    let rollout = spec.rollout.as_ref().filter(|it| it.reason != spec.outcome.reason);
    if let Some(it) = rollout.filter(|it| ![PROGRESSING, SOAKING].contains(&&*it.reason)) {
        trouble.push(format!("{}: {}", it.reason, it.message));
    }
    if spec.outcome.reason == OVER_LIMIT {
        trouble.push(format!("{OVER_LIMIT}: {}", spec.outcome.message));
    }
    let summary = &status.summary;
    let state = if spec.clusters.is_empty() && !spec.removing.is_empty() {
        "Removing"
    } else if !trouble.is_empty() {
        "Attention"
    } else if summary.ready >= summary.clusters && summary.clusters > 0 && rollout.is_none() {
        "Ready"
    } else {
        "Progressing"
    };
    let replicas = if summary.replicas == 0 && summary.ready_replicas == 0 {
        "-".to_owned()
    } else {
        format!("{}/{}", summary.ready_replicas, summary.replicas)
    };
    let policy = spec.policy_ref.as_ref().map(|it| format!("{}/{}", it.kind, it.name));
    Line {
        namespace,
        template: format!("{}/{}", spec.template.kind, spec.template.name),
        policy: policy.unwrap_or_default(),
        clusters: summary.clusters,
        ready: summary.ready,
        replicas,
        state: state.to_owned(),
        trouble,
    }
}

#[cfg(test)]
mod tests {
    use federation_types::{
        cluster::{MemberClusterSpec, MemberClusterStatus},
        placement::{CopyStatus, RemovedCluster},
    };

    use super::*;

    #[test]
    fn a_copy_that_cannot_be_removed_names_its_cluster_and_the_way_out() {
        let removed = RemovedCluster { name: "a".into(), ..RemovedCluster::default() };
        let spec = PlacementSpec { removing: vec![removed], ..PlacementSpec::default() };
        let copy = |stale| CopyStatus {
            name: "a".into(),
            state: CopyState::Removing,
            stale,
            ..CopyStatus::default()
        };
        let of = |stale| {
            let clusters = vec![copy(stale)];
            line("shop".into(), &spec, &PlacementStatus { clusters, ..PlacementStatus::default() })
        };
        let dark = of(true);
        assert_eq!(dark.state, "Removing");
        assert_eq!(
            dark.trouble,
            [
                "a does not answer: its copy goes when it does, or with `archipel cluster leave a --forget`"
            ]
        );
        assert!(of(false).trouble.is_empty());
    }

    #[test]
    fn clusters_that_are_not_ready_are_named_with_why() {
        let mut member = MemberCluster::new("a", MemberClusterSpec::default());
        assert_eq!(not_ready(&member).as_deref(), Some("a (never reached)"));
        let ready = |status: &str, reason: &str| condition::Condition {
            kind: READY.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        let status = |it| MemberClusterStatus { conditions: vec![it], ..Default::default() };
        member.status = Some(status(ready("False", "Unauthorized")));
        assert_eq!(not_ready(&member).as_deref(), Some("a (Unauthorized)"));
        member.status = Some(status(ready("True", "Ready")));
        assert_eq!(not_ready(&member), None);
        let some: Vec<String> = ["a (x)", "b (x)", "c (x)", "d (x)"].map(str::to_owned).into();
        assert_eq!(not_ready_words(&[]), "");
        assert_eq!(not_ready_words(&some[..2]), "; not ready: a (x), b (x)");
        assert_eq!(
            not_ready_words(&some),
            "; not ready: a (x), b (x), c (x) and 1 more (`archipel cluster list`)"
        );
    }

    #[test]
    fn rule_2_6_unclaimed_objects_are_counted_and_the_first_are_named() {
        let some = |count: usize| -> Vec<Unclaimed> {
            let object =
                |it| Unclaimed { namespace: "shop".to_owned(), object: format!("ConfigMap/{it}") };
            (0..count).map(object).collect()
        };
        assert_eq!(unclaimed_line(&some(0)), None);
        assert_eq!(
            unclaimed_line(&some(1)).unwrap(),
            "unclaimed: 1 object stays on the hub, as no policy claims it: ConfigMap shop/0"
        );
        assert_eq!(
            unclaimed_line(&some(5)).unwrap(),
            "unclaimed: 5 objects stay on the hub, as no policy claims them: ConfigMap shop/0, ConfigMap shop/1, \
             ConfigMap shop/2 and 2 more (-o wide)"
        );
    }
}
