//! One look at a time, on clusters that are words: `a:r1` runs r1, `a:r2+` is ready in r2, `a:r2!` failed in it, `a:r1*`
//! does not answer, `a:r1=` is frozen, `a` waits for a copy.

use federation_types::rollout::RolloutStrategySpec;
use proptest::{
    prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as _,
};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_000_000;

struct Case {
    strategy: Strategy,
    names: Vec<String>,
    together: bool,
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
            together: false,
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
            together: self.together,
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
fn what_was_aborted_and_written_anew_is_tried_again() {
    let mut case = Case::plain();
    case.look("r2", "a:r1 d:r1");
    case.said.aborted = true;
    assert_eq!(case.look("r2", "a:r2 d:r1"), "a:r1 d:r1 | Aborted one 1/2");
    assert_eq!(case.look("r1", "a:r1+ d:r1+"), "a:r1 d:r1 | Completed");
    assert_eq!(case.look("r1", "a:r1+ d:r1+"), "a:r1 d:r1");
    assert_eq!(case.look("r2", "a:r1 d:r1"), "a:r2 d:r1 | Progressing one 1/2");
    assert_eq!(case.status.from, "r1");
}

#[test]
fn a_move_into_a_wave_that_is_over_waits_and_is_waited_for() {
    let mut case = Case::new(&json!({}), &json!({}), &json!({}));
    case.look("r2", "a:r1 b:r1 d:r1");
    case.look("r2", "a:r2+ b:r1 d:r1");
    case.said.paused = true;
    assert_eq!(case.look("r2", "a:r2+ b:r2+ d:r1"), "a:r2 b:r2 d:r1 | Paused two 2/3");
    case.said.paused = false;
    assert_eq!(case.look("r2", "a:r2+ b:r2+ d:r1"), "a:r2 b:r2 d:r2 | Progressing rest 3/3");
    case.said.paused = true;
    // d is left for c, whose wave is over.
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c"), "a:r2 b:r2 c:- | Paused two 2/2");
    case.said.paused = false;
    let goes_on = "a:r2 b:r2 c:r2 | Progressing two 2/2";
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c"), goes_on);
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2"), goes_on);
    assert_eq!(case.look("r2", "a:r2+ b:r2+ c:r2+"), "a:r2 b:r2 c:r2 | Completed");
}

#[test]
fn parts_that_are_made_together_keep_no_wave_open() {
    let asks = json!({"approval": "Required"});
    let mut case = Case::new(&json!({}), &json!({"maxConcurrent": 1}), &json!({}));
    case.together = true;
    case.look("r1", "e:r1+");
    // One of wave one, two of wave two, of which one at a time may be on its way.
    assert_eq!(case.look("r1", "a b c"), "a:r1 b:r1 c:r1 | Progressing two 2/2");
    assert_eq!(case.look("r1", "a:r1 b:r1 c:r1"), "a:r1 b:r1 c:r1 | Completed");

    let mut case = Case::new(&json!({}), &asks, &json!({"progressDeadline": "5m"}));
    case.together = true;
    // What runs in the first wave is waited for, and what is to come there is not.
    let first = case.look("r2", "0:r1 a b");
    assert_eq!(first, "0:r2 a:r2 b:- | Progressing one 1/2");
    let second = case.look("r2", "0:r2+ a b");
    assert_eq!(second, "0:r2 a:r2 b:- | WaitingForApproval two 2/2");
    case.now += 3_600;
    assert_eq!(case.look("r2", "0:r2+ a b"), second, "no deadline counts");
    case.said.approved.push("two".into());
    let all = case.look("r2", "0:r2+ a b");
    assert_eq!(all, "0:r2 a:r2 b:r2 | Progressing two 2/2");
    case.now += 302;
    let late = case.look("r2", "0:r2+ a:r2+ b:r2");
    assert_eq!(late, "0:r2 a:r2 b:r2 | Paused two 2/2", "from then on it does");
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

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Happens {
    Fares(usize, u8),
    Edit(u8),
    Time(i64),
    Approve,
    Pause(bool),
    Retry,
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..6_usize, 0..5_u8).prop_map(|(at, how)| Happens::Fares(at, how)),
        1 => (1..4_u8).prop_map(Happens::Edit),
        3 => prop::sample::select(vec![1, 60, 400, 2_000]).prop_map(Happens::Time),
        2 => Just(Happens::Approve),
        1 => any::<bool>().prop_map(Happens::Pause),
        1 => Just(Happens::Retry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens: no wave begins before the one before it is done, no more than so many are on their way, a
    /// cluster runs nothing but what it ran, the newest and the last good revision, and a second look changes nothing.
    #[test]
    fn no_wave_overtakes_another_and_what_is_looked_at_twice_is_the_same(
        events in prop::collection::vec(happens(), 1..60),
    ) {
        let mut case = Case::new(
            &json!({"soak": "1m"}),
            &json!({"maxConcurrent": 1, "approval": "Required"}),
            &json!({"progressDeadline": "5m"}),
        );
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut clusters: Vec<(String, u8)> = names.iter().map(|_| ("r1".to_owned(), 0)).collect();
        let mut to = "r1".to_owned();
        for event in events {
            match event {
                Happens::Fares(at, how) => clusters[at].1 = how,
                Happens::Edit(n) => to = format!("r{n}"),
                Happens::Time(seconds) => case.now += seconds,
                Happens::Approve => {
                    if case.said.revision == to {
                        case.said.approved = vec!["two".into()];
                    }
                }
                Happens::Pause(yes) => case.said.paused = yes,
                Happens::Retry => case.said.retry.push('x'),
            }
            let words = |clusters: &[(String, u8)]| -> String {
                let word = |(name, (revision, how)): (&&str, &(String, u8))| {
                    // Ready, and failed, is who runs the newest revision.
                    let mark = match how {
                        1 if *revision == to => "+",
                        2 if *revision == to => "!",
                        3 => "*",
                        4 => "=",
                        _ => "",
                    };
                    format!("{name}:{revision}{mark}")
                };
                let all: Vec<String> = names.iter().zip(clusters).map(word).collect();
                all.join(" ")
            };
            let before = case.status.clone();
            let shown = case.look(&to, &words(&clusters));
            let given: Vec<String> = shown
                .split(" | ")
                .next()
                .unwrap()
                .split(' ')
                .map(|it| it.split_once(':').unwrap().1.to_owned())
                .collect();
            for ((revision, _), new) in clusters.iter().zip(&given) {
                let known = [revision.as_str(), &to, &case.status.from];
                prop_assert!(known.contains(&new.as_str()), "{new} of {known:?}");
            }
            let walks = case.status.to == to && !case.status.state.is_over();
            if walks {
                // What is given now and was not before comes after waves that are done.
                for (at, (old, new)) in clusters.iter().map(|it| &it.0).zip(&given).enumerate() {
                    if old == new || *new != to || case.status.from == to {
                        continue;
                    }
                    let wave = wave_of(names[at]);
                    for earlier in &case.names[..wave] {
                        let status = case.status.waves.iter().find(|it| it.name == *earlier);
                        prop_assert!(
                            status.is_none_or(|it| it.state == WaveState::Done),
                            "{} overtakes {earlier}: {shown}", names[at]
                        );
                    }
                    prop_assert!(wave != 1 || case.said.approved.contains(&"two".to_owned()), "{shown}");
                    prop_assert!(!case.said.paused, "{shown}");
                }
                let second = case.status.waves.iter().find(|it| it.name == "two");
                if second.is_some_and(|it| it.state == WaveState::Progressing) && before.to == to {
                    let on_the_way = (1..3).filter(|at| {
                        let new = given[*at] == to && clusters[*at].0 != to;
                        let waits = clusters[*at].0 == to && !matches!(clusters[*at].1, 1 | 3);
                        new || waits
                    });
                    let new = (1..3).filter(|at| given[*at] == to && clusters[*at].0 != to);
                    prop_assert!(new.count() == 0 || on_the_way.count() <= 1, "{shown}");
                }
            }
            for (cluster, new) in clusters.iter_mut().zip(&given) {
                cluster.0.clone_from(new);
            }
            // The members have not answered: what was given is not ready in it yet.
            let status = case.status.clone();
            let still: Vec<(String, u8)> = clusters.clone();
            if before == status {
                let again = case.look(&to, &words(&still));
                prop_assert_eq!(&case.status, &status, "{} then {}", shown, again);
            }
        }
    }
}
