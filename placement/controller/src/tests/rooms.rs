//! Room that members report later than copies are seen (RULES 3.2).

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::json;

use super::world::{World, key};

fn by_room(world: &mut World) {
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
}

#[test]
fn rule_3_2_what_a_copy_grew_by_is_not_given_away_while_its_member_still_calls_it_free() {
    let mut world = World::new("a eks rooms=3, b eks rooms=3, c gke rooms=3");
    by_room(&mut world);
    world.apply("one", 9, "v1");
    world.settle();
    assert_eq!(world.show("one"), "a=3 b=3 c=3 | Placed");
    // All nine run, no member has said so, and another one joins.
    world.cluster("late onprem rooms=1");
    world.apply("one", 8, "v1");
    world.apply("two", 1, "v1");
    world.settle();
    assert_eq!(world.show("two"), "late=1 | Placed");
    // The place that the first gave up is free when its member says so, and once.
    let left =
        *["a", "b", "c"].iter().find(|it| world.show("one").contains(&format!("{it}=2"))).unwrap();
    world.apply("three", 1, "v1");
    world.settle();
    assert_eq!(world.show("three"), "| NotEnoughRoom");
    world.cluster(&format!("{left} gke rooms=1"));
    world.settle();
    assert_eq!(world.show("three"), format!("{left}=1 | Placed"));
    world.apply("four", 1, "v1");
    world.settle();
    assert_eq!(world.show("four"), "| NotEnoughRoom");
}

#[test]
fn rule_3_2_what_was_given_up_and_asked_for_again_is_not_free_beside_it() {
    let mut world = World::new("a eks rooms=3");
    by_room(&mut world);
    world.apply("one", 3, "v1");
    world.settle();
    world.cluster("a eks rooms=0");
    let mut log = String::new();
    world.apply("one", 2, "v1");
    world.decide(&mut log);
    // The member has let it go and says so; what is seen of the copy is still that of before.
    world.cluster("a eks rooms=1");
    world.apply("one", 3, "v1");
    world.decide(&mut log);
    assert_eq!(world.show("one"), "a=3 | Placed");
    world.index.fleet_version += 1;
    world.apply("two", 1, "v1");
    world.decide(&mut log);
    assert_eq!(world.show("two"), "| NotEnoughRoom");
}

#[test]
fn rule_3_2_a_report_that_shows_a_part_of_the_growth_settles_that_part() {
    let mut world = World::new("a eks rooms=4");
    by_room(&mut world);
    world.apply("one", 3, "v1");
    world.settle();
    world.cluster("a eks rooms=2");
    world.apply("two", 2, "v1");
    world.settle();
    assert_eq!(world.show("two"), "| NotEnoughRoom", "one of three is not counted yet");
    world.cluster("a eks rooms=1");
    world.apply("two", 1, "v1");
    world.settle();
    assert_eq!(world.show("two"), "a=1 | Placed");
}

#[test]
fn rule_3_2_growth_that_a_member_does_not_report_settles_after_a_while() {
    let mut world = World::new("a eks rooms=3");
    by_room(&mut world);
    world.apply("one", 2, "v1");
    world.settle();
    world.apply("two", 2, "v1");
    world.settle();
    assert_eq!(world.show("two"), "| NotEnoughRoom");
    world.pass_time(12);
    world.settle();
    assert_eq!(world.show("two"), "| NotEnoughRoom");
    // It would have said so by now: what it said last holds beside what runs.
    let before = world.index.room_version;
    world.pass_time(1);
    assert!(world.index.room_version > before, "what waits is looked at once more");
    world.settle();
    assert_eq!(world.show("two"), "a=2 | Placed");
    let before = world.index.room_version;
    world.pass_time(60);
    world.pass_time(60);
    assert_eq!(world.index.room_version, before + 1, "the second one, and then nothing");
}

const PLACES: i64 = 6;
const MEMBERS: [&str; 3] = ["a eks", "b eks", "c gke"];

#[derive(Clone, Debug)]
enum Happens {
    Scale(usize, i64),
    Delete(usize),
    /// Members do what was decided, and it is seen.
    Sync,
    Time(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..4_usize, 0..9_i64).prop_map(|(it, n)| Happens::Scale(it, n)),
        1 => (0..4_usize).prop_map(Happens::Delete),
        3 => Just(Happens::Sync),
        3 => (1..14_i64).prop_map(Happens::Time),
    ]
}

/// What runs in every member.
fn running(world: &World) -> BTreeMap<String, i64> {
    let mut running = BTreeMap::new();
    let copies = world.index.placements.values().flat_map(|it| &it.status.clusters);
    for it in copies {
        *running.entry(it.name.clone()).or_default() += it.replicas.unwrap_or(0);
    }
    running
}

/// What the members said last, and when.
type Said = BTreeMap<String, (i64, i64)>;

/// Time passes; members report what changed, each at most once in ten seconds.
fn pass_time(world: &mut World, said: &mut Said, seconds: i64) {
    for _ in 0..seconds {
        world.pass_time(1);
        let running = running(world);
        for line in MEMBERS {
            let name = line.split_once(' ').unwrap().0;
            let free = PLACES - running.get(name).copied().unwrap_or(0);
            let last = said.get(name).copied().unwrap_or((PLACES, 0));
            if last.0 != free && world.now - last.1 >= 10 {
                said.insert(name.to_owned(), (free, world.now));
                world.cluster(&format!("{line} rooms={free}"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rule_3_2_no_member_is_given_more_than_it_holds_however_late_it_reports(
        events in proptest::collection::vec(happens(), 1..40)
    ) {
        let lines = MEMBERS.map(|it| format!("{it} rooms={PLACES}"));
        let mut world = World::new(&lines.join(","));
        by_room(&mut world);
        let names = ["one", "two", "three", "four"];
        let mut said = Said::new();
        let mut log = String::new();
        for event in &events {
            match event {
                Happens::Scale(it, n) => world.apply(names[*it], *n, "v1"),
                Happens::Delete(it) => world.delete(names[*it]),
                Happens::Sync => drop(world.sync()),
                Happens::Time(seconds) => pass_time(&mut world, &mut said, *seconds),
            }
            world.decide(&mut log);
            let over = running(&world).into_iter().find(|(_, n)| *n > PLACES);
            prop_assert_eq!(over, None, "{}", &log);
        }
        // Once everything was reported, nothing is kept back.
        for _ in 0..3 {
            world.settle();
            pass_time(&mut world, &mut said, 30);
        }
        prop_assert!(world.index.settling.is_empty());
        let free = 3 * PLACES - running(&world).values().sum::<i64>();
        for name in names {
            let (Some(placed), Some(template)) = (world.placed(name), world.index.templates.get(&key(name))) else { continue };
            let held: i64 = placed.spec.clusters.iter().filter_map(|it| it.replicas).sum();
            if placed.spec.outcome.reason == "NotEnoughRoom" {
                prop_assert!(template.workload.replicas.unwrap() - held > free, "{} waits", name);
            }
        }
    }
}
