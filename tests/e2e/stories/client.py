"""Uses a hub through the `kubernetes` package, as any Python program uses a cluster."""

import sys

from kubernetes import client, config, watch

GROUP, VERSION = "archipel.dev", "v1alpha1"
NAMESPACE = "python"

config.load_kube_config(sys.argv[1])
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()

core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
custom.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "placementpolicies", {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "PlacementPolicy",
    "metadata": {"name": "web"},
    "spec": {"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]},
})
policies = custom.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "placementpolicies")
assert [item["metadata"]["name"] for item in policies["items"]] == ["web"], policies
custom.patch_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "placementpolicies", "web", {"spec": {"priority": 7}})
policy = custom.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "placementpolicies", "web")
assert policy["spec"]["priority"] == 7, policy
members = custom.list_cluster_custom_object(GROUP, VERSION, "memberclusters")
assert len(members["items"]) >= 3, members
try:
    custom.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "placementpolicies", {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": "PlacementPolicy", "metadata": {"name": "bad"},
        "spec": {"selectors": []},
    })
    raise SystemExit("a policy without selectors was taken")
except client.ApiException as error:
    assert error.status == 422 and "spec.selectors" in error.body, error
print("custom objects: ok")

labels = {"app": "web"}
container = client.V1Container(name="web", image="registry.example/web:1.0")
created = apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(
    metadata=client.V1ObjectMeta(name="web", labels=labels),
    spec=client.V1DeploymentSpec(
        replicas=1,
        selector=client.V1LabelSelector(match_labels=labels),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels),
            spec=client.V1PodSpec(containers=[container]),
        ),
    ),
))
assert created.metadata.uid and created.metadata.generation == 1, created.metadata
for number in range(5):
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"c{number}", labels={"n": str(number)}), data={"n": str(number)})
    core.create_namespaced_config_map(NAMESPACE, body)
print("create: ok")

listed = core.list_namespaced_config_map(NAMESPACE, label_selector="n in (1,3)")
assert [item.metadata.name for item in listed.items] == ["c1", "c3"], listed.items
page = core.list_namespaced_config_map(NAMESPACE, limit=2)
names = [item.metadata.name for item in page.items]
while page.metadata._continue:
    page = core.list_namespaced_config_map(NAMESPACE, limit=2, _continue=page.metadata._continue)
    names += [item.metadata.name for item in page.items]
assert [name for name in names if name.startswith("c")] == ["c0", "c1", "c2", "c3", "c4"], names
print("list: ok")

start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
patched = core.patch_namespaced_config_map("c0", NAMESPACE, {"data": {"n": "zero", "more": "yes"}})
assert patched.data == {"n": "zero", "more": "yes"}, patched.data
core.patch_namespaced_config_map("c0", NAMESPACE, [{"op": "remove", "path": "/data/more"}])
scale = apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 2}})
assert scale.spec.replicas == 2, scale
print("patch: ok")

core.delete_namespaced_config_map("c4", NAMESPACE)
seen = []
for event in watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE, resource_version=start, timeout_seconds=20):
    seen.append((event["type"], event["object"].metadata.name, (event["object"].data or {}).get("n")))
    if event["type"] == "DELETED":
        break
assert seen == [("MODIFIED", "c0", "zero"), ("MODIFIED", "c0", "zero"), ("DELETED", "c4", "4")], seen
print("watch: ok")

core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="n")
left = core.list_namespaced_config_map(NAMESPACE, label_selector="n")
assert not left.items, left.items
try:
    core.read_namespaced_config_map("c0", NAMESPACE)
    raise SystemExit("a deleted object is still there")
except client.ApiException as error:
    assert error.status == 404, error
print("delete: ok")
