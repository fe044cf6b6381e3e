//! Which copies are pinned to spot nodes (RULES 5.6): with 100 per cent all of them; with less whole copies, new ones
//! only, those first that save most.

use crate::{
    cost,
    fleet::{ClusterId, Fleet},
    place::{Outcome, Placed, Previous},
    policy::CompiledPolicy,
    room::{Need, Room},
    workload::Workload,
};

/// The clusters of a decision whose copies are pinned, in their order.
pub(crate) fn pins(
    fleet: &Fleet,
    room: &Room,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    clusters: &[Placed],
) -> Vec<ClusterId> {
    let Some(spot) = policy.spec.spot.as_ref().filter(|_| workload.has_pods()) else {
        return Vec::new();
    };
    if policy.all_on_spot() {
        return clusters.iter().map(|it| it.cluster).collect();
    }
    let (mut plain, mut pinned) = (Need::default(), Need::default());
    plain.read(fleet, workload, false);
    pinned.read(fleet, workload, true);
    let size = |it: &Placed| it.replicas.unwrap_or_else(|| workload.pods());
    let total: i64 = clusters.iter().map(size).sum();
    let mut left = total.saturating_mul(i64::from(spot.percent)) / 100;
    // Those that are pinned stay so; then by what they save, the name that sorts first.
    let mut order: Vec<(bool, i64, ClusterId, i64)> = Vec::new();
    for it in clusters {
        let before = previous.clusters.iter().find(|old| old.name == fleet.name(it.cluster));
        if let Some(old) = before {
            if old.spot {
                order.push((false, 0, it.cluster, size(it)));
            }
            continue;
        }
        let price = |need: &Need| cost::slot(fleet, it.cluster, need).map(|it| it.micros);
        let Some(saves) = price(&plain).zip(price(&pinned)).map(|(od, spot)| od - spot) else {
            continue;
        };
        let grows = fleet.cluster(it.cluster).spec.autoscaled;
        if saves > 0 && (grows || room.capacity(it.cluster, &pinned) >= size(it)) {
            order.push((true, -saves.saturating_mul(size(it)), it.cluster, size(it)));
        }
    }
    order.sort_unstable();
    let mut pins = Vec::new();
    for (_, _, cluster, size) in order {
        if size <= left {
            left -= size;
            pins.push(cluster);
        }
    }
    pins.sort_unstable();
    pins
}

/// Less than all on spot nodes takes two copies at least: a copy is one object, and is pinned as a whole.
pub(crate) fn refuses(
    policy: &CompiledPolicy,
    workload: &Workload,
    clusters: &[Placed],
) -> Option<Outcome> {
    let percent = policy.spec.spot.as_ref()?.percent;
    let one = clusters.len() == 1 && workload.has_pods();
    (percent < 100 && one).then_some(Outcome::SpotNeedsTwo { percent })
}
