//! What comes from elsewhere: another control plane's policies, and copies that nobody knows of.

use federation_tests::{Kubectl, wait};
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, deployment, get, seen};

pub(super) async fn policies_of_karmada_are_converted_and_placed(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("karmada").await;
    let desk = tempfile::tempdir().unwrap();
    let file = desk.path().join("karmada.yaml");
    std::fs::write(&file, include_str!("karmada.yaml")).unwrap();
    let converted = fleet.hub.archipel(&["convert", "-f", &file.display().to_string()]).await;
    assert_eq!(converted.code, Some(2), "something is lost, and said: {converted:?}");
    assert!(
        converted.stderr.contains("spec.activationPreference"),
        "the field that is dropped is named: {}",
        converted.stderr
    );
    kubectl.apply(&converted.stdout).await;
    kubectl.apply(&deployment("karmada", "web", 3)).await;
    kubectl
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: karmada}, data: {a: b}}")
        .await;
    fleet.placed("karmada", "deployment-web", "eks-1=2 gke-1=1").await;
    fleet.placed("karmada", "configmap-settings", "eks-1 gke-1").await;
    let web = ["deploy", "web", "-n", "karmada"];
    let gke = fleet.arrives("gke-1", &web).await;
    let image = |it: &Value| it["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image(&gke), "mirror.example/web:1.0");
    assert_eq!(gke["metadata"]["labels"]["cloud"], "gke");
    assert_eq!(gke["spec"]["minReadySeconds"], 3);
    let eks = fleet.arrives("eks-1", &web).await;
    assert_eq!(image(&eks), "registry.example/web:1.0");
    assert_eq!(eks["metadata"]["labels"]["cloud"], Value::Null);
    fleet.end("karmada").await;
}

/// Makes an object in the member as a hub whose store was lost since would have left it.
async fn forgotten(on: &Kubectl, hub: &str, name: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": "lost", "labels": {"archipel.dev/managed": "true"},
            "annotations": {"archipel.dev/copy-of": format!("{hub}//ConfigMap/lost/{name}/0000")},
        },
        "data": {"key": name},
    });
    let args = ["apply", "--server-side", "--field-manager=archipel", "-f", "-"];
    let made = on.run_with(&object.to_string(), args).await;
    assert!(made.success(), "{made:?}");
}

pub(super) async fn unknown_copies_are_adopted_or_deleted(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("lost").await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: settings, namespace: lost}
spec:
  selectors: [{apiVersion: v1, kind: ConfigMap}]
  affinities: [{clusters: {names: [prem-1]}}]
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: known, namespace: lost}, data: {key: known}}
"#,
        )
        .await;
    fleet.placed("lost", "configmap-known", "prem-1").await;
    let known = fleet.arrives("prem-1", &["cm", "known", "-n", "lost"]).await;
    let copy_of = known["metadata"]["annotations"]["archipel.dev/copy-of"].as_str().unwrap();
    let hub = copy_of.split('/').next().unwrap();
    let on = fleet.on("prem-1");
    forgotten(&on, hub, "kept").await;
    forgotten(&on, hub, "dropped").await;
    listed(fleet, &["ConfigMap lost/dropped", "ConfigMap lost/kept"], true).await;

    let adopt = ["orphans", "adopt", "prem-1", "ConfigMap/kept", "-n", "lost"];
    let asked = fleet.hub.archipel(&adopt).await;
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(fleet.get(&["cm", "kept", "-n", "lost"]).await, None, "nothing without --yes");
    fleet.hub.archipel_ok(&[&adopt[..], &["--yes"]].concat()).await;
    let template = fleet.get(&["cm", "kept", "-n", "lost"]).await.expect("a template now");
    assert_eq!(template["data"], json!({"key": "kept"}));
    assert_eq!(template["metadata"]["labels"], Value::Null, "without our marks: {template}");
    fleet.placed("lost", "configmap-kept", "prem-1").await;
    fleet
        .member_shows("prem-1", "the new template's copy", &["cm", "kept", "-n", "lost"], |it| {
            let copy_of = it["metadata"]["annotations"]["archipel.dev/copy-of"].as_str();
            let uid = template["metadata"]["uid"].as_str().unwrap_or("none");
            seen(copy_of.is_some_and(|it| it.ends_with(uid)), &it["metadata"])
        })
        .await;

    let delete = ["orphans", "delete", "prem-1", "ConfigMap/dropped", "-n", "lost"];
    assert_eq!(fleet.hub.archipel(&delete).await.code, Some(1));
    assert!(get(&on, &["cm", "dropped", "-n", "lost"]).await.is_some(), "nothing without --yes");
    let known = fleet
        .hub
        .archipel(&["orphans", "delete", "prem-1", "ConfigMap/known", "-n", "lost", "--yes"])
        .await;
    assert_eq!(known.code, Some(1), "what has a template is no orphan: {known:?}");
    fleet.hub.archipel_ok(&[&delete[..], &["--yes"]].concat()).await;
    fleet.leaves("prem-1", &["cm", "dropped", "-n", "lost"]).await;
    listed(fleet, &["ConfigMap lost/dropped", "ConfigMap lost/kept"], false).await;
    assert!(get(&on, &["cm", "known", "-n", "lost"]).await.is_some());
    fleet.end("lost").await;
}

/// Waits until all of these are listed as unknown copies, or none of them.
async fn listed(fleet: &Fleet, objects: &[&str], all: bool) {
    wait::until("the list of unknown copies", SOON, async || {
        let listed = fleet.hub.archipel_ok(&["orphans", "list"]).await;
        if objects.iter().all(|it| listed.contains(it) == all) { Ok(()) } else { Err(listed) }
    })
    .await;
}
