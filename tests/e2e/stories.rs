//! The stories: what people do with a hub, played on three real members, one after the other.
//!
//! Each story has a namespace of its own. A story that fails does not stop the others; the test names all that failed.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::fleet::Fleet;

mod bad_input;
mod causes;
mod choice;
mod claims;
mod clients;
mod following;
mod helm;
mod kinds;
mod kubectl;
mod moving_in;
mod overriding;
mod placement;
mod plans;
mod rollouts;
mod spending;
mod syncing;

#[tokio::test(flavor = "multi_thread")]
async fn stories_on_three_real_members() {
    let mut fleet = Box::pin(Fleet::start()).await;
    let version = fleet.on("eks-1").ok(["version", "-o", "json"]).await;
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    let version = version["serverVersion"]["gitVersion"].as_str().unwrap().to_owned();
    let only = std::env::var("ARCHIPEL_STORY").unwrap_or_default();
    let mut played = 0;
    let mut failed = Vec::new();
    macro_rules! play {
        ($($story:path),* $(,)?) => {$(
            let name = stringify!($story);
            if only.split(',').any(|word| name.contains(word)) {
                println!("story {name}");
                let began = std::time::SystemTime::now();
                let outcome = AssertUnwindSafe($story(&mut fleet)).catch_unwind().await;
                let took = began.elapsed().unwrap_or_default().as_secs_f32();
                println!("story {name}: {} in {took:.1} s", if outcome.is_ok() { "ok" } else { "FAILED" });
                played += 1;
                if outcome.is_err() {
                    fleet.tidy().await;
                    failed.push(name);
                }
            }
        )*};
    }
    play!(
        kubectl::create_apply_edit_patch_delete,
        kubectl::explain_and_api_resources,
        kubectl::watch_and_wait,
        kubectl::service_and_job_made_by_create_show_no_drift,
        placement::the_example_policy_of_the_design,
        placement::weighted_duplicated_and_packed,
        placement::affinity_taints_and_expressions,
        placement::residency_and_limits,
        placement::scaling_adds_and_removes_and_moves_nothing_else,
        placement::a_cluster_wide_policy_carries_exactly_what_it_selects,
        choice::spread_over_zones_regions_and_labels,
        choice::room_is_counted_by_node_and_growth_waits_for_it,
        choice::budgets_of_money_hold_growth_back,
        choice::a_limit_on_tolerations_and_a_cluster_without_jurisdiction,
        claims::the_claim_goes_by_priority_specificity_scope_and_name,
        claims::sets_serve_their_namespaces_and_rights_need_federate,
        claims::objects_without_a_namespace_are_claimed_by_cluster_policies_only,
        kinds::each_kind_has_its_own_default,
        following::what_a_template_names_goes_where_it_goes,
        kinds::a_custom_kind_is_read_by_its_rule,
        causes::a_deleted_template_takes_its_copies_along,
        causes::a_policy_edit_brings_new_copies_before_old_ones_go,
        causes::an_override_edit_reaches_what_runs,
        causes::a_policy_that_is_deleted_leaves_its_copies,
        causes::no_cluster_fits_and_running_copies_stay,
        causes::a_taint_moves_what_does_not_tolerate_it,
        causes::a_label_and_a_jurisdiction_that_change_move_what_they_held,
        causes::an_api_that_is_no_longer_served_is_held_and_reported,
        causes::a_price_that_changes_moves_nothing_that_runs,
        causes::wide_deletes_are_asked_for,
        causes::a_freeze_stops_every_write,
        causes::a_change_budget_holds_removals_visibly,
        plans::a_plan_says_what_its_application_then_does,
        plans::a_plan_says_what_is_in_the_way,
        plans::a_statefulset_moves_by_an_approved_plan,
        plans::what_if_and_optimise_change_nothing,
        plans::an_optimise_plan_is_carried_out_at_the_cost_it_said,
        rollouts::an_image_goes_in_waves_waits_for_approval_and_is_taken_back,
        spending::a_cost_budget_makes_growth_wait,
        spending::who_may_see_a_namespace_is_told_what_it_costs,
        spending::points_of_others_decide_what_is_new,
        overriding::every_part_of_an_override,
        moving_in::policies_of_karmada_are_converted_and_placed,
        moving_in::unknown_copies_are_adopted_or_deleted,
        syncing::overrides_reach_their_clusters_only,
        syncing::drift_is_put_right,
        syncing::a_foreign_object_is_reported_and_left_alone,
        syncing::an_unknown_copy_is_reported_and_left,
        syncing::one_member_refuses_and_the_others_go_on,
        syncing::namespaces_come_with_their_first_copy,
        bad_input::policies_name_the_field,
        bad_input::what_nobody_claims_is_answered_with_a_warning,
        bad_input::a_kubeconfig_that_does_not_answer,
        helm::install_upgrade_rollback_uninstall,
        clients::client_go,
        clients::python,
        syncing::an_idle_fleet_writes_nothing,
        syncing::a_frozen_member_converges_when_it_returns,
        causes::failover_makes_new_copies_and_removes_none_in_the_dark,
        syncing::nothing_of_what_was_deleted_stays_behind,
        causes::a_cluster_leaves_drained,
    );
    println!("e2e: members={} kube={version} stories={played}", fleet.members.len());
    if !failed.is_empty() {
        println!("hub log:\n{}", fleet.hub.log_tail());
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
