//! The writes that one member still needs.
//!
//! A copy goes only where a Placement says so by name, with a cause that passed the gate. What the hub does not know of
//! is reported and left alone (RULES 1.1, 4.2, 4.3).

use std::{collections::BTreeMap, fmt};

use federation_types::{names::ObjectKey, policy::OnDelete};

use crate::marks::RevisionMark;

/// What the hub wants of one object in the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Present(Present),
    /// Named in `Placement.spec.removing`.
    Gone(OnDelete),
    /// Neither placed nor being removed.
    Unplaced,
}

/// How a copy is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Of the manifest for this member.
    pub mark: RevisionMark,
    /// The template's uid.
    pub template: String,
    /// The template's generation in the hub.
    pub generation: i64,
    /// Take over what stands in its place.
    pub adopt: bool,
    /// Put right what drifted; otherwise only report it.
    pub correct: bool,
    /// A Job that was seen before is never made again (RULES 3.4).
    pub made_before: Option<MadeBefore>,
}

/// How a Job was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBefore {
    Finished,
    Unfinished,
}

/// How an object in the member stands to this hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Absent,
    Ours(Ours),
    /// Somebody else's, or another hub's.
    Foreign {
        other_hub: bool,
    },
}

/// A copy of ours as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    pub uid: String,
    /// The template that it is a copy of.
    pub template: String,
    pub mark: RevisionMark,
    /// Fields of ours that differ from what the mark's manifest said and the member accepted.
    pub drift: Vec<String>,
    /// Those of them that were put right too often to try again.
    pub fighting: Vec<String>,
    pub terminating: bool,
}

/// What the agent does about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    Create,
    Apply(Why),
    Delete {
        uid: String,
    },
    /// Takes our marks away and leaves the object.
    Orphan {
        uid: String,
    },
    Hold(Hold),
}

/// Why a copy is written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another revision, other replicas, another renderer.
    Revision,
    /// It drifted, in these fields.
    Drift(Vec<String>),
    Adopt,
}

/// What may be written into the member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// All, but over a copy that is newer than the hub's store.
    #[default]
    Allowed,
    /// All: somebody said that the hub's state goes (RULES 4.3).
    Resumed,
    /// None, repair of drift included (RULES 1.3).
    Frozen,
    /// None: the member knows more than the hub (RULES 4.3).
    ObserveOnly,
}

impl Writes {
    /// Whether there may be any.
    pub fn are_open(self) -> bool {
        matches!(self, Self::Allowed | Self::Resumed)
    }
}

/// Why an object is left alone for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    Frozen,
    Foreign,
    OtherHub,
    Terminating,
    /// The copy is of a later generation than the hub knows: the hub lost data (RULES 4.3).
    NewerThanHub,
    /// Other copies of the member are of later generations than the hub knows.
    ObserveOnly,
    /// Drift that the policy wants reported and left.
    Drift(Vec<String>),
    Fighting(Vec<String>),
    /// A copy of ours without template and tombstone.
    UnknownCopy,
    /// A Job that was made, was never seen finished and is gone.
    JobGone,
}

impl Step {
    /// The step for one object. What stops every write leaves the verdict on the rest as it is.
    pub fn decide(wanted: &Wanted, standing: &Standing, writes: Writes) -> Self {
        let step = match wanted {
            Wanted::Present(present) => Self::towards(present, standing, writes),
            Wanted::Gone(on_delete) => Self::away(*on_delete, standing),
            Wanted::Unplaced => match standing {
                Standing::Ours(_) => Self::Hold(Hold::UnknownCopy),
                Standing::Absent | Standing::Foreign { .. } => Self::Nothing,
            },
        };
        match step {
            Self::Nothing | Self::Hold(_) => step,
            Self::Create | Self::Apply(_) | Self::Delete { .. } | Self::Orphan { .. } => {
                match writes {
                    Writes::Allowed | Writes::Resumed => step,
                    Writes::Frozen => Self::Hold(Hold::Frozen),
                    Writes::ObserveOnly => Self::Hold(Hold::ObserveOnly),
                }
            }
        }
    }

    fn towards(present: &Present, standing: &Standing, writes: Writes) -> Self {
        match standing {
            Standing::Absent => match present.made_before {
                None => Self::Create,
                Some(MadeBefore::Finished) => Self::Nothing,
                Some(MadeBefore::Unfinished) => Self::Hold(Hold::JobGone),
            },
            // What another hub keeps is never taken over: the two would fight for it.
            Standing::Foreign { other_hub: true } => Self::Hold(Hold::OtherHub),
            Standing::Foreign { other_hub: false } if present.adopt => Self::Apply(Why::Adopt),
            Standing::Foreign { other_hub: false } => Self::Hold(Hold::Foreign),
            Standing::Ours(copy) if copy.terminating => Self::Hold(Hold::Terminating),
            Standing::Ours(copy) => {
                let newer = copy.template == present.template
                    && copy.mark.is_newer_than(present.generation, present.mark.asked.as_ref());
                if newer && matches!(writes, Writes::Allowed | Writes::ObserveOnly) {
                    Self::Hold(Hold::NewerThanHub)
                } else if newer && writes == Writes::Resumed {
                    // The same to the letter, perhaps; with its mark it would stop the next process of the hub.
                    Self::Apply(Why::Revision)
                } else if copy.mark.revision != present.mark.revision
                    || copy.mark.digest != present.mark.digest
                    || copy.template != present.template
                {
                    Self::Apply(Why::Revision)
                } else if !copy.fighting.is_empty() {
                    Self::Hold(Hold::Fighting(copy.fighting.clone()))
                } else if copy.drift.is_empty() {
                    Self::Nothing
                } else if present.correct {
                    Self::Apply(Why::Drift(copy.drift.clone()))
                } else {
                    Self::Hold(Hold::Drift(copy.drift.clone()))
                }
            }
        }
    }

    fn away(on_delete: OnDelete, standing: &Standing) -> Self {
        match standing {
            // What is not ours any more is gone as far as we are concerned.
            Standing::Absent | Standing::Foreign { .. } => Self::Nothing,
            Standing::Ours(copy) if copy.terminating => Self::Hold(Hold::Terminating),
            Standing::Ours(copy) => match on_delete {
                OnDelete::Delete => Self::Delete { uid: copy.uid.clone() },
                OnDelete::Orphan => Self::Orphan { uid: copy.uid.clone() },
            },
        }
    }
}

/// Takes one member from what it has to what it should have.
///
/// A plan leaves nothing to decide: the agent carries it out as it stands.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "a plan changes nothing until it is carried out"]
pub struct SyncPlan {
    pub steps: BTreeMap<ObjectKey, Step>,
}

impl SyncPlan {
    /// The steps that are more than nothing, for everything that is wanted or observed.
    pub fn between(
        wanted: &BTreeMap<ObjectKey, Wanted>,
        observed: &BTreeMap<ObjectKey, Standing>,
        writes: impl Fn(&ObjectKey) -> Writes,
    ) -> Self {
        let mut steps = BTreeMap::new();
        for key in wanted.keys().chain(observed.keys().filter(|it| !wanted.contains_key(it))) {
            let wanted = wanted.get(key).unwrap_or(&Wanted::Unplaced);
            let standing = observed.get(key).unwrap_or(&Standing::Absent);
            let step = Step::decide(wanted, standing, writes(key));
            if step != Step::Nothing {
                steps.insert(key.clone(), step);
            }
        }
        Self { steps }
    }

    /// How many objects would be written again though neither template nor decision changed.
    pub fn rewrites(&self) -> usize {
        self.steps.values().filter(|it| matches!(it, Step::Apply(_))).count()
    }
}

/// One line per object: what the log shows and what the tests compare.
impl fmt::Display for SyncPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|(key, step)| writeln!(f, "{step:<7} {key}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.pad("nothing"),
            Self::Create => f.pad("create"),
            Self::Apply(Why::Revision) => f.pad("apply"),
            Self::Apply(Why::Drift(_)) => f.pad("correct"),
            Self::Apply(Why::Adopt) => f.pad("adopt"),
            Self::Delete { .. } => f.pad("delete"),
            Self::Orphan { .. } => f.pad("orphan"),
            Self::Hold(hold) => f.pad(&format!("hold({hold:?})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use federation_types::names::Gvk;

    use super::*;
    use crate::marks::Asked;

    fn key(line: &str) -> (ObjectKey, Vec<&str>) {
        let mut words = line.split_whitespace();
        let kind = words.next().expect("a kind");
        let (namespace, name) = words.next().and_then(|it| it.split_once('/')).expect("ns/name");
        let gvk = Gvk::new("v1", kind);
        let key = ObjectKey { gvk, namespace: namespace.into(), name: name.into() };
        (key, words.collect())
    }

    fn mark(revision: &str) -> RevisionMark {
        let (digest, asked) = revision.split_once('@').unwrap_or((revision, "1"));
        RevisionMark {
            revision: digest.into(),
            generation: 3,
            digest: digest.into(),
            asked: Some(Asked::by("placement", asked.parse().expect("a generation"))),
        }
    }

    fn wanted(text: &str) -> BTreeMap<ObjectKey, Wanted> {
        text.lines()
            .filter(|it| !it.trim().is_empty())
            .map(|line| {
                let (key, words) = key(line);
                let mut present = Present {
                    template: "t".into(),
                    generation: 3,
                    correct: true,
                    ..Present::default()
                };
                for word in words {
                    match word {
                        "delete" => return (key, Wanted::Gone(OnDelete::Delete)),
                        "orphan" => return (key, Wanted::Gone(OnDelete::Orphan)),
                        "adopt" => present.adopt = true,
                        "report" => present.correct = false,
                        "older" => present.generation = 2,
                        "finished" => present.made_before = Some(MadeBefore::Finished),
                        "unfinished" => present.made_before = Some(MadeBefore::Unfinished),
                        revision => present.mark = mark(revision),
                    }
                }
                (key, Wanted::Present(present))
            })
            .collect()
    }

    fn observed(text: &str) -> BTreeMap<ObjectKey, Standing> {
        text.lines()
            .filter(|it| !it.trim().is_empty())
            .map(|line| {
                let (key, words) = key(line);
                let mut copy = Ours { uid: "u".into(), template: "t".into(), ..Ours::default() };
                for word in words {
                    match word {
                        "foreign" => return (key, Standing::Foreign { other_hub: false }),
                        "other-hub" => return (key, Standing::Foreign { other_hub: true }),
                        "terminating" => copy.terminating = true,
                        "drifted" => copy.drift = vec!["/spec/a".into()],
                        "fighting" => copy.fighting = vec!["/spec/a".into()],
                        revision => copy.mark = mark(revision),
                    }
                }
                (key, Standing::Ours(copy))
            })
            .collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals read better by value")]
    #[track_caller]
    fn check(want: &str, found: &str, expected: Expect) {
        let plan =
            SyncPlan::between(&wanted(want), &observed(found), |it| match it.namespace.as_str() {
                "ice" => Writes::Frozen,
                "glass" => Writes::ObserveOnly,
                "again" => Writes::Resumed,
                _ => Writes::Allowed,
            });
        expected.assert_eq(&plan.to_string());
    }

    #[test]
    fn only_what_differs_is_written() {
        check(
            "ConfigMap shop/a r1
             ConfigMap shop/b r2
             ConfigMap shop/c r1",
            "ConfigMap shop/a r1
             ConfigMap shop/b r1",
            expect![[r#"
                apply   ConfigMap shop/b
                create  ConfigMap shop/c
            "#]],
        );
    }

    #[test]
    fn rule_4_2_what_others_made_is_held_unless_it_is_to_be_adopted() {
        check(
            "ConfigMap shop/a r1
             ConfigMap shop/b r1 adopt
             ConfigMap shop/c r1
             ConfigMap shop/d delete",
            "ConfigMap shop/a foreign
             ConfigMap shop/b foreign
             ConfigMap shop/c other-hub
             ConfigMap shop/d foreign
             ConfigMap shop/e foreign",
            expect![[r#"
                hold(Foreign) ConfigMap shop/a
                adopt   ConfigMap shop/b
                hold(OtherHub) ConfigMap shop/c
            "#]],
        );
    }

    #[test]
    fn rule_1_1_only_what_a_placement_names_as_removing_goes() {
        check(
            "ConfigMap shop/a delete
             ConfigMap shop/b orphan
             ConfigMap shop/c delete",
            "ConfigMap shop/a r1
             ConfigMap shop/b r1
             ConfigMap shop/c r1 terminating
             ConfigMap shop/d r1",
            expect![[r#"
                delete  ConfigMap shop/a
                orphan  ConfigMap shop/b
                hold(Terminating) ConfigMap shop/c
                hold(UnknownCopy) ConfigMap shop/d
            "#]],
        );
    }

    #[test]
    fn rule_1_3_a_freeze_stops_every_write_repair_of_drift_included() {
        check(
            "ConfigMap ice/a r1
             ConfigMap ice/b r2
             ConfigMap ice/c r1
             ConfigMap ice/d delete
             ConfigMap ice/e r1",
            "ConfigMap ice/b r1
             ConfigMap ice/c r1 drifted
             ConfigMap ice/d r1
             ConfigMap ice/e r1",
            expect![[r#"
                hold(Frozen) ConfigMap ice/a
                hold(Frozen) ConfigMap ice/b
                hold(Frozen) ConfigMap ice/c
                hold(Frozen) ConfigMap ice/d
            "#]],
        );
    }

    #[test]
    fn rule_4_3_a_copy_newer_than_the_hubs_store_is_observed_only() {
        check(
            "ConfigMap shop/a r1 older",
            "ConfigMap shop/a r2",
            expect![[r#"
                hold(NewerThanHub) ConfigMap shop/a
            "#]],
        );
    }

    #[test]
    fn rule_4_3_a_scale_that_the_hubs_store_does_not_know_is_newer_and_an_older_mark_is_no_write() {
        check(
            "ConfigMap shop/a r1@4
             ConfigMap shop/b r1@5
             ConfigMap again/a r1@4",
            "ConfigMap shop/a r2@5
             ConfigMap shop/b r1@4
             ConfigMap again/a r1@5",
            expect![[r#"
                apply   ConfigMap again/a
                hold(NewerThanHub) ConfigMap shop/a
            "#]],
        );
    }

    #[test]
    fn rule_4_3_a_member_that_is_observed_only_takes_no_write_and_a_resumed_one_takes_all() {
        check(
            "ConfigMap glass/a r1 older
             ConfigMap glass/b r1
             ConfigMap glass/c r2
             ConfigMap glass/d delete
             ConfigMap glass/e r1
             ConfigMap again/a r1 older
             ConfigMap again/b r1",
            "ConfigMap glass/a r2
             ConfigMap glass/c r1
             ConfigMap glass/d r1
             ConfigMap glass/e r1
             ConfigMap again/a r2",
            expect![[r#"
                apply   ConfigMap again/a
                create  ConfigMap again/b
                hold(NewerThanHub) ConfigMap glass/a
                hold(ObserveOnly) ConfigMap glass/b
                hold(ObserveOnly) ConfigMap glass/c
                hold(ObserveOnly) ConfigMap glass/d
            "#]],
        );
    }

    #[test]
    fn rule_4_5_drift_is_put_right_or_reported_and_a_fight_is_left() {
        check(
            "ConfigMap shop/a r1
             ConfigMap shop/b r1 report
             ConfigMap shop/c r1",
            "ConfigMap shop/a r1 drifted
             ConfigMap shop/b r1 drifted
             ConfigMap shop/c r1 drifted fighting",
            expect![[r#"
                correct ConfigMap shop/a
                hold(Drift(["/spec/a"])) ConfigMap shop/b
                hold(Fighting(["/spec/a"])) ConfigMap shop/c
            "#]],
        );
    }

    #[test]
    fn rule_3_4_a_job_that_is_gone_is_never_made_again() {
        check(
            "Job shop/done r1 finished
             Job shop/lost r1 unfinished
             Job shop/new r1",
            "",
            expect![[r#"
                hold(JobGone) Job shop/lost
                create  Job shop/new
            "#]],
        );
    }
}
