//! Nodes that are paid for in advance: which of those that run they pay for, and who may have the others.

use federation_types::price::Commitment;

use crate::fleet::{Cluster, ShapeClass};

/// Gives nodes that are paid for in advance to the clusters of their place: first to nodes that run, by the order of
/// clusters; what is left is a pool of those that can grow. A cluster has one pool; of a further one it gets its even
/// part for itself. Returns the pools.
pub(crate) fn commit(
    clusters: &mut [Cluster],
    classes: &[ShapeClass],
    commitments: &[Commitment],
) -> Vec<i64> {
    let mut pools: Vec<i64> = Vec::new();
    for it in commitments {
        let mut left = i64::from(it.nodes);
        let mut growing: Vec<(usize, usize)> = Vec::new();
        for (at, cluster) in clusters.iter_mut().enumerate() {
            let elsewhere = !it.region.is_empty() && it.region != cluster.spec.region;
            if it.provider != cluster.spec.provider || elsewhere {
                continue;
            }
            let autoscaled = cluster.spec.autoscaled;
            let mut grows = None;
            for (n, shape) in cluster.shapes.iter_mut().enumerate() {
                let class = &classes[shape.class as usize];
                if class.spot || class.instance_type != it.instance_type {
                    continue;
                }
                let taken = (shape.count - shape.committed).min(left).max(0);
                shape.committed += taken;
                left -= taken;
                if autoscaled && grows.is_none() {
                    grows = Some(n);
                }
            }
            growing.extend(grows.map(|n| (at, n)));
        }
        let parts = i64::try_from(growing.len()).unwrap_or(i64::MAX);
        let has_pool = |it: &Cluster| it.shapes.iter().any(|it| it.pool.is_some());
        let (own, shared): (Vec<_>, Vec<_>) =
            growing.into_iter().partition(|(at, _)| parts == 1 || has_pool(&clusters[*at]));
        let mut pool = left;
        for (n, (at, shape)) in (0_i64..).zip(own) {
            let part = left / parts + i64::from(n < left % parts);
            clusters[at].shapes[shape].idle += part;
            pool -= part;
        }
        if pool > 0 && !shared.is_empty() {
            for (at, shape) in shared {
                clusters[at].shapes[shape].pool = Some(pools.len());
            }
            pools.push(pool);
        }
    }
    pools
}
