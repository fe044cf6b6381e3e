//! Room: what is free by node shape, and what decisions have taken of it since the snapshot.
//!
//! Free capacity is kept as groups of nodes with the same amount free on each, never as a sum: a pod runs on one node.
//! Reserving splits groups. A cluster has a fixed number of places for groups; when they are full, two groups become
//! one with the smaller amounts of both, so that room is never overstated.

use std::collections::BTreeMap;

use crate::{
    expression::Expressions,
    fleet::{BASE, ClusterId, Fleet, PODS, ShapeClass},
    mask::Masks,
    select::Scratch,
    workload::{NodeRules, Requests, Workload},
};

/// So many nodes of a class with so much free on each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub nodes: i64,
    pub class: u32,
    /// In the order of [`BASE`].
    pub free: [i64; 4],
}

/// More places than groups at first, for what reserving splits off.
const SPARE: usize = 8;

/// The groups of every cluster in one run of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    /// Where each cluster begins in `groups`.
    start: Vec<u32>,
    /// How many groups it has now, and at most.
    len: Vec<u16>,
    cap: Vec<u16>,
    groups: Vec<Group>,
    /// Extended resources of each group, `width` numbers each.
    extended: Vec<i64>,
    width: usize,
    /// Free in all nodes of a cluster together: an upper bound of what fits, quick to test.
    sums: Vec<[i64; 4]>,
}

impl Slots {
    pub(crate) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    pub(crate) fn push_cluster(&mut self, mut groups: Vec<(Group, Vec<i64>)>) {
        groups.sort_by(|(a, x), (b, y)| {
            (a.class, b.free, y, b.nodes).cmp(&(b.class, a.free, x, a.nodes))
        });
        let count = groups.len().min(usize::from(u16::MAX) - SPARE);
        let cap = count + SPARE;
        let start = self.groups.len();
        self.start.push(u32::try_from(start).expect("fewer than 2³² groups of nodes"));
        self.len.push(u16::try_from(count).expect("cut above"));
        self.cap.push(u16::try_from(cap).expect("cut above"));
        let mut sum = [0_i64; 4];
        for (group, extended) in groups.into_iter().take(count) {
            for (sum, free) in sum.iter_mut().zip(group.free) {
                *sum = sum.saturating_add(free.saturating_mul(group.nodes));
            }
            self.groups.push(group);
            self.extended.extend(extended);
        }
        self.groups.resize(start + cap, Group::default());
        self.extended.resize((start + cap) * self.width, 0);
        self.sums.push(sum);
    }

    fn range(&self, cluster: usize) -> std::ops::Range<usize> {
        let start = self.start[cluster] as usize;
        start..start + usize::from(self.len[cluster])
    }

    fn extended(&self, group: usize) -> &[i64] {
        &self.extended[group * self.width..(group + 1) * self.width]
    }

    /// Takes `n` replicas of `need` per node off `nodes` nodes of a group.
    fn split(&mut self, cluster: usize, at: usize, nodes: i64, n: i64, need: &Need) {
        let mut group = self.groups[at];
        let mut extended = std::mem::take(&mut self.extended);
        let width = self.width;
        let mut own: Vec<i64> = extended[at * width..(at + 1) * width].to_vec();
        for (resource, amount) in need.amounts.iter().enumerate() {
            group.free[resource] -= amount * n;
            self.sums[cluster][resource] -= amount * n * nodes;
        }
        for (resource, amount) in &need.extended {
            own[*resource] -= amount * n;
        }
        group.nodes = nodes;
        self.groups[at].nodes -= nodes;
        if self.groups[at].nodes == 0 {
            self.remove(cluster, at, &mut extended);
        }
        if group.free[PODS] > 0 {
            self.add(cluster, group, &own, &mut extended);
        }
        self.extended = extended;
    }

    /// One cluster of them, to try things out on.
    fn only(&self, cluster: usize) -> Self {
        let start = self.start[cluster] as usize;
        let end = start + usize::from(self.cap[cluster]);
        Self {
            start: vec![0],
            len: vec![self.len[cluster]],
            cap: vec![self.cap[cluster]],
            groups: self.groups[start..end].to_vec(),
            extended: self.extended[start * self.width..end * self.width].to_vec(),
            width: self.width,
            sums: vec![self.sums[cluster]],
        }
    }

    /// Takes the room of `n` replicas; returns how many found none.
    fn take(&mut self, cluster: usize, need: &Need, n: i64) -> i64 {
        let mut left = n;
        while left > 0 && !need.impossible {
            // The smallest group first: nodes that are partly taken are filled before others are begun.
            let mut found: Option<(usize, i64, i64)> = None;
            for at in self.range(cluster) {
                let group = &self.groups[at];
                if found.is_some_and(|it| it.2 <= group.nodes) || !need.admits(group.class) {
                    continue;
                }
                let fit = need.fit(&group.free, self.extended(at));
                if fit > 0 {
                    found = Some((at, fit, group.nodes));
                }
            }
            let Some((at, fit, nodes)) = found else { break };
            let full = (left / fit).min(nodes);
            if full > 0 {
                self.split(cluster, at, full, fit, need);
                left -= full * fit;
            } else {
                self.split(cluster, at, 1, left, need);
                left = 0;
            }
        }
        left
    }

    fn remove(&mut self, cluster: usize, at: usize, extended: &mut [i64]) {
        let range = self.range(cluster);
        let last = range.end - 1;
        self.groups.swap(at, last);
        for n in 0..self.width {
            extended.swap(at * self.width + n, last * self.width + n);
        }
        self.len[cluster] -= 1;
    }

    fn add(&mut self, cluster: usize, group: Group, own: &[i64], extended: &mut [i64]) {
        let (range, width) = (self.range(cluster), self.width);
        let same = range.clone().find(|at| {
            let it = self.groups[*at];
            (it.class, it.free) == (group.class, group.free)
                && &extended[at * width..(at + 1) * width] == own
        });
        if let Some(at) = same {
            self.groups[at].nodes += group.nodes;
            return;
        }
        if range.len() < usize::from(self.cap[cluster]) {
            self.groups[range.end] = group;
            extended[range.end * width..(range.end + 1) * width].copy_from_slice(own);
            self.len[cluster] += 1;
            return;
        }
        // No place left: join the group of the class that is nearest, and keep the smaller amounts. Without one of the
        // class the nodes are forgotten until the next snapshot.
        let nearest = range
            .filter(|at| self.groups[*at].class == group.class)
            .min_by_key(|at| (self.groups[*at].free[0] - group.free[0]).abs());
        let Some(at) = nearest else { return };
        let it = &mut self.groups[at];
        for (free, other) in it.free.iter_mut().zip(group.free) {
            *free = (*free).min(other);
        }
        it.nodes += group.nodes;
        for (free, other) in extended[at * width..(at + 1) * width].iter_mut().zip(own) {
            *free = (*free).min(*other);
        }
    }
}

/// What one replica of a workload takes, made ready for counting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Need {
    pub(crate) amounts: [i64; 4],
    /// ⌊(2⁶⁴ − 1) ÷ amount⌋, so that the many divisions of a decision are multiplications.
    inverse: [u64; 4],
    pub(crate) extended: Vec<(usize, i64)>,
    /// At most so many on one node.
    per_node: i64,
    /// Classes of nodes the pod may run on; `None` for all.
    classes: Option<Vec<bool>>,
    /// The pod wants a resource that no node of the fleet has.
    impossible: bool,
    /// The pod runs on spot nodes only.
    pub(crate) pinned: bool,
}

impl Need {
    /// Reads the workload into `self`, whose memory is used again. `spot`: its copies will be pinned to spot nodes.
    pub(crate) fn read(&mut self, fleet: &Fleet, workload: &Workload, spot: bool) {
        self.read_pod(fleet, &workload.requests, &workload.nodes, spot);
    }

    fn read_pod(&mut self, fleet: &Fleet, requests: &Requests, nodes: &NodeRules, spot: bool) {
        self.extended.clear();
        self.impossible = false;
        self.amounts = requests.base;
        self.amounts[PODS] = 1;
        for (inverse, amount) in self.inverse.iter_mut().zip(self.amounts) {
            *inverse = u64::MAX.checked_div(amount.unsigned_abs()).unwrap_or(0);
        }
        for (name, amount) in &requests.extended {
            match fleet.extended.binary_search(name) {
                Ok(at) => self.extended.push((at, *amount)),
                Err(_) => self.impossible |= *amount > 0,
            }
        }
        self.per_node = nodes.per_node.unwrap_or(i64::MAX);
        let constrained = fleet.tainted_nodes || nodes.constrains() || spot;
        let admits = |it: &ShapeClass| {
            if spot { it.spot && nodes.admits_spot(it) } else { nodes.admits(it) }
        };
        self.classes = constrained.then(|| fleet.classes.iter().map(admits).collect());
        self.pinned = spot || (nodes.constrains() && self.runs_on_spot_only(fleet));
    }

    /// Whether the nodes that the pod asks for are all spot nodes: then it is pinned by its own words.
    fn runs_on_spot_only(&self, fleet: &Fleet) -> bool {
        let Some(admitted) = &self.classes else { return false };
        let mut own = fleet.classes.iter().zip(admitted).filter(|it| *it.1).peekable();
        own.peek().is_some() && own.all(|(class, _)| class.spot)
    }

    pub(crate) fn admits(&self, class: u32) -> bool {
        self.classes.as_ref().is_none_or(|it| it[class as usize])
    }

    /// How many replicas fit on one node with so much free.
    #[inline]
    pub(crate) fn fit(&self, free: &[i64; 4], extended: &[i64]) -> i64 {
        let mut fit = self.per_node.min(free[PODS]);
        for resource in [0, 1, 3] {
            let amount = self.amounts[resource];
            if free[resource] < amount {
                return 0;
            }
            if amount > 0 {
                fit = fit.min(divide(free[resource], amount, self.inverse[resource]));
            }
        }
        for (resource, amount) in &self.extended {
            if *amount > 0 {
                fit = fit.min(extended[*resource] / amount);
            }
        }
        fit.max(0)
    }

    /// How many fit on a new node of a class; 0 where the pod may not run.
    pub(crate) fn fit_empty(&self, fleet: &Fleet, class: u32) -> i64 {
        if self.impossible || !self.admits(class) {
            return 0;
        }
        let class = &fleet.classes[class as usize];
        self.fit(&class.new, &class.extended)
    }

    /// A number that is never below what fits, from the sums of a cluster.
    fn bound(&self, sums: &[i64; 4]) -> i64 {
        let mut bound = sums[PODS];
        for resource in [0, 1, 3] {
            let amount = self.amounts[resource];
            if amount > 0 {
                bound = bound.min(divide(sums[resource], amount, self.inverse[resource]));
            }
        }
        bound
    }
}

/// ⌊value ÷ amount⌋ for value ≥ 0, with the inverse of the amount: one short at most, which is put right.
#[inline]
fn divide(value: i64, amount: i64, inverse: u64) -> i64 {
    if value < amount {
        return 0;
    }
    let high = (u128::from(value.unsigned_abs()) * u128::from(inverse)) >> 64;
    // Not more than the value, so that nothing is cut off.
    let quotient = (high as u64).cast_signed();
    quotient + i64::from(value - quotient * amount >= amount)
}

/// The state of one pass over a fleet: what decisions have taken, and what was worked out for each policy.
///
/// It belongs to the fleet it was made from.
#[derive(Clone, Debug)]
pub struct Room {
    pub(crate) slots: Slots,
    pub(crate) need: Need,
    pub(crate) masks: BTreeMap<u64, std::sync::Arc<Masks>>,
    pub(crate) expressions: Expressions,
    pub(crate) scratch: Scratch,
}

impl Room {
    /// All that is free in the snapshot.
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            slots: fleet.slots.clone(),
            need: Need::default(),
            masks: BTreeMap::new(),
            expressions: Expressions::default(),
            scratch: Scratch::default(),
        }
    }

    /// Gives back what was reserved and keeps what was worked out about policies.
    pub fn reset(&mut self, fleet: &Fleet) {
        self.slots.clone_from(&fleet.slots);
    }

    /// How many replicas of the workload fit there now, beside what runs.
    pub fn available(&mut self, fleet: &Fleet, cluster: ClusterId, workload: &Workload) -> i64 {
        let mut need = std::mem::take(&mut self.need);
        need.read(fleet, workload, false);
        let room = self.capacity(cluster, &need);
        self.need = need;
        room
    }

    /// Takes the room of `n` replicas, or of all parts of `n` units, as for a decision that is in flight; returns how many found no room.
    pub fn reserve(
        &mut self,
        fleet: &Fleet,
        cluster: ClusterId,
        workload: &Workload,
        n: i64,
    ) -> i64 {
        if !workload.components.is_empty() {
            let parts = parts(fleet, workload);
            return parts.iter().map(|(need, each)| self.take(cluster, need, each * n)).sum();
        }
        let mut need = std::mem::take(&mut self.need);
        need.read(fleet, workload, false);
        let left = self.take(cluster, &need, n);
        self.need = need;
        left
    }

    /// The groups of a cluster, as they are now.
    pub fn groups(&self, cluster: ClusterId) -> &[Group] {
        &self.slots.groups[self.slots.range(cluster.at())]
    }

    /// As if a cluster had so many more nodes with room for one replica each. `false` where it has no node on which the
    /// pod may run, so that nothing can be said.
    pub(crate) fn grant(
        &mut self,
        fleet: &Fleet,
        cluster: ClusterId,
        need: &Need,
        nodes: i64,
    ) -> bool {
        let shapes = &fleet.cluster(cluster).shapes;
        let Some(shape) = shapes.iter().find(|it| !need.impossible && need.admits(it.class)) else {
            return false;
        };
        let mut own = vec![0; self.slots.width];
        for (resource, amount) in &need.extended {
            own[*resource] = *amount;
        }
        let mut extended = std::mem::take(&mut self.slots.extended);
        let group = Group { nodes, class: shape.class, free: need.amounts };
        for (sum, free) in self.slots.sums[cluster.at()].iter_mut().zip(need.amounts) {
            *sum = sum.saturating_add(free.saturating_mul(nodes));
        }
        self.slots.add(cluster.at(), group, &own, &mut extended);
        self.slots.extended = extended;
        true
    }

    /// The groups of a cluster with the extended resources free on each node, in the order of [`Fleet::extended`].
    pub fn groups_in_full(&self, cluster: ClusterId) -> impl Iterator<Item = (&Group, &[i64])> {
        let range = self.slots.range(cluster.at());
        range.map(|at| (&self.slots.groups[at], self.slots.extended(at)))
    }

    pub(crate) fn capacity(&self, cluster: ClusterId, need: &Need) -> i64 {
        if need.impossible {
            return 0;
        }
        let mut room: i64 = 0;
        for at in self.slots.range(cluster.at()) {
            let group = &self.slots.groups[at];
            if need.admits(group.class) {
                let fit = need.fit(&group.free, self.slots.extended(at));
                room = room.saturating_add(fit.saturating_mul(group.nodes));
            }
        }
        room
    }

    #[inline]
    pub(crate) fn bound(&self, cluster: ClusterId, need: &Need) -> i64 {
        need.bound(&self.slots.sums[cluster.at()])
    }

    /// How many fit on the free part of the nodes of each class, in the order of classes.
    pub(crate) fn by_class(&self, cluster: ClusterId, need: &Need) -> BTreeMap<u32, i64> {
        let mut rooms = BTreeMap::new();
        if need.impossible {
            return rooms;
        }
        for at in self.slots.range(cluster.at()) {
            let group = &self.slots.groups[at];
            if need.admits(group.class) {
                let fit =
                    need.fit(&group.free, self.slots.extended(at)).saturating_mul(group.nodes);
                let room = rooms.entry(group.class).or_insert(0_i64);
                *room = room.saturating_add(fit);
            }
        }
        rooms
    }

    /// Takes the room of `n` replicas; returns how many found none.
    pub(crate) fn take(&mut self, cluster: ClusterId, need: &Need, n: i64) -> i64 {
        self.slots.take(cluster.at(), need, n)
    }

    /// Whether all parts of a unit fit there together, placed one after the other.
    pub(crate) fn holds(&self, cluster: ClusterId, parts: &[(Need, i64)]) -> bool {
        let mut trial = self.slots.only(cluster.at());
        parts.iter().all(|(need, n)| trial.take(0, need, *n) == 0)
    }
}

/// What the parts of a unit take, and how many of each there are: those that find room hardest come first.
pub(crate) fn parts(fleet: &Fleet, workload: &Workload) -> Vec<(Need, i64)> {
    let mut parts: Vec<(Need, i64)> = workload
        .components
        .iter()
        .map(|it| {
            let mut need = Need::default();
            need.read_pod(fleet, &it.requests, &it.nodes, false);
            (need, it.replicas)
        })
        .collect();
    parts.sort_by_key(|(need, _)| {
        std::cmp::Reverse((need.extended.len(), need.classes.is_some(), need.amounts))
    });
    parts
}

/// Names and amounts of one replica's requests, for people.
pub(crate) fn describe(workload: &Workload) -> String {
    let mut parts = Vec::new();
    for (name, amount) in BASE.iter().zip(workload.requests.base) {
        match *name {
            _ if amount == 0 => (),
            "cpu" => parts.push(format!("{amount}m cpu")),
            "memory" => parts.push(format!("{} memory", bytes(amount))),
            other => parts.push(format!("{} {other}", bytes(amount))),
        }
    }
    for (name, amount) in &workload.requests.extended {
        parts.push(format!("{amount} {name}"));
    }
    if parts.is_empty() { "a pod".to_owned() } else { parts.join(", ") }
}

pub(crate) fn bytes(amount: i64) -> String {
    for (factor, suffix) in [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")] {
        if amount >= factor && amount % factor == 0 {
            return format!("{}{suffix}", amount / factor);
        }
    }
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CompiledPolicy;

    #[test]
    fn passes_and_policies_can_go_to_other_threads() {
        fn goes<T: Send + Sync>() -> usize {
            size_of::<T>()
        }
        assert!(goes::<Room>() > 0 && goes::<CompiledPolicy>() > 0 && goes::<Fleet>() > 0);
    }

    #[test]
    fn division_by_multiplication_is_exact() {
        let amounts = [1, 2, 3, 7, 250, 512 << 20, i64::MAX / 3, i64::MAX];
        let values = [0, 1, 2, 249, 250, 251, 16 << 30, i64::MAX - 1, i64::MAX];
        for amount in amounts {
            let inverse = u64::MAX / amount.unsigned_abs();
            for value in values {
                assert_eq!(divide(value, amount, inverse), value / amount, "{value} / {amount}");
            }
        }
    }
}
