//! Why: the same decision once more, with the texts that a decision leaves out.

use federation_types::{
    cluster::Taint,
    money::Money,
    policy::WhenUnsatisfiable,
    review::{ClusterExplanation, Counterfactual, ExplanationStatus},
    selector::ClusterSelector,
};

use crate::{
    cost,
    dependencies::is_follow,
    expression::Expressions,
    fleet::{BASE, ClusterId, Fleet},
    mask::{Check, Part, Refusal},
    place::{Decision, Outcome, Previous, place},
    policy::{CompiledPolicy, Mode, Selector},
    report::Rule,
    room::{self, Need, Room},
    workload::{Requests, Workload},
};

mod changes;
mod money;
mod notes;
mod wins;
mod words;

use words::{Text, jurisdiction, labels_text, taint};

/// Why the workload is where it is, and why not elsewhere; `only` one cluster, or all.
///
/// The room stays as it is: nothing is reserved.
pub fn explain(
    fleet: &Fleet,
    room: &Room,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    only: Option<ClusterId>,
) -> ExplanationStatus {
    let before = room;
    let mut room = room.clone();
    let decision = place(fleet, &mut room, workload, policy, previous);
    let estimate = decision.estimate(fleet, workload, policy);
    let group = decision.affinity.unwrap_or(0);
    let mut need = Need::default();
    need.read(fleet, workload, policy.all_on_spot());
    let usable = policy.namespace.as_ref().map(|it| fleet.usable_by(it));
    let check = Check { fleet, policy, group, usable: usable.as_ref() };
    let mut teller = Teller {
        fleet,
        room: before,
        workload,
        policy,
        previous,
        decision: &decision,
        check,
        need: &need,
        expressions: Expressions::default(),
        told: wins::told(fleet),
    };
    let mut clusters: Vec<ClusterExplanation> = (0..fleet.len())
        .map(ClusterId::of)
        .filter(|it| only.is_none_or(|only| only == *it))
        .map(|it| teller.cluster(it))
        .collect();
    if only.is_none() {
        notes::order(&mut clusters, &teller);
    }
    let affinity = teller.groups();
    let mut notes = estimate.notes();
    let regardless = matches!(policy.mode(workload), Mode::Duplicated | Mode::Weighted);
    if workload.has_pods() && regardless && !decision.clusters.is_empty() {
        notes.push("placed regardless of room".to_owned());
    }
    let parts = workload.components.iter().map(|it| &it.requests);
    let mut requests = parts.chain(workload.components.is_empty().then_some(&workload.requests));
    if workload.has_pods() && requests.all(|it| *it == Requests::default()) {
        notes.push("the template requests nothing: what a replica takes, and so what it costs, is not known".to_owned());
    }
    notes.extend(notes::approval(fleet, workload, policy, previous, &decision));
    if decision.gap > 0 {
        let gap = Money(decision.gap).per_month();
        notes.push(format!("within {gap} a month of the least cost"));
    }
    for (name, _) in &policy.points {
        let expired = |it: &&crate::fleet::Cluster| it.expired_scores.contains(name);
        notes.extend(
            fleet.clusters.iter().filter(expired).map(|it| {
                format!("the score {name} of {} has expired and counts as none", it.name)
            }),
        );
    }
    for it in &decision.absent {
        notes.push(format!("held by {}, which the inventory no longer has", it.name));
    }
    ExplanationStatus {
        policy: policy.name.clone(),
        shadowed: Vec::new(),
        summary: summary(fleet, workload, &decision),
        pending: String::new(),
        affinity,
        clusters,
        notes,
        monthly_cost: estimate.to_string(),
        marginal_monthly_cost: cost::marginal(fleet, before, workload, policy, previous, &decision)
            .map_or_else(|| "unknown".to_owned(), |it| it.to_string()),
        committed_monthly_cost: estimate.committed.to_string(),
    }
}

/// `Deployment shop/web: 3 replicas on 2 clusters: a 2, b 1`
fn summary(fleet: &Fleet, workload: &Workload, decision: &Decision) -> String {
    let on: Vec<_> = decision
        .clusters
        .iter()
        .map(|it| match it.replicas {
            Some(replicas) => format!("{} {replicas}", fleet.name(it.cluster)),
            None => fleet.name(it.cluster).to_owned(),
        })
        .collect();
    let where_ = match on.len() {
        0 => "on no cluster".to_owned(),
        1 => format!("on 1 cluster: {}", on[0]),
        n => format!("on {n} clusters: {}", on.join(", ")),
    };
    if decision.outcome.is_placed() {
        format!("{}: {where_}", workload.key)
    } else {
        format!("{}: {}; {where_}", workload.key, decision.outcome)
    }
}

struct Teller<'a> {
    fleet: &'a Fleet,
    room: &'a Room,
    workload: &'a Workload,
    policy: &'a CompiledPolicy,
    previous: &'a Previous,
    decision: &'a Decision,
    check: Check<'a>,
    need: &'a Need,
    expressions: Expressions,
    /// Of how many more clusters it is told with what they would be chosen.
    told: usize,
}

impl Teller<'_> {
    fn cluster(&mut self, id: ClusterId) -> ClusterExplanation {
        let rule = self.decision.report.rules[id.at()];
        let placed = self.decision.clusters.iter().find(|it| it.cluster == id);
        let text = match rule {
            Rule::Chosen => self.chosen(id),
            Rule::NotNeeded | Rule::Spread | Rule::Room | Rule::PriceUnknown | Rule::Dearer => {
                self.outdone(id, rule)
            }
            Rule::ApiNotServed => self.not_served(id),
            Rule::WorkloadAffinity | Rule::WorkloadAntiAffinity => self.company(rule),
            Rule::NotAccepted
            | Rule::NotReady
            | Rule::Leaving
            | Rule::Affinity
            | Rule::Excluded
            | Rule::Expression
            | Rule::ClusterSet
            | Rule::Taint
            | Rule::Residency
            | Rule::Limit
            | Rule::Near => match self.check.soft(id.at(), &mut self.expressions) {
                Some(refusal) => self.refused(id, refusal),
                None => Text::default(),
            },
        };
        let changes = self.changes(id, rule);
        let wins_if = self.wins_if(id, rule);
        let looked = wins_if.is_some();
        let wins_if = wins_if.unwrap_or_default();
        let would_change = match self.would_change(rule, &changes, &wins_if) {
            Some(told) => told,
            None if matches!(rule, Rule::NotNeeded | Rule::Dearer) => match looked {
                true => "nothing that was tried".to_owned(),
                false => format!("not looked into: ask for {} alone", self.fleet.name(id)),
            },
            None => text.change,
        };
        ClusterExplanation {
            cluster: self.fleet.name(id).to_owned(),
            holds: placed.is_some(),
            eligible: rule.eligible(),
            rule: rule.id().to_owned(),
            wanted: text.wanted,
            found: text.found,
            policy: text.policy,
            replicas: placed.and_then(|it| it.replicas),
            would_change,
            changes,
            wins_if,
            order: None,
            score: if rule.eligible() { self.score(id) } else { Vec::new() },
            marginal_cost: if rule.eligible() { self.marginal(id) } else { String::new() },
        }
    }

    /// In words what the changes say; `None` where nothing was found that would do.
    fn would_change(
        &self,
        rule: Rule,
        changes: &[Counterfactual],
        wins_if: &[Vec<Counterfactual>],
    ) -> Option<String> {
        let alternatives: Vec<String> = wins_if.iter().map(|it| changes::together(it)).collect();
        if !alternatives.is_empty() {
            return Some(alternatives.join("; or "));
        }
        if rule != Rule::PriceUnknown && !changes.is_empty() {
            let text = changes::together(changes);
            return Some(match rule {
                Rule::Spread => match &self.decision.outcome {
                    Outcome::Spread { key, .. } => {
                        format!("{text}; or a cluster of another {key} passes the rules")
                    }
                    _ => text,
                },
                Rule::Residency => {
                    format!("{text}; or it lies there in truth, which only its owner can say")
                }
                _ => text,
            });
        }
        let held: i64 = self.previous.clusters.iter().filter_map(|it| it.replicas).sum();
        let eligible = matches!(rule, Rule::NotNeeded | Rule::Dearer);
        (eligible && wins::stands(self.workload, held, self.policy.mode(self.workload))).then(
            || {
                "nothing by itself: what runs stays where it is, and only growth goes elsewhere"
                    .to_owned()
            },
        )
    }

    fn holds(&self, id: ClusterId) -> bool {
        self.previous.clusters.iter().any(|it| it.name == self.fleet.name(id))
    }

    /// The affinity group that a chosen cluster is of: the decision's, or one that it has flowed over into.
    fn group_of(&mut self, id: ClusterId) -> usize {
        let first = self.check.group;
        let mut found = first;
        for group in first..self.policy.groups.len() {
            self.check.group = group;
            let refusal = self.check.soft(id.at(), &mut self.expressions);
            let lies_in = !refusal.is_some_and(|it| {
                matches!(it.rule(), Rule::Affinity | Rule::Excluded | Rule::Expression)
            });
            if lies_in {
                found = group;
            }
            if lies_in || !self.policy.groups[group].overflows {
                break;
            }
        }
        self.check.group = first;
        found
    }

    /// The groups that hold copies, by name: `near`, or `near and far`.
    fn groups(&mut self) -> String {
        let chosen: Vec<ClusterId> = self.decision.clusters.iter().map(|it| it.cluster).collect();
        let mut groups: Vec<usize> = chosen.into_iter().map(|it| self.group_of(it)).collect();
        if groups.is_empty() {
            groups.push(self.check.group);
        }
        groups.sort_unstable();
        groups.dedup();
        let names: Vec<&str> = groups.into_iter().map(|it| self.policy.affinity_name(it)).collect();
        names.join(" and ")
    }

    fn chosen(&mut self, id: ClusterId) -> Text {
        let group = self.group_of(id);
        let found = match self.check.soft(id.at(), &mut self.expressions) {
            _ if group != self.check.group => {
                let (first, own) =
                    (self.policy.affinity_name(self.check.group), self.policy.affinity_name(group));
                format!("in {own}, as {first} is full; {}", self.room_text(id))
            }
            Some(refusal) if self.holds(id) => {
                format!("keeps what it holds; nothing new, by {}", refusal.rule().id())
            }
            _ => self.room_text(id),
        };
        Text { found, ..Text::default() }
    }

    fn room_text(&self, id: ClusterId) -> String {
        if !self.workload.has_pods() {
            return String::new();
        }
        if !self.workload.components.is_empty() {
            let all = self.room.holds(id, &room::parts(self.fleet, self.workload));
            return format!("{} for all its parts together", if all { "room" } else { "no room" });
        }
        let free = self.room.capacity(id, self.need);
        format!("room for {free} more of {}", room::describe(self.workload))
    }

    fn outdone(&self, id: ClusterId, rule: Rule) -> Text {
        match rule {
            Rule::Room if !self.workload.components.is_empty() => Text::new(
                "room for all its parts together",
                self.room_text(id),
                "room for every part at once on the cluster's nodes",
            ),
            Rule::Room => Text::new(
                format!("a node with {} free", room::describe(self.workload)),
                self.room_text(id),
                format!("{} free on one node", self.short_of(id)),
            ),
            Rule::Spread => {
                let missing = self.policy.spread.iter().find(|rule| {
                    let domains = self.fleet.domains(&rule.key);
                    rule.hard && domains.of[id.at()] == crate::fleet::Domains::NONE
                });
                if let (None, Outcome::Spread { key, min, found }) =
                    (missing, &self.decision.outcome)
                {
                    return Text::new(
                        format!("{min} domains of {key}"),
                        format!("{found} can be had"),
                        format!("a cluster of another {key} that passes the rules"),
                    );
                }
                let key = missing.map_or("", |it| it.key.as_str());
                Text::new(
                    format!("a {key}"),
                    "none",
                    format!("a {key} on the cluster, or no spread over it"),
                )
            }
            Rule::PriceUnknown => Text::new(
                "a known price",
                "no price for its nodes",
                "a price in a PriceBook for its nodes",
            ),
            Rule::Dearer => {
                Text::new("the least cost", format!("{} for one more", self.marginal(id)), "")
            }
            _ => Text::new("", self.room_text(id), ""),
        }
    }

    /// By how much the roomiest node is short.
    fn short_of(&self, id: ClusterId) -> String {
        let groups = self.room.groups(id);
        let best = groups.iter().filter(|it| self.need.admits(it.class)).max_by_key(|it| it.free);
        let Some(best) = best else { return room::describe(self.workload) };
        let mut short = Vec::new();
        for (at, name) in BASE.iter().enumerate() {
            let missing = self.need.amounts[at] - best.free[at];
            if missing > 0 {
                short.push(format!("{missing} more {name}"));
            }
        }
        if short.is_empty() { room::describe(self.workload) } else { short.join(", ") }
    }

    fn not_served(&self, id: ClusterId) -> Text {
        let found = if self.fleet.cluster(id).has_apis {
            "not among what the cluster serves"
        } else {
            "the cluster has not said what it serves"
        };
        let api = self.workload.api.as_str();
        Text::new(api, found, format!("the cluster serves {api}"))
    }

    /// Where the other workloads are, and what would bring or take them away.
    fn company(&self, rule: Rule) -> Text {
        let (spec, beside) = (&self.policy.spec, &self.workload.beside);
        if is_follow(spec) {
            let there = beside.affinity.iter().flat_map(|it| &it.clusters);
            let there: Vec<&str> = there.map(String::as_str).collect();
            return Text::new(
                "a cluster where something needs it",
                format!("it is needed on {}", there.join(", ")),
                "a template that needs it placed there",
            );
        }
        let near = rule == Rule::WorkloadAffinity;
        let (terms, known) = if near {
            (&spec.workload_affinity, &beside.affinity)
        } else {
            (&spec.workload_anti_affinity, &beside.anti_affinity)
        };
        let wanted: Vec<_> = terms
            .iter()
            .filter(|it| it.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway))
            .map(|it| format!("{} of {}", it.topology_key, labels_text(&it.label_selector)))
            .collect();
        let mut found: Vec<&str> =
            known.iter().flat_map(|it| &it.clusters).map(String::as_str).collect();
        found.sort_unstable();
        found.dedup();
        let found = if found.is_empty() {
            "they are placed nowhere".to_owned()
        } else {
            format!("they are on {}", found.join(", "))
        };
        let (word, change) = if near {
            ("in the", "one of them placed there")
        } else {
            ("in no", "none of them placed there")
        };
        Text::new(format!("{word} {}", wanted.join(", ")), found, change)
    }

    fn refused(&self, id: ClusterId, refusal: Refusal) -> Text {
        let cluster = self.fleet.cluster(id);
        match refusal {
            Refusal::Leaving => Text::new("a cluster that stays", "it is leaving", ""),
            Refusal::NotAccepted => Text::new(
                "an accepted cluster",
                "spec.accepted is false",
                format!("spec.accepted of MemberCluster {} set to true", cluster.name),
            ),
            Refusal::NotReady => Text::new(
                "a ready cluster",
                "it does not answer or is not well",
                "it is Ready again",
            ),
            Refusal::Namespace => {
                let namespace = self.policy.namespace.clone().unwrap_or_default();
                Text::new(
                    format!("a cluster in a ClusterSet that serves {namespace}"),
                    "none holds it",
                    format!("a ClusterSet that holds {} and serves {namespace}", cluster.name),
                )
            }
            Refusal::Affinity(part) => {
                let group = &self.policy.groups[self.check.group];
                self.selector(id, &group.selector, part)
            }
            Refusal::Limit(at, part) => {
                let limit = &self.policy.limits[at];
                let text = limit
                    .clusters
                    .as_ref()
                    .map(|it| self.selector(id, it, part))
                    .unwrap_or_default();
                Text { policy: limit.policy.clone(), ..text }
            }
            Refusal::LimitJurisdiction(at) => {
                let limit = &self.policy.limits[at];
                let text = jurisdiction(&limit.jurisdictions, &cluster.spec.jurisdiction);
                Text { policy: limit.policy.clone(), ..text }
            }
            Refusal::Residency => {
                let wanted = self.policy.spec.residency.as_ref().map(|it| &it.jurisdictions);
                jurisdiction(wanted.map_or(&[], Vec::as_slice), &cluster.spec.jurisdiction)
            }
            Refusal::Taint(at) | Refusal::TaintForNow(at) => self.taint(&cluster.spec.taints[at]),
            Refusal::Near(at) => {
                let near = &self.policy.spec.near[at];
                let services = cluster.spec.services.iter().filter(|it| it.name == near.service);
                let found = match services.map(|it| it.latency_ms).min() {
                    Some(ms) => format!("{ms} ms"),
                    None => "it is not near".to_owned(),
                };
                match near.max_latency_ms {
                    Some(max) => Text::new(
                        format!("{} within {max} ms", near.service),
                        found,
                        "a nearer service, or a larger maxLatencyMs",
                    ),
                    None => {
                        Text::new(format!("{} near", near.service), found, "the service near it")
                    }
                }
            }
            Refusal::NoWeight => {
                Text::new("a weight", "no weight of the policy matches", "a weight that matches")
            }
        }
    }

    /// Of a taint that the policy itself tolerates, the limit that does not allow it.
    fn taint(&self, refused: &Taint) -> Text {
        let found = taint(refused);
        let own = self.policy.spec.tolerations.iter().any(|it| it.tolerates(refused));
        let limit = self.policy.limits.iter().filter(|_| own).find_map(|limit| {
            let keys = limit.tolerations.as_ref().filter(|keys| !keys.contains(&refused.key))?;
            Some((limit, keys))
        });
        match limit {
            Some((limit, keys)) => Text {
                policy: limit.policy.clone(),
                ..Text::new(
                    match keys.as_slice() {
                        [] => "no taint at all".to_owned(),
                        keys => format!("no taint but those of the limit: {}", keys.join(", ")),
                    },
                    found,
                    format!("{} among the tolerations of the limit", refused.key),
                )
            },
            None => Text::new(
                "only taints that the policy tolerates",
                found.clone(),
                format!("a toleration of {found}"),
            ),
        }
    }

    fn selector(&self, id: ClusterId, selector: &Selector, part: Part) -> Text {
        let cluster = self.fleet.cluster(id);
        let spec: &ClusterSelector = &selector.spec;
        let one_of = |wanted: &[String]| wanted.join(", ");
        let (wanted, found, field) = match part {
            Part::Names => (one_of(&spec.names), cluster.name.clone(), "names"),
            Part::Exclude => {
                (format!("not {}", one_of(&spec.exclude)), cluster.name.clone(), "exclude")
            }
            Part::Providers => {
                (one_of(&spec.providers), cluster.spec.provider.clone(), "providers")
            }
            Part::Regions => (one_of(&spec.regions), cluster.spec.region.clone(), "regions"),
            Part::Zones => (one_of(&spec.zones), one_of(&cluster.spec.zones), "zones"),
            Part::Labels => {
                let labels: Vec<_> =
                    cluster.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                (labels_text(&spec.label_selector), labels.join(","), "labelSelector")
            }
            Part::Sets => {
                let found = match &self.policy.namespace {
                    Some(it) => format!("in none of them that serves {it}"),
                    None => "in none of them".to_owned(),
                };
                (one_of(&spec.sets), found, "sets")
            }
            Part::Expression(at) => {
                let expression = &selector.expressions[at];
                (expression.text.clone(), expression.outcome(cluster), "expressions")
            }
        };
        let found = if found.is_empty() { "none".to_owned() } else { found };
        Text::new(wanted, found, format!("{field} that let the cluster in"))
    }
}
