//! Ordinals of a StatefulSet that is divided: each cluster has a range of its own, fixed when it is first placed there and
//! never given to another, so that no two pods of it ever share a name (RULES 3.4). PURE.

use federation_types::placement::PlacementSpec;
use placement_engine::workload::{KindClass, Workload};

/// Ordinals of one range.
const RANGE: i64 = 1_000;

/// Gives ranges to the clusters of `spec` that hold the StatefulSet for the first time.
pub(crate) fn number(previous: &PlacementSpec, spec: &mut PlacementSpec, workload: &Workload) {
    let numbered = spec.ordinals_next.is_some() || spec.divided;
    if workload.class != KindClass::StatefulSet || !numbered {
        return;
    }
    let own = workload.ordinals_start;
    // Whoever ran it whole counts from the template's own start.
    let first = if previous.clusters.is_empty() { own } else { own.saturating_add(RANGE) };
    let mut next = spec.ordinals_next.unwrap_or(first);
    for cluster in &mut spec.clusters {
        let known = previous.clusters.iter().any(|it| it.name == cluster.name);
        if cluster.ordinals_start.is_none() && !known {
            cluster.ordinals_start = Some(next);
            next = next.saturating_add(RANGE);
        }
    }
    spec.ordinals_next = Some(next);
}

/// A cluster that would run more replicas than its range has ordinals.
pub(crate) fn beyond_its_range(spec: &PlacementSpec) -> Option<&str> {
    let numbered = spec.clusters.iter().filter(|_| spec.ordinals_next.is_some());
    let mut beyond = numbered.filter(|it| it.replicas.is_some_and(|it| it > RANGE));
    beyond.next().map(|it| it.name.as_str())
}

#[cfg(test)]
mod tests {
    use federation_types::placement::PlacedCluster;

    use super::*;

    fn workload(start: i64) -> Workload {
        let class = KindClass::StatefulSet;
        Workload { class, ordinals_start: start, ..Workload::default() }
    }

    fn spec(clusters: &[&str]) -> PlacementSpec {
        let of = |name: &&str| PlacedCluster { name: (*name).to_owned(), ..Default::default() };
        PlacementSpec {
            divided: true,
            clusters: clusters.iter().map(of).collect(),
            ..PlacementSpec::default()
        }
    }

    fn starts(spec: &PlacementSpec) -> Vec<Option<i64>> {
        spec.clusters.iter().map(|it| it.ordinals_start).collect()
    }

    #[test]
    fn rule_3_4_ranges_are_fixed_at_first_placement_and_never_reused() {
        let mut first = spec(&["a", "b"]);
        number(&PlacementSpec::default(), &mut first, &workload(5));
        assert_eq!(starts(&first), [Some(5), Some(1_005)]);
        // One goes, another comes: it gets ordinals that nobody had.
        let mut second = PlacementSpec { clusters: first.clusters[..1].to_vec(), ..first.clone() };
        second.clusters.push(PlacedCluster { name: "c".into(), ..PlacedCluster::default() });
        number(&first, &mut second, &workload(5));
        assert_eq!(starts(&second), [Some(5), Some(2_005)]);
        let mut third = PlacementSpec { clusters: second.clusters[1..].to_vec(), ..second.clone() };
        third.clusters.insert(0, PlacedCluster { name: "b".into(), ..PlacedCluster::default() });
        number(&second, &mut third, &workload(5));
        assert_eq!(starts(&third), [Some(3_005), Some(2_005)], "not even its own of before");
    }

    #[test]
    fn rule_3_4_what_ran_whole_keeps_its_ordinals_when_it_is_divided() {
        let whole = PlacementSpec { divided: false, ..spec(&["a"]) };
        let mut divided = spec(&["a", "b"]);
        number(&whole, &mut divided, &workload(0));
        assert_eq!(starts(&divided), [None, Some(1_000)]);
    }

    #[test]
    fn rule_3_4_other_kinds_have_no_ordinals() {
        let mut divided = spec(&["a", "b"]);
        let deployment = Workload { class: KindClass::Deployment, ..Workload::default() };
        number(&PlacementSpec::default(), &mut divided, &deployment);
        assert_eq!((starts(&divided), divided.ordinals_next), (vec![None, None], None));
        assert_eq!(beyond_its_range(&divided), None);
    }
}
