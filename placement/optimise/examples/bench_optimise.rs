//! The gap between placement and bound of a whole fleet: 1,000 workloads, 30 clusters, whole nodes as steps, two
//! resources, little room. `--dump FILE` writes the instance and the solution, so that another solver can be asked.

use std::{cell::Cell, time::Duration};

use placement_optimise::{Instance, Place, Pool, Spread, Task, check, solve};
use serde_json::json;

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % sides.unsigned_abs()).unwrap_or(0)
    }
}

/// Name, what a node has after the system's share (thousandths of a cpu, MiB), and µ$ an hour.
const SHAPES: [(&str, i64, i64, i64); 6] = [
    ("8x32", 7_910, 30_300, 384_000),
    ("16x64", 15_890, 61_100, 768_000),
    ("32x128", 31_850, 124_000, 1_536_000),
    ("16x128", 15_890, 124_000, 1_008_000),
    ("32x64", 31_850, 61_100, 1_360_000),
    ("64x256", 63_770, 250_000, 3_072_000),
];

/// What one replica takes.
const SIZES: [(i64, i64); 12] = [
    (100, 128),
    (100, 256),
    (250, 256),
    (250, 512),
    (250, 1_024),
    (500, 1_024),
    (500, 2_048),
    (500, 4_096),
    (1_000, 1_024),
    (1_000, 4_096),
    (2_000, 4_096),
    (2_000, 8_192),
];

fn instance(tasks: i64, clusters: i64) -> Instance {
    let mut dice = Dice(7);
    let mut wanted = (0, 0);
    let names: Vec<String> = (0..clusters).map(|it| format!("member-{it:02}")).collect();
    let provider: Vec<Option<u32>> = (0..clusters).map(|it| u32::try_from(it % 3).ok()).collect();
    let region: Vec<Option<u32>> = (0..clusters).map(|it| u32::try_from(it % 10).ok()).collect();
    let mut list: Vec<Task> = (0..tasks)
        .map(|at| {
            let size = SIZES[usize::try_from(dice.roll(12)).unwrap_or(0)];
            let replicas = 2 + dice.roll(18) + if dice.roll(10) == 0 { 40 } else { 0 };
            wanted.0 += size.0 * replicas;
            wanted.1 += size.1 * replicas;
            let spread = match dice.roll(4) {
                0 => vec![Spread { key: "provider".into(), min: 2, max: None }],
                1 => vec![Spread { key: "region".into(), min: 2, max: Some(4) }],
                _ => Vec::new(),
            };
            Task {
                name: format!("app-{at}"),
                replicas,
                need: vec![size.0, size.1],
                min_per_cluster: 1,
                min_clusters: if dice.roll(3) == 0 { 2 } else { 1 },
                max_clusters: Some(5),
                spread,
                ..Task::default()
            }
        })
        .collect();
    // A third of the clusters has nodes that are paid for anyway; the others buy what they use, up to a bound. All
    // together have 8 % more than is wanted of what is scarcer.
    let mut pools = Vec::new();
    for cluster in 0..clusters {
        for (n, (name, cpu, memory, price)) in SHAPES.iter().enumerate() {
            if (cluster + i64::try_from(n).unwrap_or(0)) % 2 == 1 {
                continue;
            }
            let owned = cluster % 3 == 2;
            let factor = 90 + dice.roll(41);
            pools.push(Pool {
                cluster: usize::try_from(cluster).unwrap_or(0),
                name: format!("{}/{name}", names[usize::try_from(cluster).unwrap_or(0)]),
                free: vec![*cpu, *memory],
                slots: Some(if *cpu < 8_000 { 58 } else { 110 }),
                nodes: 1 + dice.roll(9) * 16_000 / cpu,
                node_cost: if owned { 0 } else { price * factor / 100 },
            });
        }
    }
    let total =
        |of: usize, pools: &[Pool]| pools.iter().map(|it| it.free[of] * it.nodes).sum::<i64>();
    loop {
        let short =
            total(0, &pools) * 100 < wanted.0 * 108 || total(1, &pools) * 100 < wanted.1 * 108;
        let at = usize::try_from(dice.roll(i64::try_from(pools.len()).unwrap_or(1))).unwrap_or(0);
        if short {
            pools[at].nodes += 1;
        } else if total(0, &pools) * 100 > wanted.0 * 112 && total(1, &pools) * 100 > wanted.1 * 112
        {
            pools[at].nodes = (pools[at].nodes - 1).max(1);
        } else {
            break;
        }
    }
    for task in &mut list {
        // Every workload may run on some two thirds of the clusters, each with a latency of its own.
        let mut open: Vec<i64> =
            (0..clusters).map(|_| if dice.roll(3) > 0 { dice.roll(4_000) } else { -1 }).collect();
        for own in open.iter_mut().take(6) {
            *own = (*own).max(0);
        }
        if dice.roll(2) == 0 {
            task.fixed = (0..open.len()).map(|it| (it, 8_000 + dice.roll(17_000))).collect();
        }
        task.places = pools
            .iter()
            .enumerate()
            .filter(|(_, pool)| open[pool.cluster] >= 0)
            .map(|(at, pool)| Place { pool: at, cost: open[pool.cluster] })
            .collect();
    }
    Instance {
        resources: vec!["cpu".into(), "memory".into()],
        clusters: names,
        pools,
        tasks: list,
        topologies: [("provider".to_owned(), provider), ("region".to_owned(), region)].into(),
        max_moves: None,
    }
}

/// Seconds since some moment, on the system's clock.
fn clock() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut dump, mut limit, mut size) = (None, 10, (1_000, 30));
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag}: a value is missing"))?;
        match flag.as_str() {
            "--dump" => dump = Some(value),
            "--time" => limit = value.parse()?,
            "--tasks" => size.0 = value.parse()?,
            "--clusters" => size.1 = value.parse()?,
            other => return Err(format!("{other}: not a flag").into()),
        }
    }
    let instance = instance(size.0, size.1);
    let begin = clock();
    let asked = Cell::new(0_u64);
    let answer = solve(&instance, &|| {
        asked.set(asked.get() + 1);
        clock().saturating_sub(begin) >= Duration::from_secs(limit)
    })?;
    let took = clock().saturating_sub(begin);
    assert_eq!(check(&instance, &answer.solution)?, answer.tally, "checked again");
    if let Some(file) = dump {
        std::fs::write(
            file,
            serde_json::to_vec(&json!({"instance": instance, "solution": answer.solution}))?,
        )?;
    }
    let of = |at: usize| {
        let has: i64 = instance.pools.iter().map(|it| it.free[at] * it.nodes).sum();
        let wants: i64 = instance.tasks.iter().map(|it| it.need[at] * it.replicas).sum();
        wants * 1_000 / has
    };
    println!(
        "{} tasks, {} clusters, {} pools, {} nodes; wanted of all there is: cpu {} ‰, memory {} ‰",
        instance.tasks.len(),
        instance.clusters.len(),
        instance.pools.len(),
        instance.pools.iter().map(|it| it.nodes).sum::<i64>(),
        of(0),
        of(1)
    );
    println!(
        "costs {} µ$/h, at least {} µ$/h; {}",
        answer.tally.cost,
        answer.bound,
        if answer.stopped { "stopped by the clock" } else { "ended by itself" }
    );
    let number = |text: String| text.parse::<serde_json::Number>().unwrap_or_else(|_| 0.into());
    let gap = number(format!("0.{:06}", answer.gap().clamp(0, 999_999)));
    let seconds = number(format!("{}.{:03}", took.as_secs(), took.subsec_millis()));
    println!("{}", json!({"bench": "optimise", "figures": {"gap": gap, "seconds": seconds}}));
    Ok(())
}
