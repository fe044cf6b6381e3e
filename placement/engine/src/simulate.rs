//! What is asked about a supposed fleet: how full its clusters are.

use crate::{
    fleet::{CPU, ClusterId, Fleet, MEMORY},
    room::Room,
    workload::Workload,
};

/// How full a cluster is: cpu in thousandths, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub cpu: i64,
    pub cpu_used: i64,
    pub memory: i64,
    pub memory_used: i64,
}

impl Load {
    /// What the members say of a cluster: what its nodes offer, without what is free on them.
    pub fn of(fleet: &Fleet, room: &Room, cluster: ClusterId) -> Self {
        let mut load = Self::default();
        for shape in &fleet.cluster(cluster).shapes {
            let allocatable = &fleet.classes[shape.class as usize].allocatable;
            load.cpu = load.cpu.saturating_add(allocatable[CPU].saturating_mul(shape.count));
            load.memory =
                load.memory.saturating_add(allocatable[MEMORY].saturating_mul(shape.count));
        }
        let (mut cpu, mut memory) = (0_i64, 0_i64);
        for group in room.groups(cluster) {
            cpu = cpu.saturating_add(group.free[CPU].saturating_mul(group.nodes));
            memory = memory.saturating_add(group.free[MEMORY].saturating_mul(group.nodes));
        }
        load.cpu_used = (load.cpu - cpu).max(0);
        load.memory_used = (load.memory - memory).max(0);
        load
    }

    /// With so many replicas more, or fewer.
    pub fn with(mut self, workload: &Workload, replicas: i64) -> Self {
        let base = &workload.requests.base;
        self.cpu_used = (self.cpu_used + base[CPU].saturating_mul(replicas)).max(0);
        self.memory_used = (self.memory_used + base[MEMORY].saturating_mul(replicas)).max(0);
        self
    }

    /// How many more nodes of its largest kind an autoscaled cluster takes at least for what is beyond those that it has;
    /// none where they hold it.
    pub fn nodes(self, fleet: &Fleet, cluster: ClusterId) -> i64 {
        let missing = [(CPU, self.cpu_used - self.cpu), (MEMORY, self.memory_used - self.memory)];
        let shapes = &fleet.cluster(cluster).shapes;
        let by_resource = missing.map(|(resource, missing)| {
            let node = |class: u32| fleet.classes[class as usize].new[resource];
            let largest = shapes.iter().map(|it| node(it.class)).max().filter(|it| *it > 0);
            largest.map_or(0, |it| missing.max(0).saturating_add(it - 1) / it)
        });
        by_resource.into_iter().max().unwrap_or(0)
    }

    /// Cpu and memory, in whole per cent.
    pub fn percent(self) -> (i64, i64) {
        let share = |part: i64, whole: i64| {
            let share = i128::from(part) * 100 / i128::from(whole.max(1));
            i64::try_from(share).unwrap_or(i64::MAX)
        };
        (share(self.cpu_used, self.cpu), share(self.memory_used, self.memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_grows_and_shrinks_by_what_a_replica_asks_for() {
        let mut workload = Workload::default();
        workload.requests.base[CPU] = 500;
        workload.requests.base[MEMORY] = 1 << 30;
        let load = Load { cpu: 8_000, cpu_used: 2_000, memory: 16 << 30, memory_used: 4 << 30 };
        assert_eq!(load.percent(), (25, 25));
        assert_eq!(load.with(&workload, 4).percent(), (50, 50));
        assert_eq!(load.with(&workload, -8).percent(), (0, 0));
        assert_eq!(Load::default().percent(), (0, 0));
    }
}
