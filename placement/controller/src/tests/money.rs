//! Money through whole passes: budgets of a scope, autoscalers, traffic, spot nodes, scores (RULES 5).

use std::sync::Arc;

use federation_types::{
    budget::{CostBudget, CostBudgetSpec},
    price::{PriceBook, PriceBookSpec},
    score::{ClusterScore, ClusterScoreSpec, Points},
};
use serde_json::json;

use super::world::{World, key};
use crate::{cost_status::status, spending};

impl World {
    /// Ten dollars an hour for a node of a thousand places: a replica costs 7.30 a month, on spot nodes 0.73.
    pub(super) fn prices(&mut self) {
        let spec: PriceBookSpec = serde_json::from_value(json!({
            "prices": [
                {"provider": "eks", "instanceType": "large", "onDemandUsdHour": "10", "asOf": "2026-11-01"},
                {"provider": "gke", "instanceType": "large", "onDemandUsdHour": "10", "spotUsdHour": "1",
                 "asOf": "2026-11-01"},
            ],
            "egress": [{"to": "Internet", "usdGib": "0.09"}, {"to": "Region", "usdGib": "0.02"}],
        }))
        .unwrap();
        self.index.books.insert("ours".into(), Arc::new(PriceBook::new("ours", spec)));
        self.index.fleet_version += 1;
    }

    fn budget(&mut self, usd: &str) {
        let spec = CostBudgetSpec {
            max_monthly_usd: usd.into(),
            namespaces: vec!["sh*".into()],
            ..CostBudgetSpec::default()
        };
        self.index.set_cost_budget("team", Some(CostBudget::new("team", spec)));
    }

    fn spent(&self) -> String {
        let status = status(&self.index.spending.budgets["team"], "now");
        let condition = &status.conditions[0];
        format!("{}: {}; {} placements", condition.reason, condition.message, status.placements)
    }
}

fn world() -> World {
    let mut world = World::new("a eks");
    world.prices();
    world.policy("web", json!({"replicas": {"mode": "Divided"}}));
    world
}

#[test]
fn rule_5_5_the_placements_of_a_scope_share_its_budget() {
    let mut world = world();
    world.budget("20");
    world.apply("web", 2, "v1");
    world.settle();
    world.apply("api", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    assert_eq!(world.show("api"), "| OverCostBudget");
    assert_eq!(
        world.spent(),
        "WithinBudget: $14.60 of $20.00 a month; 1 placement waits; 2 placements"
    );
    // What becomes free goes to what waits, without anybody touching it.
    world.apply("web", 0, "v1");
    world.settle();
    assert_eq!(world.show("api"), "a=2 | Placed");
    assert_eq!(world.spent(), "WithinBudget: $14.60 of $20.00 a month; 2 placements");
}

#[test]
fn rule_5_5_a_budget_that_comes_late_counts_what_stands_though_nothing_waits() {
    let mut world = world();
    world.apply("web", 2, "v1");
    world.settle();
    world.budget("10");
    world.settle();
    spending::catch_up(&mut world.index, &mut world.snapshots, world.now);
    assert_eq!(world.spent(), "OverBudget: $14.60 of $10.00 a month; 1 placements");
}

#[test]
fn rule_5_5_two_that_grow_at_once_are_not_given_the_same_money() {
    let mut world = world();
    world.budget("20");
    world.apply("web", 2, "v1");
    world.apply("api", 2, "v1");
    world.settle();
    let shown = [world.show("api"), world.show("web")];
    assert_eq!(shown, ["a=2 | Placed", "| OverCostBudget"]);
}

#[test]
fn rule_5_5_a_smaller_budget_takes_nothing_away_and_lets_nothing_grow() {
    let mut world = world();
    world.budget("20");
    world.apply("web", 2, "v1");
    world.settle();
    world.budget("10");
    world.apply("web", 2, "v2");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    assert_eq!(world.spent(), "OverBudget: $14.60 of $10.00 a month; 1 placements");
    world.apply("web", 3, "v2");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | OverCostBudget");
    world.index.set_cost_budget("team", None);
    world.settle();
    assert_eq!(world.show("web"), "a=3 | Placed");
}

#[test]
fn rule_5_5_under_an_autoscaler_its_maximum_counts() {
    let mut world = world();
    world.budget("20");
    let scaler = key("HorizontalPodAutoscaler/web");
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    world.store(&scaler, &object, "uid-2");
    world.apply("web", 1, "v1");
    world.settle();
    assert_eq!(world.show("web"), "| OverCostBudget");
    world.budget("40");
    world.settle();
    assert_eq!(world.show("web"), "a=1 | Placed");
    assert_eq!(world.spent(), "WithinBudget: $36.50 of $40.00 a month; 1 placements");
}

#[test]
fn rule_5_6_traffic_to_another_template_is_priced_from_where_that_is() {
    let mut world = World::new("a gke, b eks");
    world.prices();
    world.policy(
        "db",
        json!({
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "db"}],
            "affinities": [{"clusters": {"names": ["b"]}}],
        }),
    );
    world.policy(
        "web",
        json!({
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}],
            "replicas": {"mode": "Divided", "division": "Cheapest"},
            "traffic": [{"to": "Template", "name": "db", "gibPerMonth": 100}],
        }),
    );
    world.apply("db", 1, "v1");
    world.settle();
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
}

#[test]
fn rule_5_6_a_copy_that_is_to_run_on_spot_nodes_says_so() {
    let mut world = World::new("a eks, b gke");
    world.prices();
    world.policy(
        "web",
        json!({"spot": {"percent": 100}, "affinities": [{"clusters": {"names": ["b"]}}]}),
    );
    world.apply("web", 2, "v1");
    world.settle();
    let spec = &world.placed("web").unwrap().spec;
    assert!(spec.clusters.iter().all(|it| it.spot), "{spec:?}");
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["b"]}}]}));
    world.settle();
    let spec = &world.placed("web").unwrap().spec;
    assert!(spec.clusters.iter().all(|it| !it.spot), "{spec:?}");
}

#[test]
fn rule_5_1_a_score_counts_until_it_ends_and_moves_nothing_that_runs() {
    let mut world = World::new("a eks, b eks");
    world.prices();
    let score = ClusterScoreSpec {
        cluster: "b".into(),
        valid_until: Some(crate::clock::text(world.now + 60)),
        scores: vec![Points { name: "green".into(), value: 10 }],
    };
    world.index.set_score("b", Some(ClusterScore::new("b", score)));
    world.index.expire_scores(world.now);
    world.policy(
        "web",
        json!({
            "replicas": {"mode": "Divided", "division": "Cheapest"},
            "objectives": {"scores": [{"name": "green", "usdPerPoint": "1"}]},
        }),
    );
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
    world.now += 60;
    world.index.expire_scores(world.now);
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
    world.apply("api", 2, "v1");
    world.settle();
    assert_eq!(world.show("api"), "a=2 | Placed");
}
