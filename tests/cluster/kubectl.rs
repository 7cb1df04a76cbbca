//! An unmodified kubectl against a node whose containers are pretended: one test an area of what tutorials use.

use super::node::{Node, outcome, text};

/// Runs each line as kubectl's arguments and looks for the text behind `=>` in the answer, good or bad.
fn check(node: &Node, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, wanted) = line.split_once(" => ").expect("a line is `arguments => text`");
        let args: Vec<&str> = command.split(' ').collect();
        let output = node.command("kubectl", &args).output().expect("kubectl is installed");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains(wanted), "kubectl {command}\nshould say {wanted:?}, but says:\n{said}\n{}", node.log());
    }
}

#[test]
fn kubectl_finds_its_way_about_the_api() {
    check(
        &Node::start("hollow"),
        "version => Server Version: v1.36
        api-versions => discovery.k8s.io/v1
        api-resources => apps/v1                    true         Deployment
        cluster-info => control plane
        explain pod.spec.containers.livenessProbe.httpGet => HTTPGetAction
        explain deployment --recursive => terminationGracePeriodSeconds
        explain pod.spec.nothing => field \"nothing\" does not exist
        get service kubernetes => 10.96.0.1
        get endpoints => Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice
        get --raw /readyz?verbose => readyz check passed
        get nothing => the server doesn't have a resource type \"nothing\"
        get pods --field-selector=spec.nothing=1 => field label not supported: spec.nothing
        top nodes => Metrics API not available
        auth whoami => kubernetes-admin
        auth can-i create pods => yes
        auth can-i --list => *.*",
    );
}

#[test]
fn kubectl_creates_every_kind_that_it_has_a_command_for() {
    check(
        &Node::start("hollow"),
        "create namespace one => namespace/one created
        create deployment web --image=nginx:1.25 --replicas=2 --port=80 => deployment.apps/web created
        create configmap c --from-literal=a=b => configmap/c created
        create configmap c --from-literal=a=b => configmaps \"c\" already exists
        get configmap c -o jsonpath={.data.a} => b
        create secret generic s --from-literal=p=w => secret/s created
        get secret s -o jsonpath={.data.p}/{.type} => dw==/Opaque
        create service clusterip a --tcp=80:8080 => service/a created
        create service nodeport b --tcp=80:8080 => service/b created
        get service b -o jsonpath={.spec.ports[0].targetPort} => 8080
        create service externalname d --external-name=example.com => service/d created
        create serviceaccount e => serviceaccount/e created
        run p --image=nginx --env=X=y --labels=a=b => pod/p created
        rollout status deployment/web --timeout=60s => successfully rolled out
        get deployment web -o jsonpath={.spec.template.spec.containers[0].ports[0].containerPort} => 80
        create deployment dry --image=nginx --dry-run=server -o name => deployment.apps/dry
        get deployment dry => not found
        create deployment web --image=nginx => deployments.apps \"web\" already exists",
    );
}

#[test]
fn kubectl_applies_compares_and_refuses() {
    let node = Node::start("hollow");
    let folder = node.data.path().join("manifests");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, data: &str| {
        let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n");
        std::fs::write(folder.join(format!("{name}.yaml")), manifest).expect("a manifest");
    };
    write("one", "{a: '1'}");
    write("two", "{a: '1'}");
    let at = text(&folder);
    check(&node, &format!("apply -f {at} => configmap/two created\napply -f {at} => configmap/one unchanged"));
    write("one", "{b: '2'}");
    check(
        &node,
        &format!(
            "diff -f {at} => +  b: \"2\"
            apply -f {at} --dry-run=server => configmap/one configured (server dry run)
            get configmap one -o jsonpath={{.data}} => {{\"a\":\"1\"}}
            apply -f {at} => configmap/one configured
            get configmap one -o jsonpath={{.data}} => {{\"b\":\"2\"}}
            apply -f {at} --server-side => Server-side apply not available on the server
            patch configmap one -p {{\"datta\":{{}}}} => Warning: unknown field \"datta\"
            patch configmap one -p {{\"data\":{{\"c\":1}}}} => cannot unmarshal number into Go struct field ConfigMap.data
            replace -f {at}/one.yaml => configmap/one replaced
            delete -f {at} => configmap \"two\" deleted"
        ),
    );
}

#[test]
fn kubectl_changes_what_runs() {
    let node = Node::start("hollow");
    check(
        &node,
        "create deployment web --image=nginx:1 --replicas=2 => created
        rollout status deployment/web --timeout=60s => successfully rolled out
        set image deployment/web nginx=nginx:2 => image updated
        rollout status deployment/web --timeout=60s => successfully rolled out
        set env deployment/web A=b => env updated
        set resources deployment/web --limits=cpu=200m => resource requirements updated
        rollout status deployment/web --timeout=60s => successfully rolled out
        rollout history deployment/web => 4
        rollout undo deployment/web --to-revision=1 => rolled back
        rollout status deployment/web --timeout=60s => successfully rolled out
        get deployment web -o jsonpath={.spec.template.spec.containers[0].image} => nginx:1
        rollout pause deployment/web => paused
        rollout restart deployment/web => can't restart paused deployment
        rollout resume deployment/web => resumed
        rollout restart deployment/web => restarted
        scale deployment web --current-replicas=9 --replicas=1 => Expected replicas to be 9, was 2
        scale deployment web --replicas=3 => scaled
        wait --for=jsonpath={.status.readyReplicas}=3 deployment/web --timeout=60s => condition met
        wait --for=condition=Available deployment/web --timeout=60s => condition met
        patch deployment web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}] => patched
        patch deployment web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":2}} => patched
        patch deployment web --type=merge -p {\"spec\":{\"replicas\":-1}} => must be greater than or equal to 0
        label deployment web x=first => labeled
        label deployment web x=z => already has a value (first)
        annotate deployment web n=v => annotated
        expose deployment web --port=80 => service/web exposed
        get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[0].ports[0].port} => 80",
    );
    let edited = node
        .command("kubectl", &["edit", "deployment", "web"])
        .env("EDITOR", "sed -i s/x:.first/x:\\ edited/")
        .output()
        .expect("kubectl");
    assert!(outcome(&edited).expect("an edit").contains("edited"));
    check(&node, "get deployments --show-labels => x=edited");
}

#[test]
fn kubectl_describes_what_happened_in_the_order_it_happened() {
    let node = Node::start("hollow");
    check(
        &node,
        "run p --image=nginx --restart=Never => created
        wait --for=condition=Ready pod/p --timeout=60s => condition met
        describe node node-a => KubeletReady
        describe service kubernetes => 10.96.0.1
        describe namespace default => Status:       Active",
    );
    let events = node.kubectl(&["describe", "pod", "p"]);
    let reasons: Vec<&str> = events
        .lines()
        .skip_while(|line| !line.starts_with("Events:"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|word| ["Scheduled", "Pulling", "Pulled", "Created", "Started"].contains(word))
        .collect();
    assert_eq!(reasons, ["Scheduled", "Pulling", "Pulled", "Created", "Started"], "{events}");
    let exec = node.command("kubectl", &["exec", "p", "--", "sh", "-c", "exit 7"]).output().expect("kubectl");
    assert_eq!(exec.status.code(), Some(7), "{:?}", outcome(&exec));
    assert_eq!(node.kubectl(&["exec", "p", "--", "echo", "hello"]), "hello\n");
}

#[test]
fn kubectl_deletes_and_empties() {
    let node = Node::start("hollow");
    check(
        &node,
        "create deployment web --image=nginx --replicas=2 => created
        rollout status deployment/web --timeout=60s => successfully rolled out
        cordon node-a => cordoned
        get nodes => Ready,SchedulingDisabled
        uncordon node-a => uncordoned
        taint node node-a a=b:NoSchedule => tainted
        taint node node-a a- => untainted
        delete deployment web --cascade=orphan => deleted
        get replicasets -o name => replicaset.apps/web-
        delete replicasets --all --cascade=foreground => deleted
        get pods => No resources found
        run p --image=nginx => created
        delete pod p --grace-period=0 --force => force deleted
        run q --image=nginx --labels=a=b => created
        drain node-a --force --timeout=60s => node/node-a drained
        get pods => No resources found
        create namespace two => created
        create configmap c -n two --from-literal=a=b => created
        delete namespace two --timeout=60s => deleted
        get configmap c -n two => not found
        delete namespace default => this namespace may not be deleted
        delete pod none => pods \"none\" not found",
    );
}
