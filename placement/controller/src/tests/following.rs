//! What a template needs goes where it goes (RULES 4.7).

use std::{collections::BTreeSet, sync::Arc};

use federation_types::{names::ObjectKey, placement::Outcome};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

use super::world::{World, budget, key};
use crate::{index::Placed, members::is_ready, overlay, plan};

impl World {
    /// A Deployment whose pods read these: `ConfigMap/a`, `ConfigMap/b?` if it is optional.
    fn apply_naming(&mut self, name: &str, needs: &str) {
        let key = key(name);
        let mut env = Vec::new();
        let mut pod = json!({});
        for it in needs.split_whitespace() {
            let (it, optional) = it.strip_suffix('?').map_or((it, false), |it| (it, true));
            let (kind, name) = it.split_once('/').unwrap();
            match kind {
                "ConfigMap" => {
                    env.push(json!({"configMapRef": {"name": name, "optional": optional}}));
                }
                "Secret" => env.push(json!({"secretRef": {"name": name, "optional": optional}})),
                "ServiceAccount" => pod["serviceAccountName"] = json!(name),
                _ => {
                    pod["volumes"] =
                        json!([{"name": "v", "persistentVolumeClaim": {"claimName": name}}]);
                }
            }
        }
        pod["containers"] = json!([{"name": "main", "image": "v1", "envFrom": env}]);
        let kind = key.gvk.kind.to_string();
        let content = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"namespace": "shop", "name": key.name},
                             "spec": {"replicas": 1, "template": {"spec": pod}}});
        self.store(&key, &content, "uid-1");
    }

    fn plain(&mut self, text: &str) {
        self.plain_with(text, &json!({}));
    }

    fn plain_with(&mut self, text: &str, more: &Value) {
        let key = key(text);
        let mut content = json!({"apiVersion": "v1", "kind": key.gvk.kind, "metadata": {"namespace": "shop", "name": key.name}});
        content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.store(&key, &content, "uid-1");
    }

    fn following(&mut self, policy: &str, clusters: &[&str], deployment: &str) {
        self.policy(
            policy,
            json!({"affinities": [{"clusters": {"names": clusters}}], "dependencies": "Follow",
                   "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}]}),
        );
    }

    fn dependencies(&self, text: &str) -> String {
        let Some(Outcome { status, reason, message }) =
            self.placed(text).and_then(|it| it.spec.dependencies.clone())
        else {
            return "-".to_owned();
        };
        format!("{status} {reason} {message}").trim_end().to_owned()
    }

    /// What it needs.
    fn needs(&self, text: &str) -> String {
        let all = self.placed(text).map(|it| it.spec.needs.clone()).unwrap_or_default();
        all.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whom it follows.
    fn follows(&self, text: &str) -> String {
        let all = self.placed(text).map(|it| it.spec.follows.clone()).unwrap_or_default();
        all.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// `web` on a and b by the policy `web`, with the ConfigMap `cfg`.
fn world() -> World {
    let mut world = World::new("a eks, b gke, c onprem");
    world.following("web", &["a", "b"], "web");
    world.apply_naming("web", "ConfigMap/cfg");
    world.plain("ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
    world
}

#[test]
fn rule_4_7_what_is_named_goes_where_its_users_are_and_leaves_after_them() {
    let mut world = world();
    assert_eq!(world.follows("ConfigMap/cfg"), "web");
    assert_eq!(world.dependencies("web"), "True DependenciesMet");
    let reference = world.placed("ConfigMap/cfg").unwrap().spec.policy_ref.clone().unwrap();
    assert_eq!((reference.kind.as_str(), reference.name.as_str()), ("PlacementPolicy", "web"));
    // What nobody names stays on the hub.
    world.plain("ConfigMap/other");
    world.settle();
    assert_eq!(world.show("ConfigMap/other"), "-");
    world.following("web", &["b", "c"], "web");
    let log = world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    let at = |line: &str| log.find(line).unwrap_or_else(|| panic!("no `{line}` in\n{log}"));
    assert!(at("cfg: a b c | Placed") < at("web: b=1 c=1 -a:PolicyChanged"), "{log}");
    // Its copy goes once that of its user is seen gone.
    assert!(at("web: b=1 c=1 | Placed") < at("cfg: b c -a:UserGone"), "{log}");
}

#[test]
fn rule_4_7_the_union_of_the_users_clusters_and_the_last_one_takes_it_along() {
    let mut world = world();
    world.following("api", &["b", "c"], "api");
    world.apply_naming("api", "ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b c | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "api web");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "api");
    world.delete("api");
    let log = world.settle();
    assert!(log.contains("cfg: -b:UserGone -c:UserGone | UserGone"), "{log}");
    assert_eq!(world.show("ConfigMap/cfg"), "-");
    // The template stands, and bears no finalizer of ours.
    assert!(world.exists("ConfigMap/cfg"));
    assert!(world.index.templates[&key("ConfigMap/cfg")].finalizers.is_empty());
    // Made again, it is followed again.
    world.apply_naming("web", "ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
}

#[test]
fn rule_4_7_what_is_named_no_more_stays_until_it_is_deleted() {
    let mut world = world();
    world.apply_naming("web", "ConfigMap/next");
    world.plain("ConfigMap/next");
    world.settle();
    assert_eq!(world.show("ConfigMap/next"), "a b | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | PolicyGone");
    // Its user moves on, and it stays.
    world.following("web", &["c"], "web");
    world.settle();
    assert_eq!(world.show("ConfigMap/next"), "c | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | PolicyGone");
    world.delete("ConfigMap/cfg");
    world.settle();
    assert!(!world.exists("ConfigMap/cfg"));
    assert_eq!(world.show("ConfigMap/cfg"), "-");
}

#[test]
fn rule_1_2_where_nothing_is_followed_any_more_the_copies_stay() {
    let mut world = world();
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["c"]}}]}));
    world.settle();
    assert_eq!(world.show("web"), "c=1 | Placed");
    assert_eq!(world.dependencies("web"), "-");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | PolicyGone");
    world.following("web", &["c"], "web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "c | Placed");
    world.drop_policy("web");
    world.settle();
    assert_eq!(world.show("web"), "c=1 | PolicyGone");
    assert_eq!(world.show("ConfigMap/cfg"), "c | PolicyGone");
    // Whose user is deleted then goes with it.
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "-");
}

#[test]
fn rule_1_6_what_a_revision_needs_follows_as_long_as_a_cluster_runs_it() {
    let mut world = World::new("a eks, b gke, c onprem");
    let waves = json!([{"name": "canary", "clusters": {"names": ["a"]}},
                       {"name": "rest", "approval": "Required"}]);
    world.strategy("waves", json!({"waves": waves}));
    world.policy(
        "web",
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}],
               "dependencies": "Follow", "rollout": {"strategyName": "waves"}}),
    );
    world.following("api", &["a"], "api");
    world.apply_naming("api", "ConfigMap/one");
    world.apply_naming("web", "ConfigMap/one");
    world.plain("ConfigMap/one");
    world.plain("ConfigMap/two");
    world.settle();
    assert_eq!(world.show("ConfigMap/one"), "a b c | Placed");
    world.apply_naming("web", "ConfigMap/one? ConfigMap/two");
    world.settle();
    assert_eq!(world.needs("web"), "one two");
    world.apply_naming("web", "ConfigMap/two");
    world.settle();
    assert_eq!(world.needs("web"), "one two", "b and c run the first revision");
    assert_eq!(world.show("ConfigMap/one"), "a b c | Placed");
    assert_eq!(world.follows("ConfigMap/one"), "api web");
    world.tell("web", |it| it.aborted = true);
    world.settle();
    assert_eq!(world.needs("web"), "one two", "all of them run it again");
    assert_eq!(world.show("ConfigMap/one"), "a b c | Placed");
    world.tell("web", |it| it.retry = "again".into());
    world.settle();
    world.tell("web", |it| it.approved.push("rest".into()));
    world.settle();
    assert_eq!(world.needs("web"), "two");
    // Named no more, it keeps its copies.
    assert_eq!(world.follows("ConfigMap/one"), "api");
    assert_eq!(world.show("ConfigMap/one"), "a b c | Placed");
    // Where nothing is followed any more, that goes for the revision before as well.
    world.apply_naming("web", "ConfigMap/one");
    world.settle();
    assert_eq!(world.needs("web"), "one two");
    world.policy("web", json!({"rollout": {"strategyName": "waves"}}));
    world.settle();
    assert_eq!(world.needs("web"), "");
}

#[test]
fn rule_1_2_what_a_user_takes_along_no_more_stays_where_that_user_is() {
    let mut world = World::new("a eks, b gke, c onprem");
    let still = |world: &mut World, cluster: &str| {
        world.policy(
            "api",
            json!({"affinities": [{"clusters": {"names": [cluster]}}],
                   "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}]}),
        );
        world.settle();
    };
    world.following("web", &["a"], "web");
    world.following("api", &["b"], "api");
    world.apply_naming("web", "ConfigMap/cfg");
    world.apply_naming("api", "ConfigMap/cfg");
    world.plain("ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
    still(&mut world, "b");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "web");
    // It stays as others come and go.
    world.following("web", &["c"], "web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b | PolicyGone");
    // Taken along again, it leaves with its user.
    world.following("api", &["b"], "api");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b | Placed");
    world.following("api", &["a"], "api");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a | Placed");
    // A cluster that leaves is not held up by it.
    world.following("web", &["c"], "web");
    world.apply_naming("web", "ConfigMap/cfg");
    world.settle();
    still(&mut world, "a");
    assert_eq!(world.show("ConfigMap/cfg"), "a c | Placed");
    world.cluster("a eks drain=archipel.dev/draining");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "c | Placed");
}

#[test]
fn rule_1_2_what_another_names_stays_where_that_other_runs() {
    let mut world = world();
    world.following("api", &["b", "c"], "api");
    world.apply_naming("api", "ConfigMap/cfg");
    world.settle();
    // It takes nothing along any more, and names it all the same.
    world.policy(
        "api",
        json!({"affinities": [{"clusters": {"names": ["b"]}}],
               "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}]}),
    );
    world.settle();
    world.following("web", &["c"], "web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "web");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b | PolicyGone");
}

#[test]
fn rule_1_2_what_a_policy_of_its_own_has_placed_stays_when_that_is_deleted() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.policy(
        "cfg",
        json!({"selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "cfg"}]}),
    );
    world.following("web", &["a"], "web");
    world.apply_naming("web", "ConfigMap/cfg");
    world.plain("ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b c | Placed");
    world.drop_policy("cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b c | Placed");
    world.following("web", &["a", "b"], "web");
    world.settle();
    world.following("web", &["a"], "web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a c | Placed", "b was its user's, and is left by it");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "c | PolicyGone");
}

#[test]
fn rule_1_2_what_was_about_to_go_with_its_user_stays_or_says_what_holds_it() {
    let mut world = World::new("a eks in=EU, b gke in=US");
    world.policy(
        "-/secrets",
        json!({"selectors": [{"apiVersion": "v1", "kind": "Secret", "name": "key"}], "limitsOnly": true,
               "limits": {"jurisdictions": ["EU"]}}),
    );
    world.following("web", &["a"], "web");
    world.apply_naming("web", "ConfigMap/cfg Secret/key");
    world.plain("ConfigMap/cfg");
    world.plain("Secret/key");
    world.settle();
    // Its user may leave, and then nothing more.
    world.index.budgets.insert("default".into(), budget(1, 0));
    world.following("web", &["b"], "web");
    world.settle();
    assert_eq!(world.show("web"), "b=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a!UserGone b | ChangeBudgetSpent");
    assert_eq!(world.show("Secret/key"), "a!UserGone | NoClusterFits");
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["b"]}}]}));
    world.settle();
    // A move that was begun is ended, and what is held of it said beside the rest.
    assert_eq!(world.show("ConfigMap/cfg"), "a!UserGone b | PolicyGone");
    let message = world.placed("ConfigMap/cfg").unwrap().spec.outcome.message.clone();
    assert!(message.starts_with("nothing takes it along any more; its copies stay until"));
    assert!(message.ends_with("; the change budget holds the removal of 1 copy"), "{message}");
    // Where it would go from everywhere it stays.
    assert_eq!(world.show("Secret/key"), "a | PolicyGone");
    world.pass_time(700);
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b | PolicyGone");
    assert_eq!(world.show("Secret/key"), "a | PolicyGone");
}

#[test]
fn rule_1_2_not_all_are_gone_when_all_that_are_named_are() {
    let mut world = World::new("a eks, b gke");
    let everybody = |more: Value| {
        let mut spec = json!({"affinities": [{"clusters": {"names": ["a"]}}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    world.policy("all", everybody(json!({"dependencies": "Follow"})));
    let names: Vec<String> = (0..11).map(|it| format!("user-{it:02}")).collect();
    for it in &names {
        world.apply_naming(it, "ConfigMap/cfg");
    }
    world.plain("ConfigMap/cfg");
    world.settle();
    assert_eq!(world.placed("ConfigMap/cfg").unwrap().spec.follows.len(), 10);
    world.policy("all", everybody(json!({})));
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a | PolicyGone");
    for it in &names[..10] {
        world.delete(it);
    }
    world.settle();
    assert_eq!(world.show("user-10"), "a=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a | PolicyGone");
    // Taken along, it goes with the last of many.
    world.pass_time(700);
    world.policy("all", everybody(json!({"dependencies": "Follow"})));
    for it in &names {
        world.apply_naming(it, "ConfigMap/cfg");
    }
    world.settle();
    for it in &names {
        world.delete(it);
    }
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "-");
}

#[test]
fn rule_4_7_a_policy_of_its_own_wins_and_what_it_leaves_out_is_said_of_the_user() {
    let mut world = world();
    world.policy(
        "cfg",
        json!({"affinities": [{"clusters": {"names": ["b", "c"]}}],
               "selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "cfg"}]}),
    );
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "");
    let said =
        "False DependencyLeftOut ConfigMap cfg is left out of a by its own PlacementPolicy cfg";
    assert_eq!(world.dependencies("web"), said);
    assert_eq!(world.show("web"), "a=1 b=1 | Placed", "it does not keep its user from running");
    world.policy(
        "cfg",
        json!({"affinities": [{"clusters": {"names": ["a", "b"]}}],
               "selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "cfg"}]}),
    );
    world.settle();
    assert_eq!(world.dependencies("web"), "True DependenciesMet");
    world.drop_policy("cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
    assert_eq!(world.follows("ConfigMap/cfg"), "web");
}

#[test]
fn rule_4_7_what_is_missing_on_the_hub_is_said_and_does_not_block() {
    let mut world = World::new("a eks");
    world.following("web", &["a"], "web");
    world.apply_naming("web", "ConfigMap/cfg Secret/key Secret/extra?");
    world.settle();
    assert_eq!(world.show("web"), "a=1 | Placed");
    assert_eq!(
        world.dependencies("web"),
        "False DependencyMissing ConfigMap cfg is not on the hub: a cluster that has one of its own uses that; \
         Secret key is not on the hub: a cluster that has one of its own uses that"
    );
    let told: Vec<&str> = world.events.iter().map(|it| it.reason).collect();
    assert_eq!(told, ["DependencyMissing"]);
    world.plain("ConfigMap/cfg");
    world.plain("Secret/key");
    world.plain("Secret/extra");
    world.settle();
    assert_eq!(world.dependencies("web"), "True DependenciesMet");
    for it in ["ConfigMap/cfg", "Secret/key", "Secret/extra"] {
        assert_eq!(world.show(it), "a | Placed", "{it}");
    }
    world.delete("Secret/key");
    world.settle();
    assert!(!world.exists("Secret/key"));
    assert!(world.dependencies("web").starts_with("False DependencyMissing Secret key is not on"));
    // A kind that is not listed yet shows nothing.
    world.index.kinds.get_mut(&("".into(), "Secret".into())).unwrap().synced = false;
    world.index.touch_everything();
    world.settle();
    assert!(world.dependencies("web").starts_with("False DependencyMissing Secret key"));
}

#[test]
fn rule_2_2_limits_hold_for_what_follows_and_rule_2_4_never_copies() {
    let mut world = World::new("a eks in=EU, b gke in=US, c onprem in=EU");
    world.policy(
        "-/secrets",
        json!({"selectors": [{"apiVersion": "v1", "kind": "Secret", "name": "key"}], "limitsOnly": true,
               "limits": {"jurisdictions": ["EU"]}}),
    );
    world.following("web", &["a", "b"], "web");
    world.apply_naming("web", "Secret/key Secret/token");
    world.plain("Secret/key");
    world.plain("Secret/token");
    world.with_template(&key("Secret/token"), |it| {
        it.secret_type = "kubernetes.io/service-account-token".into();
    });
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    assert_eq!(world.show("Secret/key"), "a | Placed");
    assert_eq!(world.show("Secret/token"), "-");
    assert_eq!(
        world.dependencies("web"),
        "False DependencyLeftOut Secret key is left out of b (see `archipel why secret/key`); Secret token is never \
         copied: Secrets of this type belong to one cluster"
    );
    let why = world.why_not("Secret/key", "b").unwrap();
    assert_eq!(why.clusters[0].rule, "Limit");
    assert_eq!(why.clusters[0].policy, "ClusterPlacementPolicy secrets");
    // Where no cluster is left that may hold it, it is nowhere.
    world.following("web", &["b"], "web");
    world.settle();
    assert_eq!(world.show("Secret/key"), "| NoClusterFits");
}

#[test]
fn rule_4_7_what_follows_outlasts_its_user_on_a_cluster_that_is_dark_or_leaves() {
    let mut world = world();
    world.policy(
        "web",
        json!({"dependencies": "Follow", "spread": [{"topologyKey": "cluster", "max": 2}],
               "replicas": {"mode": "Duplicated"}}),
    );
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    world.cluster("a eks dark");
    world.pass_time(400);
    world.settle();
    assert_eq!(world.show("web"), "a=1!Failover b=1 c=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a b c | Placed");
    world.cluster("a eks");
    let log = world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b c | Placed");
    assert!(log.find("web: b=1 c=1 | ").unwrap() < log.find("-a:UserGone").unwrap(), "{log}");
    // Emptied, it is left by the user first.
    world.cluster("b gke drain=archipel.dev/draining");
    let log = world.settle();
    assert_eq!(world.show("web"), "a=1 c=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a c | Placed");
    assert!(log.find("web: a=1 c=1 | ").unwrap() < log.find("-b:UserGone").unwrap(), "{log}");
    // A taint that its user tolerates is none for it.
    world.cluster("b gke taint=spot");
    world.policy(
        "web",
        json!({"dependencies": "Follow", "affinities": [{"clusters": {"names": ["b"]}}],
               "tolerations": [{"key": "spot", "operator": "Exists"}]}),
    );
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "b | Placed");
}

#[test]
fn rule_3_4_a_claim_that_follows_stays_bound() {
    let mut world = World::new("a eks, b gke");
    world.following("web", &["a"], "web");
    world.apply_naming("web", "PersistentVolumeClaim/data");
    world.claim("PersistentVolumeClaim/data");
    world.settle();
    assert_eq!(world.show("PersistentVolumeClaim/data"), "a | Placed");
    world.following("web", &["b"], "web");
    world.settle();
    assert_eq!(world.show("web"), "b=1 | Placed");
    // Where its user goes there is one, and where it was bound it stays.
    assert_eq!(world.show("PersistentVolumeClaim/data"), "a b | NeedsApproval");
    assert_eq!(world.dependencies("web"), "True DependenciesMet");
    // Data does not go because what used it is deleted.
    world.delete("web");
    world.settle();
    assert_eq!(world.show("PersistentVolumeClaim/data"), "a b | PolicyGone");
}

#[test]
fn rule_4_7_what_follows_takes_along_what_it_names() {
    let mut world = World::new("a eks, b gke");
    world.following("web", &["b"], "web");
    world.plain_with("ServiceAccount/web", &json!({"imagePullSecrets": [{"name": "pull"}]}));
    world.plain("Secret/pull");
    world.apply_naming("web", "ServiceAccount/web");
    world.settle();
    assert_eq!(world.show("ServiceAccount/web"), "b | Placed");
    assert_eq!(world.show("Secret/pull"), "b | Placed");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("ServiceAccount/web"), "-");
    assert_eq!(world.show("Secret/pull"), "-");
}

#[test]
fn rule_1_2_a_kind_that_is_not_served_or_not_listed_takes_nothing_along() {
    let mut world = world();
    // As after a restart: the Placements are known, their templates are not yet.
    world.index.kinds.get_mut(&("apps".into(), "Deployment".into())).unwrap().synced = false;
    world.index.templates.remove(&key("web"));
    world.index.touch_everything();
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
    world.index.set_placement(key("web"), None);
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b | PolicyGone");
}

#[test]
fn rule_2_6_what_follows_is_not_unclaimed_and_says_whom_it_follows() {
    let mut world = world();
    world.policy(
        "maps",
        json!({"affinities": [{"clusters": {"names": ["a"]}}],
               "selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}]}),
    );
    let object = |name: &str| json!({"metadata": {"namespace": "shop", "name": name}});
    assert!(world.index.unclaimed("v1", "ConfigMap", &object("other")).is_some());
    assert_eq!(world.index.unclaimed("v1", "ConfigMap", &object("cfg")), None);
    assert!(world.index.claims("v1", "ConfigMap", &object("cfg")));
    assert!(!world.index.claims("v1", "ConfigMap", &object("other")));
    let why = world.why("ConfigMap/cfg");
    assert_eq!(why.policy, "PlacementPolicy shop/web");
    assert_eq!(why.summary, "ConfigMap shop/cfg: on 2 clusters: a, b");
    assert_eq!(why.notes, ["follows Deployment shop/web"]);
    let not = world.why_not("ConfigMap/cfg", "c").unwrap();
    assert_eq!(not.clusters[0].wanted, "a cluster where something needs it");
    assert_eq!(not.clusters[0].found, "it is needed on a, b");
    assert_eq!(world.notes("web").last().unwrap(), "takes along ConfigMap cfg");
    // Counts of a policy are of what it selects.
    let statuses = crate::policy_status::count(&world.index);
    assert_eq!(statuses[&("shop".to_owned(), "web".to_owned())].matched, 1);
}

#[test]
fn kinds_are_watched_for_what_follows_only_where_something_does() {
    let secret = &("".into(), "Secret".into());
    let mut world = World::new("a eks");
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["a"]}}]}));
    assert!(!world.index.wanted_kinds().contains_key(secret));
    world.following("web", &["a"], "web");
    assert_eq!(world.index.wanted_kinds()[secret], "v1");
}

#[test]
fn a_plan_that_has_dependencies_follow_shows_where_they_go_and_why() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["a", "b"]}}]}));
    world.apply_naming("web", "ConfigMap/cfg Secret/key");
    world.plain("ConfigMap/cfg");
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "-");
    let policy: kube::api::DynamicObject = serde_json::from_value(json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy",
        "metadata": {"namespace": "shop", "name": "web", "uid": "u", "generation": 9},
        "spec": {"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "dependencies": "Follow",
                 "affinities": [{"clusters": {"names": ["a", "c"]}}]}}))
    .unwrap();
    let mut index = world.index.clone();
    index.dirty.clear();
    overlay::put(&mut index, &policy).unwrap();
    let mut before = world.index.clone();
    let mut run = crate::dry_run::DryRun::new(index, crate::approval::Approvals::All, world.now);
    run.settle();
    let draft = plan::compare(&mut before, run, &BTreeSet::new(), world.now);
    let told = draft.finish(&[], &|_: &ObjectKey, _: &str| true);
    let lines: Vec<String> = told
        .templates
        .iter()
        .flat_map(|it| {
            it.changes.iter().map(|change| {
                format!(
                    "{} {}: {:?} {}",
                    it.template.name, change.cluster, change.action, change.cause
                )
            })
        })
        .collect();
    assert_eq!(
        lines,
        [
            "cfg a: Add Needed",
            "cfg c: Add Needed",
            "web b: Remove PolicyChanged",
            "web c: Add PolicyChanged"
        ]
    );
    let missing = "Deployment shop/web: Secret key is not on the hub";
    assert!(told.notes.iter().any(|it| it.starts_with(missing)), "{:?}", told.notes);
}

#[test]
fn what_is_being_written_goes_before_and_what_was_written_meanwhile_is_not_overlooked() {
    let mut world = world();
    world.policy(
        "cfg",
        json!({"affinities": [{"clusters": {"names": ["b"]}}],
               "selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "cfg"}]}),
    );
    // Its own watch tells of the write before the write itself has ended.
    world.index.in_flight.insert(key("ConfigMap/cfg"), Vec::new());
    world.settle();
    assert_eq!(world.dependencies("web"), "True DependenciesMet");
    world.index.in_flight.remove(&key("ConfigMap/cfg"));
    world.index.announced(&key("ConfigMap/cfg"));
    world.settle();
    assert!(world.dependencies("web").starts_with("False DependencyLeftOut ConfigMap cfg"));
    // A user that is about to go to c wants it there first; and no more, if that could not be written.
    world.drop_policy("cfg");
    world.settle();
    let mut spec = world.placed("web").unwrap().spec.clone();
    spec.clusters[0].name = "c".into();
    assert_eq!(world.index.announce(&key("web"), &spec), [key("ConfigMap/cfg")]);
    assert!(world.index.follow.is_needed_on(&key("ConfigMap/cfg"), "c"));
    assert!(world.index.follow.is_needed_on(&key("ConfigMap/cfg"), "a"), "it is still there");
    world.index.announced(&key("web"));
    assert!(!world.index.follow.is_needed_on(&key("ConfigMap/cfg"), "c"));
    world.settle();
    assert_eq!(world.show("ConfigMap/cfg"), "a b | Placed");
}

#[test]
fn what_if_a_cluster_is_lost_shows_what_follows() {
    let mut world = world();
    world.policy(
        "web",
        json!({"dependencies": "Follow", "spread": [{"topologyKey": "cluster", "max": 2}],
               "replicas": {"mode": "Duplicated"}}),
    );
    world.settle();
    let spec = serde_json::from_value(json!({"down": ["a"]})).unwrap();
    let outcome = crate::simulation::work_out(world.index.clone(), &spec, world.now).unwrap();
    let told = outcome.finish(true, &|_| true).plan;
    let of = |name: &str| told.templates.iter().find(|it| it.template.name == name).unwrap();
    let added = of("cfg").changes.iter().map(|it| (it.cluster.as_str(), it.cause.as_str()));
    assert_eq!(added.collect::<Vec<_>>(), [("c", "Needed")]);
}

#[derive(Clone, Debug)]
enum Happens {
    /// A cluster by its number: answers, is dark, is tainted, is drained.
    Cluster(usize, usize),
    /// The policy of the users by a number.
    Policy(usize),
    /// A policy of the second user's own that takes nothing along, or none.
    Alone(bool),
    /// A policy of the first ConfigMap's own, or none.
    Own(bool),
    /// A user names ConfigMaps, by the bits of a number.
    Names(usize, usize),
    Delete(usize),
    Config(usize, bool),
    Time(i64),
    Decide,
    Settle,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..4_usize, 0..4_usize).prop_map(|(it, state)| Happens::Cluster(it, state)),
        3 => (0..5_usize).prop_map(Happens::Policy),
        1 => any::<bool>().prop_map(Happens::Own),
        1 => any::<bool>().prop_map(Happens::Alone),
        4 => (0..3_usize, 0..8_usize).prop_map(|(it, names)| Happens::Names(it, names)),
        2 => (0..3_usize).prop_map(Happens::Delete),
        2 => (0..3_usize, any::<bool>()).prop_map(|(it, is)| Happens::Config(it, is)),
        2 => (1..700_i64).prop_map(Happens::Time),
        2 => Just(Happens::Decide),
        2 => Just(Happens::Settle),
    ]
}

const FLEET: [&str; 4] = ["a eks", "b eks", "c gke", "d onprem"];
const USERS: [&str; 3] = ["web", "api", "DaemonSet/log"];
const CONFIGS: [&str; 3] = ["ConfigMap/x", "ConfigMap/y", "ConfigMap/z"];

fn play(world: &mut World, event: &Happens) {
    match event {
        Happens::Cluster(it, state) => {
            let state = ["", "dark", "taint=x", "drain=x"][*state];
            world.cluster(&format!("{} {state}", FLEET[*it]));
        }
        Happens::Policy(which) => {
            let names = |names: &[&str]| json!([{"clusters": {"names": names}}]);
            let mut spec = match which {
                0 => json!({"affinities": names(&["a", "b"])}),
                1 => json!({"affinities": names(&["b", "c"]), "failover": {"after": "30s"}}),
                2 => json!({"spread": [{"topologyKey": "cluster", "max": 2}]}),
                3 => json!({"affinities": names(&["d"]), "dependencies": "Ignore"}),
                _ => return world.drop_policy("web"),
            };
            if spec.get("dependencies").is_none() {
                spec["dependencies"] = json!("Follow");
            }
            spec["selectors"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment"},
                                       {"apiVersion": "apps/v1", "kind": "DaemonSet"}]);
            world.policy("web", spec);
        }
        Happens::Own(true) => world.policy(
            "own",
            json!({"affinities": [{"clusters": {"names": ["a", "d"]}}],
                   "selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}]}),
        ),
        Happens::Alone(true) => world.policy(
            "alone",
            json!({"affinities": [{"clusters": {"names": ["b", "d"]}}],
                   "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}]}),
        ),
        Happens::Alone(false) => world.drop_policy("alone"),
        Happens::Own(false) => world.drop_policy("own"),
        Happens::Names(it, names) => {
            let named = (0..3).filter(|at| names >> at & 1 == 1).map(|at| CONFIGS[at]);
            world.apply_naming(USERS[*it], &named.collect::<Vec<_>>().join(" "));
        }
        Happens::Delete(it) => world.delete(USERS[*it]),
        Happens::Config(it, true) => world.plain(CONFIGS[*it]),
        Happens::Config(it, false) => world.delete(CONFIGS[*it]),
        Happens::Time(seconds) => world.pass_time(*seconds),
        Happens::Decide => drop(world.decide(&mut String::new())),
        Happens::Settle => drop(world.settle()),
    }
}

/// What goes because its users are gone, and from where.
fn going(world: &World) -> BTreeSet<(&'static str, String)> {
    let of = |config: &'static str| {
        let spec = world.placed(config).map(|it| it.spec.clone()).unwrap_or_default();
        let leaving = spec.clusters.into_iter().map(|it| (it.name, it.leaving));
        let removing = spec.removing.into_iter().map(|it| (it.name, it.cause));
        let all = leaving.chain(removing).filter(|it| it.1 == "UserGone");
        all.map(move |it| (config, it.0)).collect::<Vec<_>>()
    };
    CONFIGS.into_iter().flat_map(of).collect()
}

/// Whether a template names a ConfigMap, as it was applied last.
fn names(world: &World, user: &str, config: &str) -> bool {
    let template = world.index.templates.get(&key(user));
    let named = format!("{:?}", key(config).name);
    template.is_some_and(|it| it.content.contains(&named))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rule_4_7_holds_whatever_happens(events in proptest::collection::vec(happens(), 1..40)) {
        let mut world = World::new(&FLEET.join(","));
        play(&mut world, &Happens::Policy(0));
        for event in &events {
            let before = going(&world);
            play(&mut world, event);
            for (config, cluster) in going(&world).difference(&before) {
                let users = USERS.iter().filter(|it| names(&world, it, config));
                let there = users.filter_map(|it| world.placed(it)).flat_map(|it| &it.spec.clusters);
                let there: Vec<_> = there.filter(|it| it.name == *cluster).collect();
                prop_assert!(there.is_empty(), "{config} goes from {cluster} under its users");
            }
        }
        world.settle();
        for config in CONFIGS {
            let config = key(config);
            let users: Vec<_> = world
                .index
                .placements
                .values()
                .filter(|it| it.spec.needs.iter().any(|need| need.name == config.name))
                .collect();
            let holds = |it: &&Arc<Placed>| -> BTreeSet<String> {
                let clusters = it.spec.clusters.iter().map(|it| it.name.clone());
                clusters.chain(it.spec.removing.iter().map(|it| it.name.clone())).collect()
            };
            let needed: BTreeSet<String> = users.iter().flat_map(holds).collect();
            let counted: BTreeSet<String> =
                world.index.follow.clusters(&config).map(str::to_owned).collect();
            prop_assert_eq!(&needed, &counted);
            let Some(template) = world.index.templates.get(&config) else { continue };
            let claim = world.index.claim(&config, template);
            // Nothing is decided while the hub presumes that it is cut off.
            let cut_off = world.index.presumed() == crate::gate::Fleet::CutOff;
            if template.deleting || claim.users.is_empty() || cut_off {
                continue;
            }
            // It is wherever one of its users is, unless it came while that cluster was dark, and nowhere else.
            let placed = world.index.placements.get(&config);
            let has: BTreeSet<String> = placed.iter().flat_map(holds).collect();
            let answers =
                |it: &&String| world.index.clusters.get(*it).is_some_and(|it| is_ready(it));
            let lacks: Vec<_> = needed.difference(&has).filter(answers).collect();
            prop_assert!(lacks.is_empty(), "{lacks:?} is not on {has:?}");
            // Elsewhere it only stays where nobody took it along and left.
            let clusters = placed.iter().flat_map(|it| &it.spec.clusters);
            let kept: BTreeSet<String> =
                clusters.filter(|it| it.kept).map(|it| it.name.clone()).collect();
            prop_assert!(kept.is_disjoint(&needed), "{kept:?} and {needed:?}");
            let beside: BTreeSet<String> = has.difference(&needed).cloned().collect();
            let more: Vec<_> = beside.difference(&kept).filter(answers).collect();
            prop_assert!(more.is_empty(), "{more:?} beside {needed:?} and {kept:?}");
        }
    }
}
