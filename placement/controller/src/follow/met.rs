//! Whether what a template needs is where the template is, in words: of the Placement, and for `why`. PURE.

use federation_types::{
    names::ObjectKey,
    placement::{Dependency, PlacementSpec},
    reason::dependencies as code,
};

use super::{NAMED, meant, needed_key};
use crate::{
    claim::{Claim, never},
    index::{Index, Placed},
    outcome::outcome,
};

/// Says in a Placement whether what it needs is where it is. What is not known yet changes nothing that was said.
pub(crate) fn note(
    index: &Index,
    key: &ObjectKey,
    placed: Option<&Placed>,
    spec: &mut PlacementSpec,
) {
    spec.dependencies = None;
    if spec.needs.is_empty() {
        return;
    }
    let (mut lacking, mut unknown) = (Vec::new(), false);
    for it in spec.needs.iter().filter(|it| !it.optional) {
        match lack(index, key, spec, it) {
            Lack::None => (),
            Lack::Unknown => unknown = true,
            Lack::Some(reason, text) => lacking.push((reason, text)),
        }
    }
    let said = placed.and_then(|it| it.spec.dependencies.as_ref());
    if unknown && let Some(said) = said.filter(|it| it.status == "False") {
        spec.dependencies = Some(said.clone());
        return;
    }
    let (status, reason) = lacking.first().map_or(("True", code::MET), |it| ("False", it.0));
    let mut texts: Vec<String> = lacking.iter().take(NAMED).map(|it| it.1.clone()).collect();
    if lacking.len() > NAMED {
        texts.push(format!("and {} more", lacking.len() - NAMED));
    }
    spec.dependencies = Some(outcome(status, reason, texts.join("; ")));
}

/// For `why`: whom a template follows, and what follows it.
pub(crate) fn remarks(
    index: &Index,
    key: &ObjectKey,
    claim: &Claim,
    placed: Option<&Placed>,
) -> Vec<String> {
    let mut remarks = Vec::new();
    if !claim.users.is_empty() {
        let all = index.follow.needed.get(key).map_or(0, |it| it.users.len());
        let users: Vec<String> = claim.users.iter().map(ToString::to_string).collect();
        let more = all - users.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        remarks.push(format!("follows {}{more}", users.join(", ")));
    }
    let Some(spec) = placed.map(|it| &it.spec).filter(|it| !it.needs.is_empty()) else {
        return remarks;
    };
    let needs: Vec<String> =
        spec.needs.iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
    remarks.push(format!("takes along {}", needs.join(", ")));
    if let Some(said) = spec.dependencies.as_ref().filter(|it| it.status == "False") {
        remarks.push(format!("{}: {}", said.reason, said.message));
    }
    remarks
}

/// What is wrong with something that is needed.
enum Lack {
    None,
    Unknown,
    Some(&'static str, String),
}

fn lack(index: &Index, user: &ObjectKey, spec: &PlacementSpec, need: &Dependency) -> Lack {
    let key = needed_key(&user.namespace, need);
    let name = format!("{} {}", need.kind, need.name);
    let kind = index.kinds.get(&(key.gvk.group.clone(), key.gvk.kind.clone()));
    let missing = |why: &str| {
        let text = format!("{name} {why}: a cluster that has one of its own uses that");
        Lack::Some(code::MISSING, text)
    };
    let Some(template) = index.templates.get(&key) else {
        return match kind {
            Some(it) if it.missing => missing("is of a kind that the hub does not serve"),
            Some(it) if it.synced => missing("is not on the hub"),
            Some(_) | None => Lack::Unknown,
        };
    };
    if template.deleting {
        return missing("is being deleted");
    }
    if let Some(why) = never(&Index::facts(&key, template)) {
        return Lack::Some(code::NEVER, format!("{name} is never copied: {why}"));
    }
    let placed = index.placements.get(&key);
    let own = index.claim(&key, template).users.is_empty();
    if own && template.workload.has_pods() && placed.is_none() {
        let text = format!("{name} runs pods: it is placed by a policy of its own, or not at all");
        return Lack::Some(code::NEVER, text);
    }
    if index.follow.is_asked(&key) || index.in_flight.contains_key(&key) {
        return Lack::Unknown;
    }
    let has = meant(placed.map(|it| &it.spec));
    let out: Vec<&str> = meant(Some(spec))
        .into_iter()
        .filter(|it| !has.contains(it) && index.follow.is_needed_on(&key, it))
        .collect();
    if out.is_empty() {
        return Lack::None;
    }
    let policy = placed.and_then(|it| it.spec.policy_ref.as_ref()).filter(|_| own);
    let by = match policy {
        Some(it) => format!("by its own {} {}", it.kind, it.name),
        None => format!("(see `archipel why {}/{}`)", need.kind.to_lowercase(), need.name),
    };
    let text = format!("{name} is left out of {} {by}", some(&out));
    Lack::Some(code::LEFT_OUT, text)
}

/// `a, b`, or the first ten of more.
fn some(names: &[&str]) -> String {
    let first = names[..names.len().min(NAMED)].join(", ");
    match names.len().checked_sub(NAMED) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}
