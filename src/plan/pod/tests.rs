//! Lives of pods as scripts: what happens to a pod, and the whole trace of actions, events and status that must follow.

mod life;

use serde_json::{Value, json};

use life::check;

fn one(container: Value, spec: Value) -> Value {
    let mut main = json!({ "name": "a", "image": "i:1" });
    main.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut pod = json!({ "containers": [main], "terminationGracePeriodSeconds": 30 });
    pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

#[test]
fn init_containers_run_in_order_and_sidecars_outlive_the_main_container() {
    let init = json!([
        { "name": "s", "image": "i:1", "restartPolicy": "Always" },
        { "name": "i", "image": "i:1" } ]);
    check(
        one(json!({}), json!({ "initContainers": init, "restartPolicy": "Never" })),
        "start
         exit i 0
         exit a 0
         exit s 0",
        "> start
         = Pending s#0=PodInitializing i#0=PodInitializing a#0=PodInitializing
         PrepareVolumes
         AttachNetwork
         EnsureImage s#0
         CreateSandbox
         Create s#0
         = Pending s#0=ContainerCreating i#0=PodInitializing a#0=PodInitializing
         Start s#0
         = Pending s#0=ready i#0=PodInitializing a#0=PodInitializing
         EnsureImage i#0
         Create i#0
         = Pending s#0=ready i#0=ContainerCreating a#0=PodInitializing
         Start i#0
         = Pending s#0=ready i#0=running a#0=PodInitializing
         > exit i 0
         = Pending s#0=ready i#0=Completed(0) a#0=PodInitializing
         EnsureImage a#0
         Create a#0
         = Pending s#0=ready i#0=Completed(0) a#0=ContainerCreating
         Start a#0
         = Running s#0=ready i#0=Completed(0) a#0=ready READY
         > exit a 0
         = Running s#0=ready i#0=Completed(0) a#0=Completed(0)
         BeginEnd
         Stop s within 30s
         Killing: Stopping container s
         Signal s 15
         > exit s 0
         = Succeeded s#0=Completed(0) i#0=Completed(0) a#0=Completed(0)
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_crashing_container_is_restarted_at_once_and_then_less_and_less_often() {
    check(
        one(json!({}), json!({})),
        "start
         exit a 1
         exit a 1
         wait 9
         wait 1
         exit a 1
         wait 20
         wait 1201
         exit a 1",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > exit a 1
         = Running a#0=Error(1)
         EnsureImage a#1
         Create a#1
         = Running a#1=ContainerCreating
         Start a#1
         = Running a#1=ready READY
         > exit a 1
         = Running a#1=CrashLoopBackOff
         TellBackoff a#2
         BackOff: Back-off restarting failed container a in pod p_ns(u)
         > wait 9
         > wait 1
         = Running a#1=Error(1)
         EnsureImage a#2
         Create a#2
         = Running a#2=ContainerCreating
         Start a#2
         = Running a#2=ready READY
         Remove a#0
         > exit a 1
         = Running a#2=CrashLoopBackOff
         TellBackoff a#3
         BackOff: Back-off restarting failed container a in pod p_ns(u)
         > wait 20
         = Running a#2=Error(1)
         EnsureImage a#3
         Create a#3
         = Running a#3=ContainerCreating
         Start a#3
         = Running a#3=ready READY
         Remove a#1
         > wait 1201
         > exit a 1
         = Running a#3=Error(1)
         EnsureImage a#4
         Create a#4
         = Running a#4=ContainerCreating
         Start a#4
         = Running a#4=ready READY
         Remove a#2",
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again_with_back_off() {
    check(
        one(json!({}), json!({})),
        "fail EnsureImage ErrImagePull
         start
         wait 10
         heal
         wait 20",
        "> fail EnsureImage ErrImagePull
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         Failed: Failed to pull image \"i:1\": why
         Failed: Error: ErrImagePull
         = Pending a#0=ErrImagePull
         CreateSandbox
         > wait 10
         TellBackoff a#0
         BackOff: Back-off pulling image \"i:1\"
         = Pending a#0=ImagePullBackOff
         EnsureImage a#0
         Failed: Failed to pull image \"i:1\": why
         Failed: Error: ErrImagePull
         = Pending a#0=ErrImagePull
         > heal
         > wait 20
         TellBackoff a#0
         BackOff: Back-off pulling image \"i:1\"
         = Pending a#0=ImagePullBackOff
         EnsureImage a#0
         = Pending a#0=ContainerCreating
         Create a#0
         Start a#0
         = Running a#0=ready READY",
    );
}

#[test]
fn a_deleted_pod_runs_its_hook_gets_its_grace_and_leaves_nothing() {
    let hook = json!({ "lifecycle": { "preStop": { "exec": { "command": ["x"] } } } });
    check(
        one(hook, json!({})),
        "hang PreStop
         start
         delete 5
         wait 5
         wait 2",
        "> hang PreStop
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > delete 5
         BeginEnd
         Stop a within 5s
         Killing: Stopping container a
         PreStop a
         > wait 5
         Signal a 15
         > wait 2
         Signal a 9
         = Failed a#0=Error(137)
         RemoveSandbox
         DetachNetwork
         CleanVolumes
         DeletePod",
    );
}

#[test]
fn probes_gate_each_other_and_liveness_ends_the_container_in_its_own_grace() {
    let probe = |period: u32, threshold: u32| {
        json!({ "tcpSocket": { "port": 1 }, "periodSeconds": period, "failureThreshold": threshold,
            "terminationGracePeriodSeconds": 3 })
    };
    let probes = json!({ "startupProbe": probe(1, 5), "livenessProbe": probe(2, 2), "readinessProbe": probe(2, 1) });
    check(
        one(probes, json!({})),
        "fail Liveness x
         start
         wait 2
         wait 3",
        "> fail Liveness x
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=running
         Startup a
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         = Running a#0=ready READY
         > wait 2
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         Stop a within 3s
         Killing: Container a failed liveness probe, will be restarted
         Signal a 15
         > wait 3
         Signal a 9
         = Running a#0=Error(137)
         EnsureImage a#1
         Create a#1
         = Running a#1=ContainerCreating
         Start a#1
         = Running a#1=running
         Startup a
         Liveness a
         Unhealthy: Liveness probe failed: why
         Readiness a
         = Running a#1=ready READY",
    );
}

#[test]
fn a_failed_post_start_hook_ends_the_container() {
    let hook = json!({ "lifecycle": { "postStart": { "exec": { "command": ["x"] } } } });
    check(
        one(hook, json!({ "restartPolicy": "Never" })),
        "fail PostStart x
         start
         exit a 143",
        "> fail PostStart x
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         PostStart a
         FailedPostStartHook: PostStartHook failed: why
         = Running a#0=running
         Stop a within 30s
         Killing: FailedPostStartHook
         Signal a 15
         > exit a 143
         = Failed a#0=Error(143)
         BeginEnd
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_pod_past_its_deadline_fails() {
    check(
        one(json!({}), json!({ "activeDeadlineSeconds": 10 })),
        "start
         wait 10
         exit a 143",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > wait 10
         BeginEnd
         Stop a within 30s
         Killing: Stopping container a
         Signal a 15
         > exit a 143
         = Failed a#0=Error(143)
         DetachNetwork
         CleanVolumes",
    );
}

#[test]
fn a_pod_that_is_deleted_while_a_container_is_made_waits_for_it() {
    check(
        one(json!({}), json!({})),
        "hang Create a
         start
         delete 30",
        "> hang Create a
         > start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         > delete 30
         BeginEnd",
    );
}

#[test]
fn a_finished_pod_whose_object_goes_leaves_nothing() {
    check(
        json!({ "restartPolicy": "Never", "containers": [{ "name": "a", "image": "i" }] }),
        "start
         exit a 0
         gone",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > exit a 0
         = Succeeded a#0=Completed(0)
         BeginEnd
         DetachNetwork
         CleanVolumes
         > gone
         RemoveSandbox",
    );
}

#[test]
fn a_fence_stops_all_at_once_without_hooks_and_opens_without_back_off() {
    let lifecycle = json!({ "lifecycle": { "preStop": { "exec": { "command": ["sleep", "60"] } } } });
    check(
        one(lifecycle, json!({})),
        "start
         exit a 1
         fence hold
         wait 100
         fence stop
         wait 2
         fence run",
        "> start
         = Pending a#0=ContainerCreating
         PrepareVolumes
         AttachNetwork
         EnsureImage a#0
         CreateSandbox
         Create a#0
         Start a#0
         = Running a#0=ready READY
         > exit a 1
         = Running a#0=Error(1)
         EnsureImage a#1
         Create a#1
         = Running a#1=ContainerCreating
         Start a#1
         = Running a#1=ready READY
         > fence hold
         > wait 100
         > fence stop
         Stop a within 1s
         Killing: Stopping container a: the node has lost the quorum
         Signal a 15
         > wait 2
         Signal a 9
         = Running a#1=CrashLoopBackOff
         > fence run
         = Running a#1=Error(137)
         EnsureImage a#2
         Create a#2
         = Running a#2=ContainerCreating
         Start a#2
         = Running a#2=ready READY
         Remove a#0",
    );
}
