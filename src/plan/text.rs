//! A plan as text and as Markdown: changed fields only, one line per cluster, checks, and the summary last.

use std::fmt::Write as _;

use federation_types::{
    money::Money,
    review::plan::{
        Action, Check, CheckResult, ClusterChange, Cost, ObjectAction, ObjectChange, PlanStatus,
        PlanSummary, TemplateChange,
    },
    words::counted,
};

/// For a terminal.
pub(crate) fn text(plan: &PlanStatus) -> String {
    let mut out = String::new();
    for it in plan.objects.iter().filter(|it| it.action != ObjectAction::None) {
        object(&mut out, it);
    }
    for it in &plan.templates {
        template(&mut out, it);
    }
    for it in &plan.checks {
        let line = check(it);
        out.push_str(&line);
        out.push('\n');
    }
    for note in &plan.notes {
        push(&mut out, format_args!("note: {note}\n"));
    }
    if !plan.checks.is_empty() || !plan.notes.is_empty() {
        out.push('\n');
    }
    out.push_str(&summary(plan));
    out.push('\n');
    out
}

/// For a review of a change: tables, and the summary last.
pub(crate) fn markdown(plan: &PlanStatus) -> String {
    let mut out = String::new();
    for it in plan.objects.iter().filter(|it| it.action != ObjectAction::None) {
        push(&mut out, format_args!("**{} {}**\n\n", verb(it.action), it.object));
        if let Some(refused) = &it.refused {
            push(&mut out, format_args!("refused: {}\n\n", refused.message));
        }
        for field in &it.fields {
            let (before, after) = (shown(&field.before), shown(&field.after));
            push(&mut out, format_args!("- `{}`: `{before}` → `{after}`\n", field.path));
        }
        if !it.fields.is_empty() {
            out.push('\n');
        }
    }
    if plan.templates.iter().any(|it| !it.changes.is_empty()) {
        out.push_str("| template | cluster | change | replicas | cause | per month | |\n");
        out.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for it in &plan.templates {
            for change in &it.changes {
                push(
                    &mut out,
                    format_args!(
                        "| {} | {} | {} | {} | {} | {} | {} |\n",
                        it.template,
                        change.cluster,
                        word(change.action),
                        replicas(change),
                        change.cause,
                        cost(change.cost).unwrap_or_default(),
                        held(change),
                    ),
                );
            }
        }
        out.push('\n');
    }
    for it in plan.templates.iter().filter(|it| !it.rollout.is_empty()) {
        push(&mut out, format_args!("- {}: {}\n", it.template, it.rollout));
    }
    for it in plan.templates.iter().filter(|it| !it.unmet.is_empty()) {
        push(&mut out, format_args!("- {}: {} ({})\n", it.template, it.unmet, it.reason));
    }
    for it in &plan.checks {
        push(&mut out, format_args!("- {}\n", check(it).trim_start()));
    }
    for note in &plan.notes {
        push(&mut out, format_args!("- note: {note}\n"));
    }
    push(&mut out, format_args!("\n**{}**\n", summary(plan)));
    out
}

/// The summary, in one line.
pub(crate) fn summary(plan: &PlanStatus) -> String {
    if plan.is_empty() {
        return match plan.summary.unmet {
            0 => "No changes.".to_owned(),
            1 => "No changes; 1 template does not get what it asks for.".to_owned(),
            n => format!("No changes; {n} templates do not get what they ask for."),
        };
    }
    let PlanSummary { templates, clusters, add, resize, remove, update, held, .. } = plan.summary;
    let mut line = format!(
        "Plan: {add} to add, {resize} to resize, {update} to update, {remove} to remove; {} on {}",
        counted(templates, "template", "templates"),
        counted(clusters, "cluster", "clusters")
    );
    if held > 0 {
        push(&mut line, format_args!("; {held} {}", if held == 1 { "waits" } else { "wait" }));
    }
    if plan.summary.approvals > 0 {
        let need = if plan.summary.approvals == 1 { "needs" } else { "need" };
        push(&mut line, format_args!("; {} {need} this approval", plan.summary.approvals));
    }
    if plan.summary.unmet > 0 {
        push(&mut line, format_args!("; {} unmet", plan.summary.unmet));
    }
    let more = plan.summary.replicas_after - plan.summary.replicas_before;
    if more != 0 {
        let replicas = if more.abs() == 1 { "replica" } else { "replicas" };
        push(&mut line, format_args!("; {more:+} {replicas}"));
    }
    if let Some(cost) = cost(plan.summary.cost) {
        push(&mut line, format_args!("; {cost}"));
    }
    line
}

fn object(out: &mut String, it: &ObjectChange) {
    push(out, format_args!("{} {}\n", sign(it.action), it.object));
    if let Some(refused) = &it.refused {
        push(out, format_args!("    refused: {}\n", refused.message));
    }
    let wide = it.fields.iter().map(|it| it.path.chars().count()).max().unwrap_or(0);
    for field in &it.fields {
        let (before, after) = (shown(&field.before), shown(&field.after));
        push(out, format_args!("    {:<wide$}   {before} → {after}\n", field.path));
    }
    out.push('\n');
}

fn template(out: &mut String, it: &TemplateChange) {
    push(out, format_args!("{}", it.template));
    if !it.policy.is_empty() {
        push(out, format_args!("   by {}", it.policy));
    }
    if it.cost.before_micros != it.cost.after_micros
        && let Some(cost) = cost(it.cost)
    {
        push(out, format_args!("   {cost}"));
    }
    out.push('\n');
    let rows: Vec<[String; 4]> = it
        .changes
        .iter()
        .map(|change| {
            [
                format!("{} {}", mark(change.action), change.cluster),
                format!("{} {}", word(change.action), replicas(change)).trim_end().to_owned(),
                change.cause.clone(),
                format!("{} {}", cost(change.cost).unwrap_or_default(), held(change))
                    .trim()
                    .to_owned(),
            ]
        })
        .collect();
    let wide = |at: usize| rows.iter().map(|it| it[at].chars().count()).max().unwrap_or(0);
    let (a, b, c) = (wide(0), wide(1), wide(2));
    for [name, what, cause, rest] in &rows {
        let row = format!("  {name:<a$}   {what:<b$}   {cause:<c$}   {rest}");
        push(out, format_args!("{}\n", row.trim_end()));
    }
    if !it.rollout.is_empty() {
        push(out, format_args!("  {}\n", it.rollout));
    }
    if !it.unmet.is_empty() {
        push(out, format_args!("  ! {}: {}\n", it.reason, it.unmet));
    }
    if !it.approval.is_empty() {
        out.push_str("  ! it moves only by an approval, which applying this plan gives\n");
    }
    out.push('\n');
}

fn check(it: &Check) -> String {
    let (mark, word) = match it.result {
        CheckResult::Passed => ('✓', "passed"),
        CheckResult::Waits => ('…', "waits"),
        CheckResult::Failed => ('✗', "failed"),
    };
    let line = format!("{mark} {}: {word}", it.name);
    if it.message.is_empty() { line } else { format!("{line}: {}", it.message) }
}

fn replicas(change: &ClusterChange) -> String {
    match (change.replicas_before, change.replicas_after) {
        (None, None) => String::new(),
        (None, Some(after)) if change.action == Action::Update => format!("as written → {after}"),
        (Some(before), None) if change.action == Action::Update => {
            format!("{before} → as written")
        }
        (before, after) if before == after => before.unwrap_or(0).to_string(),
        (before, after) => format!("{} → {}", before.unwrap_or(0), after.unwrap_or(0)),
    }
}

fn held(change: &ClusterChange) -> String {
    let wave = (!change.wave.is_empty()).then(|| format!("wave {}", change.wave));
    let held = (!change.held.is_empty()).then(|| format!("waits: {}", change.held));
    wave.into_iter().chain(held).collect::<Vec<_>>().join(", ")
}

/// `eks-a remove 2 → 0`
pub(crate) fn change(change: &ClusterChange) -> String {
    let words = [change.cluster.as_str(), word(change.action), &replicas(change)].join(" ");
    words.trim_end().to_owned()
}

/// `$381.00 → $560.00 per month (+$179.00)`; nothing of what costs nothing.
pub(crate) fn cost(cost: Cost) -> Option<String> {
    if cost == Cost::default() {
        return None;
    }
    Some(costs(cost))
}

fn costs(cost: Cost) -> String {
    let least = if cost.at_least { "at least " } else { "" };
    let (before, after) = (cost.before(), cost.after());
    if before == after {
        return format!("{least}{after} per month");
    }
    let more = after - before;
    let sign = if more >= Money::ZERO { "+" } else { "" };
    format!("{least}{before} → {after} per month ({sign}{more})")
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "(none)" } else { value }
}

fn verb(action: ObjectAction) -> &'static str {
    match action {
        ObjectAction::None => "unchanged",
        ObjectAction::Create => "create",
        ObjectAction::Change => "change",
        ObjectAction::Delete => "delete",
    }
}

fn sign(action: ObjectAction) -> char {
    match action {
        ObjectAction::None => ' ',
        ObjectAction::Create => '+',
        ObjectAction::Change => '~',
        ObjectAction::Delete => '-',
    }
}

fn mark(action: Action) -> char {
    match action {
        Action::Add => '+',
        Action::Remove => '-',
        Action::Resize | Action::Update => '~',
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Add => "add",
        Action::Resize => "resize",
        Action::Remove => "remove",
        Action::Update => "update",
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use federation_types::review::plan::{FieldChange, ObjectRef};

    use super::*;

    fn plan() -> PlanStatus {
        let object = |kind: &str, name: &str| ObjectRef {
            kind: kind.into(),
            namespace: "shop".into(),
            name: name.into(),
            ..ObjectRef::default()
        };
        let change =
            |cluster: &str, action, before, after, cause: &str, micros: (i64, i64)| ClusterChange {
                cluster: cluster.into(),
                action,
                replicas_before: before,
                replicas_after: after,
                cause: cause.into(),
                cost: Cost { before_micros: micros.0, after_micros: micros.1, at_least: false },
                held: String::new(),
                wave: String::new(),
            };
        let mut removed =
            change("eks-a", Action::Remove, Some(2), None, "PolicyChanged", (8_000_000, 0));
        removed.held = "Frozen".into();
        let cost = Cost { before_micros: 8_000_000, after_micros: 12_000_000, at_least: false };
        let mut plan = PlanStatus {
            objects: vec![ObjectChange {
                object: object("PlacementPolicy", "web"),
                action: ObjectAction::Change,
                fields: vec![FieldChange {
                    path: "spec.affinities[0].clusters.providers".into(),
                    before: r#"["eks"]"#.into(),
                    after: r#"["gke"]"#.into(),
                }],
                refused: None,
            }],
            templates: vec![TemplateChange {
                template: object("Deployment", "web"),
                policy: "PlacementPolicy shop/web".into(),
                changes: vec![
                    removed,
                    change("gke-b", Action::Add, None, Some(3), "Placed", (0, 12_000_000)),
                ],
                cost,
                ..TemplateChange::default()
            }],
            checks: vec![Check {
                name: "disruption".into(),
                result: CheckResult::Waits,
                message: "1 removal waits: Frozen".into(),
            }],
            ..PlanStatus::default()
        };
        plan.summarize();
        plan
    }

    #[test]
    fn a_plan_is_read_from_the_bottom() {
        let expected = r#"
~ PlacementPolicy shop/web
    spec.affinities[0].clusters.providers   ["eks"] → ["gke"]

Deployment shop/web   by PlacementPolicy shop/web   $8.00 → $12.00 per month (+$4.00)
  - eks-a   remove 2 → 0   PolicyChanged   $8.00 → $0.00 per month (-$8.00) waits: Frozen
  + gke-b   add 0 → 3      Placed          $0.00 → $12.00 per month (+$12.00)

… disruption: waits: 1 removal waits: Frozen

Plan: 1 to add, 0 to resize, 0 to update, 1 to remove; 1 template on 2 clusters; 1 waits; +1 replica; $8.00 → $12.00 per month (+$4.00)
"#;
        assert_eq!(text(&plan()), expected.trim_start_matches('\n'));
    }

    #[test]
    fn a_plan_fits_into_a_pull_request() {
        let markdown = markdown(&plan());
        assert!(markdown.contains(
            "| Deployment shop/web | gke-b | add | 0 → 3 | Placed | $0.00 → $12.00 per month (+$12.00) |  |"
        ));
        assert!(markdown.trim_end().ends_with("(+$4.00)**"), "{markdown}");
    }

    #[test]
    fn a_change_that_is_released_in_waves_says_so() {
        let mut plan = plan();
        let template = &mut plan.templates[0];
        template.changes[1].wave = "rest".into();
        let rollout = "released in 1 wave by RolloutStrategy shop/s: rest (needs approval)";
        template.rollout = rollout.into();
        let text = text(&plan);
        assert!(text.contains("(+$12.00) wave rest\n"), "{text}");
        assert!(text.contains(&format!("\n  {rollout}\n")), "{text}");
        assert!(markdown(&plan).contains(&format!("- Deployment shop/web: {rollout}\n")));
    }

    #[test]
    fn what_costs_nothing_says_nothing_of_money() {
        let mut plan = plan();
        plan.templates[0].cost = Cost::default();
        for it in &mut plan.templates[0].changes {
            it.cost = Cost::default();
            it.held.clear();
        }
        plan.summarize();
        let text = text(&plan);
        assert!(!text.contains('$'), "{text}");
        assert!(text.contains("  + gke-b   add 0 → 3      Placed\n"), "{text}");
        assert!(text.ends_with("; +1 replica\n"), "{text}");
    }

    #[test]
    fn no_change_says_so() {
        assert_eq!(text(&PlanStatus::default()), "No changes.\n");
    }
}
