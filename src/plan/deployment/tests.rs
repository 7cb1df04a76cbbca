//! Traces of rollouts.

use serde_json::{Value, json};

use super::Deployments;
use crate::kube::resource::id;
use crate::model::ObjectKey;
use crate::plan::replicaset::REPLICA_SETS;
use crate::plan::tests::Cluster;

fn deployment(replicas: i32, strategy: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": replicas, "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600, "strategy": strategy,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "main", "image": "v1" }] },
            },
        },
    })
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } })
}

struct Trace {
    cluster: Cluster,
    key: ObjectKey,
    /// Most pods, and fewest ready ones, that may be seen during a rollout.
    bounds: (usize, usize),
}

impl Trace {
    fn start(replicas: i32, strategy: Value, bounds: (usize, usize)) -> Self {
        let mut cluster = Cluster::new();
        let key = cluster.put(deployment(replicas, strategy));
        let mut trace = Self { cluster, key, bounds: (bounds.0, 0) };
        trace.finish();
        trace.bounds = bounds;
        trace.cluster.events.clear();
        trace
    }

    fn settle(&mut self) {
        let bounds = self.bounds;
        self.cluster.settle_with(&[&Deployments, &REPLICA_SETS], |cluster| {
            let sets = cluster.list(id::REPLICA_SETS);
            let asked: u64 = sets.iter().filter_map(|set| set["spec"]["replicas"].as_u64()).sum();
            let ready = cluster.list(id::PODS).iter().filter(|pod| is_ready(pod)).count();
            assert!(asked <= bounds.0 as u64, "{asked} pods asked for, at most {} allowed", bounds.0);
            assert!(ready >= bounds.1, "{ready} ready, at least {} asked", bounds.1);
        });
        let pods = self.cluster.names(id::PODS).len();
        assert!(pods <= bounds.0, "{pods} pods, at most {} allowed", bounds.0);
    }

    /// Makes pods ready one at a time until nothing moves.
    fn finish(&mut self) {
        self.settle();
        while let Some(name) = self.unready().first().cloned() {
            self.cluster.pass(1);
            self.cluster.set_ready(&ObjectKey::new(id::PODS, "default", &name), true);
            self.settle();
        }
    }

    fn unready(&self) -> Vec<String> {
        let pods = self.cluster.list(id::PODS);
        pods.iter()
            .filter(|pod| !is_ready(pod))
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn set_image(&mut self, image: &str) {
        self.cluster.edit(&self.key, |body| {
            body["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        });
    }

    fn images(&self) -> Vec<String> {
        let pods = self.cluster.list(id::PODS);
        pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()).collect()
    }

    fn condition(&self, name: &str) -> (String, String) {
        let body = self.cluster.value(&self.key);
        let found = body["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == name).unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
    }

    /// Events with the hashes of replica sets replaced by their order of appearance.
    fn events(&self) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        let scaled = self.cluster.events.iter().filter(|event| event.starts_with("ScalingReplicaSet"));
        scaled
            .map(|event| {
                let name = event.split(' ').find(|word| word.starts_with("web-")).unwrap().to_owned();
                let at = seen.iter().position(|one| *one == name).unwrap_or_else(|| {
                    seen.push(name.clone());
                    seen.len() - 1
                });
                event.replace("ScalingReplicaSet: Scaled ", "").replace(&name, &format!("#{at}"))
            })
            .collect()
    }
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn a_new_deployment_makes_its_pods_and_says_so() {
    let mut cluster = Cluster::new();
    let key = cluster.put(deployment(3, rolling("25%".into(), "25%".into())));
    cluster.settle(&[&Deployments, &REPLICA_SETS]);
    let sets = cluster.list(id::REPLICA_SETS);
    let name = sets[0]["metadata"]["name"].as_str().unwrap();
    let hash = name.strip_prefix("web-").unwrap();
    assert_eq!(sets[0]["metadata"]["labels"], json!({ "app": "web", "pod-template-hash": hash }));
    assert_eq!(sets[0]["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    let annotations = &sets[0]["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "1");
    assert_eq!(annotations["deployment.kubernetes.io/desired-replicas"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "4");
    assert_eq!(cluster.value(&key)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let pods = cluster.list(id::PODS);
    assert_eq!(pods.len(), 3);
    assert!(pods[0]["metadata"]["name"].as_str().unwrap().starts_with(&format!("{name}-")));
    assert_eq!(pods[0]["metadata"]["ownerReferences"][0]["name"], name);
    assert_eq!(cluster.events[0], format!("ScalingReplicaSet: Scaled up replica set {name} from 0 to 3"));
    let status = &cluster.value(&key)["status"];
    assert_eq!((&status["replicas"], &status["unavailableReplicas"]), (&json!(3), &json!(3)));
    assert_eq!(status["conditions"][0]["type"], "Available");
    assert_eq!(status["conditions"][0]["reason"], "MinimumReplicasUnavailable");
}

#[test]
fn a_rolling_update_keeps_within_its_bounds_whatever_they_are() {
    let cases = [
        (4, json!("25%"), json!("25%"), (5, 3)),
        (10, json!("25%"), json!("25%"), (13, 8)),
        (3, json!(1), json!(0), (4, 3)),
        (3, json!(0), json!(1), (3, 2)),
        (1, json!("25%"), json!("25%"), (2, 1)),
        (5, json!("100%"), json!("100%"), (10, 0)),
        (2, json!(0), json!(0), (2, 1)),
    ];
    for (replicas, surge, unavailable, bounds) in cases {
        let mut trace = Trace::start(replicas, rolling(surge.clone(), unavailable.clone()), bounds);
        trace.set_image("v2");
        trace.finish();
        let expect = vec!["v2"; usize::try_from(replicas).unwrap()];
        assert_eq!(trace.images(), expect, "surge {surge}, unavailable {unavailable}");
        assert_eq!(trace.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
        assert_eq!(trace.condition("Available"), pair("True", "MinimumReplicasAvailable"));
        let status = trace.cluster.value(&trace.key)["status"].clone();
        assert_eq!(status["updatedReplicas"], replicas);
        assert_eq!(status["unavailableReplicas"], Value::Null);
    }
}

#[test]
fn a_rolling_update_goes_step_by_step() {
    let mut trace = Trace::start(3, rolling(json!(1), json!(0)), (4, 3));
    trace.set_image("v2");
    trace.finish();
    let expect = [
        "up replica set #0 from 0 to 1",
        "down replica set #1 from 3 to 2",
        "up replica set #0 from 1 to 2",
        "down replica set #1 from 2 to 1",
        "up replica set #0 from 2 to 3",
        "down replica set #1 from 1 to 0",
    ];
    assert_eq!(trace.events(), expect);
}

#[test]
fn undoing_a_rollout_reuses_the_old_set_under_a_new_revision() {
    let mut trace = Trace::start(2, rolling(json!(1), json!(1)), (3, 1));
    trace.set_image("v2");
    trace.finish();
    trace.set_image("v1");
    trace.finish();
    let sets = trace.cluster.list(id::REPLICA_SETS);
    assert_eq!(sets.len(), 2);
    let first = sets.iter().find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == "v1").unwrap();
    assert_eq!(first["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(first["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(trace.images(), ["v1", "v1"]);
    let body = trace.cluster.value(&trace.key);
    assert_eq!(body["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn history_beyond_the_limit_is_forgotten_oldest_first() {
    let mut trace = Trace::start(1, rolling(json!(1), json!(0)), (2, 1));
    for image in ["v2", "v3", "v4", "v5"] {
        trace.set_image(image);
        trace.finish();
    }
    let mut kept: Vec<String> = trace
        .cluster
        .list(id::REPLICA_SETS)
        .iter()
        .map(|set| set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        .collect();
    kept.sort();
    assert_eq!(kept, ["v3", "v4", "v5"]);
}

#[test]
fn recreate_ends_every_old_pod_before_it_starts_a_new_one() {
    let mut trace = Trace::start(3, json!({ "type": "Recreate" }), (3, 0));
    let pods: Vec<ObjectKey> =
        trace.cluster.names(id::PODS).iter().map(|name| ObjectKey::new(id::PODS, "default", name)).collect();
    for key in &pods {
        trace.cluster.edit(key, |pod| pod["spec"]["nodeName"] = "n1".into());
    }
    trace.set_image("v2");
    trace.settle();
    assert_eq!(trace.images(), ["v1", "v1", "v1"], "old pods end with grace; no new one yet");
    for key in &pods {
        trace.cluster.remove(key);
        trace.settle();
    }
    assert_eq!(trace.images(), ["v2", "v2", "v2"]);
    trace.finish();
    assert_eq!(trace.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_paused_deployment_does_not_roll_but_scales() {
    let mut trace = Trace::start(2, rolling(json!(1), json!(0)), (6, 0));
    trace.cluster.edit(&trace.key.clone(), |body| body["spec"]["paused"] = true.into());
    trace.set_image("v2");
    trace.settle();
    assert_eq!(trace.images(), ["v1", "v1"]);
    assert_eq!(trace.condition("Progressing"), pair("Unknown", "DeploymentPaused"));
    trace.cluster.edit(&trace.key.clone(), |body| body["spec"]["replicas"] = 5.into());
    trace.settle();
    assert_eq!(trace.images(), vec!["v1"; 5]);
    trace.cluster.edit(&trace.key.clone(), |body| body["spec"]["paused"] = false.into());
    trace.finish();
    assert_eq!(trace.images(), vec!["v2"; 5]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_shares() {
    let mut trace = Trace::start(10, rolling(json!(3), json!(2)), (13, 0));
    trace.set_image("v2");
    trace.settle();
    trace.bounds = (26, 0);
    let sizes = |trace: &Trace| {
        let mut sizes: Vec<i64> =
            trace.cluster.list(id::REPLICA_SETS).iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&trace), [5, 8]);
    trace.cluster.edit(&trace.key.clone(), |body| body["spec"]["replicas"] = 15.into());
    trace.settle();
    assert_eq!(sizes(&trace), [7, 11]);
}

#[test]
fn a_rollout_without_progress_is_overdue_after_its_deadline_and_recovers() {
    let mut trace = Trace::start(1, rolling(json!(1), json!(0)), (2, 1));
    trace.set_image("bad");
    trace.settle();
    trace.cluster.pass(599);
    trace.settle();
    assert_eq!(trace.condition("Progressing"), pair("True", "ReplicaSetUpdated"));
    trace.cluster.pass(3);
    trace.settle();
    assert_eq!(trace.condition("Progressing"), pair("False", "ProgressDeadlineExceeded"));
    trace.finish();
    assert_eq!(trace.condition("Progressing"), pair("True", "NewReplicaSetAvailable"));
}

#[test]
fn min_ready_seconds_delay_availability() {
    let mut cluster = Cluster::new();
    let mut body = deployment(1, rolling(json!(1), json!(0)));
    body["spec"]["minReadySeconds"] = 10.into();
    let key = cluster.put(body);
    cluster.settle(&[&Deployments, &REPLICA_SETS]);
    let pod = ObjectKey::new(id::PODS, "default", &cluster.names(id::PODS)[0]);
    cluster.set_ready(&pod, true);
    cluster.settle(&[&Deployments, &REPLICA_SETS]);
    assert_eq!(cluster.value(&key)["status"]["readyReplicas"], 1);
    assert_eq!(cluster.value(&key)["status"]["availableReplicas"], Value::Null);
    cluster.pass(10);
    cluster.settle(&[&Deployments, &REPLICA_SETS]);
    assert_eq!(cluster.value(&key)["status"]["availableReplicas"], 1);
}

#[test]
fn a_refused_pod_shows_in_the_deployment_until_pods_can_be_made() {
    let mut trace = Trace::start(1, rolling(json!(1), json!(0)), (2, 0));
    trace.cluster.refuse_pods = true;
    trace.set_image("v2");
    trace.settle();
    assert_eq!(trace.condition("ReplicaFailure"), pair("True", "FailedCreate"));
    assert!(trace.cluster.events.contains(&"FailedCreate: Error creating: exceeded quota".to_owned()));
    trace.cluster.refuse_pods = false;
    let sets = trace.cluster.names(id::REPLICA_SETS);
    for name in sets {
        trace.cluster.edit(&ObjectKey::new(id::REPLICA_SETS, "default", &name), |set| {
            set["metadata"]["annotations"]["poke"] = "1".into();
        });
    }
    trace.finish();
    let body = trace.cluster.value(&trace.key);
    assert!(body["status"]["conditions"].as_array().unwrap().iter().all(|one| one["type"] != "ReplicaFailure"));
    assert_eq!(trace.images(), ["v2"]);
}
