//! One look at a time, on clusters that are words: `a:r1` runs r1, `a:r2+` is ready in r2, `a:r2!` failed in it, `a:r1*`
//! does not answer, `a:r1=` is frozen, `a` waits for a copy.

use federation_types::rollout::RolloutStrategySpec;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_000_000;

struct Case {
    strategy: Strategy,
    names: Vec<String>,
    said: RolloutSpec,
    status: RolloutStatus,
    now: i64,
    closed: Option<String>,
}

fn wave_of(name: &str) -> usize {
    usize::from(name >= "b") + usize::from(name >= "d")
}

impl Case {
    /// Wave one holds a, wave two b and c, the rest all others.
    fn new(one: &Value, two: &Value, more: &Value) -> Self {
        let mut spec = json!({"waves": [{"name": "one"}, {"name": "two"}]});
        for (at, more) in [one, two].into_iter().enumerate() {
            for (field, value) in more.as_object().unwrap() {
                spec["waves"][at][field] = value.clone();
            }
        }
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: RolloutStrategySpec = serde_json::from_value(spec).unwrap();
        Self {
            strategy: Strategy::of("shop/s".into(), &spec),
            names: ["one", "two", "rest"].map(str::to_owned).to_vec(),
            said: RolloutSpec::default(),
            status: RolloutStatus::default(),
            now: NOW,
            closed: None,
        }
    }

    fn plain() -> Self {
        Self::new(&json!({}), &json!({}), &json!({}))
    }

    /// Looks once, keeps what is written, and says what each cluster is given and where it stands.
    fn look(&mut self, to: &str, clusters: &str) -> String {
        self.look_at(to, clusters, false)
    }

    fn look_at(&mut self, to: &str, clusters: &str, at_once: bool) -> String {
        let members: Vec<Member<'_>> = clusters
            .split_whitespace()
            .map(|it| {
                let (name, rest) = it.split_once(':').unwrap_or((it, ""));
                let revision = rest.trim_end_matches(['+', '!', '*', '=']);
                let health = match rest.chars().last() {
                    Some('+') => Health::Ready,
                    Some('!') => Health::Failed(self.now, "it crashes"),
                    Some('*') => Health::Dark,
                    Some('=') => Health::Held,
                    _ => Health::Waiting,
                };
                let wave = wave_of(name);
                let revision = (!revision.is_empty()).then_some(revision);
                Member { name, wave: (wave, &self.names[wave]), revision, at_once, health }
            })
            .collect();
        let closed = self.closed.clone();
        let step = step(&Input {
            strategy: &self.strategy,
            to,
            members: &members,
            said: &self.said,
            before: &self.status,
            closed: &|_| closed.clone(),
            now: self.now,
        });
        if step.begins {
            self.said = RolloutSpec {
                revision: to.into(),
                paused: self.said.paused,
                retry: self.said.retry.clone(),
                ..RolloutSpec::default()
            };
        }
        let given: Vec<String> = step
            .revisions
            .iter()
            .map(|(name, it)| format!("{name}:{}", it.as_deref().unwrap_or("-")))
            .collect();
        let mut shown = given.join(" ");
        if let Some(status) = step.status {
            shown = format!("{shown} | {:?} {} {}", status.state, status.wave, status.step);
            self.status = status;
        }
        shown.trim_end().to_owned()
    }
}

#[test]
fn a_new_revision_goes_wave_by_wave() {
    let mut case = Case::plain();
    assert_eq!(case.look("r1", "a:r1+ b:r1+ c:r1+ d:r1+"), "a:r1 b:r1 c:r1 d:r1");
    let first = case.look("r2", "a:r1 b:r1 c:r1 d:r1");
    assert_eq!(first, "a:r2 b:r1 c:r1 d:r1 | Progressing one 1/3");
    // Being ready in the old revision is no answer.
    assert_eq!(case.look("r2", "a:r2 b:r1 c:r1 d:r1"), first);
    let second = case.look("r2", "a:r2+ b:r1 c:r1 d:r1");
    assert_eq!(second, "a:r2 b:r2 c:r2 d:r1 | Progressing two 2/3");
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2 d:r1"), second);
    let third = case.look("r2", "a:r2+ b:r2+ c:r2+ d:r1");
    assert_eq!(third, "a:r2 b:r2 c:r2 d:r2 | Progressing rest 3/3");
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2+ d:r2+"), "a:r2 b:r2 c:r2 d:r2 | Completed");
    assert_eq!(
        case.look("r2", "a:r2+ b:r2+ c:r2+ d:r2+"),
        "a:r2 b:r2 c:r2 d:r2",
        "and says no more"
    );
    assert_eq!((case.status.from.as_str(), case.status.to.as_str()), ("r1", "r2"));
}

#[test]
fn no_more_than_so_many_are_on_their_way_at_a_time() {
    let mut case = Case::new(&json!({}), &json!({"maxConcurrent": 1}), &json!({}));
    case.look("r2", "a:r1 b:r1 c:r1");
    assert_eq!(case.look("r2", "a:r2+ b:r1 c:r1"), "a:r2 b:r2 c:r1 | Progressing two 2/2");
    assert_eq!(case.look("r2", "a:r2+ b:r2 c:r1"), "a:r2 b:r2 c:r1 | Progressing two 2/2");
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r1"), "a:r2 b:r2 c:r2 | Progressing two 2/2");
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2+"), "a:r2 b:r2 c:r2 | Completed");
}

#[test]
fn a_soak_is_counted_from_stored_times_and_begins_anew_with_whoever_is_ready_no_more() {
    let mut case = Case::new(&json!({"soak": "10m"}), &json!({}), &json!({}));
    case.look("r2", "a:r1 b:r1");
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Soaking one 1/2");
    case.now += 599;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Soaking one 1/2");
    case.now += 10;
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Soaking one 1/2");
    // The hub is started anew: nothing but what was written is known.
    case.status = serde_json::from_value(serde_json::to_value(&case.status).unwrap()).unwrap();
    case.now += 600;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r2 | Progressing two 2/2");
}

#[test]
fn a_wave_that_asks_waits_for_its_approval_and_for_no_other_revisions() {
    let mut case = Case::new(&json!({}), &json!({"approval": "Required"}), &json!({}));
    case.look("r2", "a:r1 b:r1");
    let waits = "a:r2 b:r1 | WaitingForApproval two 2/2";
    assert_eq!(case.look("r2", "a:r2+ b:r1"), waits);
    case.said.approved = vec!["one".into()];
    assert_eq!(case.look("r2", "a:r2+ b:r1"), waits);
    case.said = RolloutSpec {
        revision: "r1".into(),
        approved: vec!["two".into()],
        ..RolloutSpec::default()
    };
    assert_eq!(case.look("r2", "a:r2+ b:r1"), waits);
    case.said.revision = "r2".into();
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r2 | Progressing two 2/2");
    // What was approved for one change is not for the next.
    case.look("r2", "a:r2+ b:r2+");
    case.look("r3", "a:r2 b:r2");
    assert_eq!(case.look("r3", "a:r3+ b:r2"), "a:r3 b:r2 | WaitingForApproval two 2/2");
}

#[test]
fn a_gate_holds_and_one_that_stays_closed_is_a_failure() {
    let mut case = Case::plain();
    case.closed = Some("errors".into());
    case.look("r2", "a:r1 b:r1");
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Gated one 1/2");
    case.now += 600;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Gated one 1/2");
    case.now += 1;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | Paused one 1/2");
    assert_eq!(case.status.failure, "GateClosed");
    assert!(case.status.failure_message.contains("wave one"), "{}", case.status.failure_message);
    case.closed = None;
    assert_eq!(
        case.look("r2", "a:r2+ b:r1"),
        "a:r2 b:r1 | Paused one 1/2",
        "until somebody says so"
    );
    case.said.retry = "again".into();
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r2 | Progressing two 2/2");
}

#[test]
fn a_failure_pauses_and_only_what_came_after_the_release_is_one() {
    let mut case = Case::plain();
    // Already failing before: its answer to the new revision is awaited.
    case.look("r2", "a:r1! b:r1");
    let mut early = Case::plain();
    early.look("r2", "a:r1 b:r1");
    early.now -= 1;
    assert_eq!(early.look("r2", "a:r2! b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    case.now += 5;
    assert_eq!(case.look("r2", "a:r2! b:r1"), "a:r2 b:r1 | Paused one 1/2");
    assert_eq!(case.status.failure_message, "a: it crashes");
    assert_eq!(
        case.look("r2", "a:r2+ b:r1"),
        "a:r2 b:r1 | Paused one 1/2",
        "until somebody says so"
    );
    case.said.retry = "again".into();
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r2 | Progressing two 2/2");
}

#[test]
fn rule_4_6_who_takes_too_long_fails_but_not_while_it_is_held() {
    let mut case = Case::new(&json!({}), &json!({}), &json!({"progressDeadline": "5m"}));
    case.look("r2", "a:r1 b:r1");
    case.now += 300;
    assert_eq!(case.look("r2", "a:r2= b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    case.now += 3_000;
    assert_eq!(case.look("r2", "a:r2= b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Progressing one 1/2", "thawed");
    case.now += 300;
    case.said.paused = true;
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Paused one 1/2");
    case.now += 3_000;
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Paused one 1/2");
    assert_eq!(case.status.failure, "");
    case.said.paused = false;
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    case.now += 301;
    assert_eq!(case.look("r2", "a:r2 b:r1"), "a:r2 b:r1 | Paused one 1/2");
    assert_eq!(case.status.failure, "ProgressDeadlineExceeded");
    assert_eq!(case.status.failure_message, "a was not ready within 5m");
}

#[test]
fn a_failure_rolls_back_where_the_strategy_says_so_and_stays_until_a_retry_or_a_new_revision() {
    let mut case = Case::new(&json!({}), &json!({}), &json!({"onFailure": "RollBack"}));
    case.look("r2", "a:r1 b:r1 d:r1");
    case.look("r2", "a:r2+ b:r1 d:r1");
    case.now += 5;
    let back = "a:r1 b:r1 d:r1 | Aborted two 2/3";
    assert_eq!(case.look("r2", "a:r2+ b:r2! d:r1"), back);
    assert_eq!(case.look("r2", "a:r1 b:r1 d:r1"), back, "it is not tried again by itself");
    let mut newer = Case { said: case.said.clone(), status: case.status.clone(), ..Case::plain() };
    assert_eq!(newer.look("r3", "a:r1 b:r1 d:r1"), "a:r3 b:r1 d:r1 | Progressing one 1/3");
    assert_eq!(newer.status.from, "r1");
    case.said.retry = "again".into();
    assert_eq!(case.look("r2", "a:r1 b:r1 d:r1"), "a:r2 b:r1 d:r1 | Progressing one 1/3");
    assert_eq!(case.status.failure, "");
}

#[test]
fn an_abort_returns_everywhere_and_undoes_what_is_complete() {
    let mut case = Case::plain();
    case.look("r2", "a:r1 b:r1");
    case.said.aborted = true;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r1 b:r1 | Aborted one 1/2");
    // Taken back by a retry only.
    case.said.aborted = false;
    assert_eq!(case.look("r2", "a:r1 b:r1"), "a:r1 b:r1 | Aborted one 1/2");
    case.said.retry = "again".into();
    case.look("r2", "a:r1 b:r1");
    case.look("r2", "a:r2+ b:r1");
    assert_eq!(case.look("r2", "a:r2+ b:r2+"), "a:r2 b:r2 | Completed");
    case.said.aborted = true;
    assert_eq!(case.look("r2", "a:r2+ b:r2+"), "a:r1 b:r1 | Aborted");
}

#[test]
fn a_newer_revision_begins_with_the_first_wave_and_the_last_good_one_stays() {
    let mut case = Case::plain();
    case.look("r2", "a:r1 b:r1 d:r1");
    case.look("r2", "a:r2+ b:r1 d:r1");
    assert_eq!(case.look("r3", "a:r2 b:r2 d:r1"), "a:r3 b:r2 d:r1 | Progressing one 1/3");
    assert_eq!(case.status.from, "r1");
    // Back to what was good: that needs no waves.
    assert_eq!(case.look("r1", "a:r3 b:r2 d:r1"), "a:r1 b:r1 d:r1 | Completed");
}

#[test]
fn availability_waits_for_no_wave_and_gets_what_is_known_to_be_good() {
    let mut case = Case::new(&json!({}), &json!({"approval": "Required"}), &json!({}));
    case.look("r2", "a:r1 b:r1");
    // c takes the place of something lost while the change waits.
    let waits = "a:r2 b:r1 c:r1 | WaitingForApproval two 2/2";
    assert_eq!(case.look_at("r2", "a:r2+ b:r1 c", true), waits);
    // A wave that is done gets the new one.
    case.said.approved = vec!["two".into()];
    case.look("r2", "a:r2+ b:r1 c:r1 d:r1");
    assert_eq!(
        case.look_at("r2", "a:r2+ b:r2+ c:r2+ d:r1 e", true),
        "a:r2 b:r2 c:r2 d:r2 e:r2 | Progressing rest 3/3"
    );
}

#[test]
fn a_planned_move_waits_for_its_wave() {
    let mut case = Case::new(&json!({}), &json!({"approval": "Required"}), &json!({}));
    assert_eq!(case.look("r1", "a:r1+ b d:r1+"), "a:r1 b:- d:r1 | WaitingForApproval two 1/1");
    case.said.approved = vec!["two".into()];
    assert_eq!(case.look("r1", "a:r1+ b d:r1+"), "a:r1 b:r1 d:r1 | Progressing two 1/1");
    assert_eq!(case.look("r1", "a:r1+ b:r1+ d:r1+"), "a:r1 b:r1 d:r1 | Completed");
}

#[test]
fn who_does_not_answer_is_not_waited_for_as_long_as_another_shows_that_it_works() {
    let mut case = Case::plain();
    case.look("r2", "a:r1 b:r1 c:r1* d:r1");
    let second = case.look("r2", "a:r2+ b:r1 c:r1* d:r1");
    assert_eq!(second, "a:r2 b:r2 c:r1 d:r1 | Progressing two 2/3");
    // Its wave is done: it gets the revision when it is back.
    let third = case.look("r2", "a:r2+ b:r2+ c:r1* d:r1");
    assert_eq!(third, "a:r2 b:r2 c:r2 d:r2 | Progressing rest 3/3");
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2* d:r2+"), "a:r2 b:r2 c:r2 d:r2 | Completed");
    let mut alone = Case::plain();
    alone.look("r2", "a:r1* b:r1");
    alone.now += 10_000;
    assert_eq!(
        alone.look("r2", "a:r1* b:r1"),
        "a:r1 b:r1 | Progressing one 1/2",
        "nothing is shown"
    );
}

#[test]
fn a_pause_releases_nothing_and_a_strategy_that_changes_is_read_anew() {
    let mut case = Case::plain();
    case.said.paused = true;
    assert_eq!(case.look("r2", "a:r1 b:r1"), "a:r1 b:r1 | Paused one 1/2");
    case.said.paused = false;
    assert_eq!(case.look("r2", "a:r1 b:r1"), "a:r2 b:r1 | Progressing one 1/2");
    let asking = Case::new(&json!({}), &json!({"approval": "Required"}), &json!({}));
    case.strategy = asking.strategy;
    assert_eq!(case.look("r2", "a:r2+ b:r1"), "a:r2 b:r1 | WaitingForApproval two 2/2");
}

#[test]
fn a_hub_that_was_stopped_between_its_two_writes_goes_on() {
    let mut case = Case::plain();
    let first = case.look("r2", "a:r1 b:r1");
    // The Rollout says that a is given r2, the Placement does not say so yet.
    assert_eq!(case.look("r2", "a:r1 b:r1"), first);
}

#[test]
fn without_a_strategy_nothing_new_is_released() {
    let member = |name, revision, at_once| Member {
        name,
        wave: (0, ""),
        revision,
        at_once,
        health: Health::Waiting,
    };
    let members =
        [member("a", Some("r1"), false), member("b", None, true), member("c", None, false)];
    let kept = held(&members, "r2");
    let show: Vec<_> = kept.iter().map(|(name, it)| (name.as_str(), it.as_deref())).collect();
    assert_eq!(show, [("a", Some("r1")), ("b", Some("r1")), ("c", None)]);
}
