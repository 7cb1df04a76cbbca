"""A walk through the API with the official client: every step asserts what it got."""
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()

space = core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="walk")))
assert space.status.phase == "Active", space

made = core.create_namespaced_config_map("walk", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one"), data={"a": "1"}))
start = made.metadata.resource_version
core.patch_namespaced_config_map("one", "walk", {"data": {"a": "2", "b": "3"}})
assert core.read_namespaced_config_map("one", "walk").data == {"a": "2", "b": "3"}
core.delete_namespaced_config_map("one", "walk")
seen = []
for event in watch.Watch().stream(core.list_namespaced_config_map, "walk", resource_version=start,
                                  field_selector="metadata.name=one", timeout_seconds=30):
    seen.append(event["type"])
    if event["type"] == "DELETED":
        break
assert seen == ["MODIFIED", "DELETED"], seen

labels = {"app": "echo"}
pod = client.V1PodSpec(containers=[client.V1Container(name="echo", image="shoal.local/toolbox:latest", args=["sleep", "forever"])])
apps.create_namespaced_deployment("walk", client.V1Deployment(
    metadata=client.V1ObjectMeta(name="echo"),
    spec=client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels=labels),
        template=client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod))))
for event in watch.Watch().stream(apps.list_namespaced_deployment, "walk", timeout_seconds=60):
    if event["object"].status.ready_replicas == 2:
        break
else:
    raise AssertionError("the deployment did not become ready")
assert len(core.list_namespaced_pod("walk", label_selector="app=echo").items) == 2
scale = apps.read_namespaced_deployment_scale("echo", "walk")
scale.spec.replicas = 1
apps.replace_namespaced_deployment_scale("echo", "walk", scale)
assert apps.read_namespaced_deployment("echo", "walk").spec.replicas == 1

try:
    core.read_namespaced_pod("absent", "walk")
    raise AssertionError("an absent pod was found")
except ApiException as error:
    assert error.status == 404 and '"reason":"NotFound"' in error.body, error.body

page = core.list_namespaced_pod("walk", limit=1)
assert len(page.items) == 1
core.delete_namespace("walk")
for event in watch.Watch().stream(core.list_namespace, field_selector="metadata.name=walk", timeout_seconds=60):
    if event["type"] == "DELETED":
        break
else:
    raise AssertionError("the namespace was not emptied and removed")
print("all steps done")
