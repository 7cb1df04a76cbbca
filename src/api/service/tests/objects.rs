//! Objects: their life, their versions, and what is refused.

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn an_object_is_created_read_replaced_patched_and_deleted() {
    let api = Api::start().await;
    let made = api.send("POST", MAPS, config_map("a", "1")).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.body, api.get(&format!("{MAPS}/a")).await);
    assert_eq!((&made.body["kind"], &made.body["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    let mut next = made.body.clone();
    next["data"]["k"] = "2".into();
    let replaced = api.ok("PUT", &format!("{MAPS}/a"), next.clone()).await;
    assert_ne!(replaced["metadata"]["resourceVersion"], made.body["metadata"]["resourceVersion"]);
    let stale = api.send("PUT", &format!("{MAPS}/a"), made.body.clone()).await;
    assert_eq!((stale.code, &stale.body["reason"]), (409, &json!("Conflict")), "{stale:?}");
    let patched = api.patch(&format!("{MAPS}/a"), "merge-patch", json!({ "data": { "l": "3" } })).await;
    assert_eq!(patched.body["data"], json!({ "k": "2", "l": "3" }));
    let unchanged = api.patch(&format!("{MAPS}/a"), "merge-patch", json!({ "data": { "l": "3" } })).await;
    assert_eq!(unchanged.body, patched.body, "a write that changes nothing makes no version");
    let gone = api.ok("DELETE", &format!("{MAPS}/a"), Value::Null).await;
    assert_eq!((&gone["status"], &gone["details"]["name"]), (&json!("Success"), &json!("a")));
    assert_eq!(api.send("GET", &format!("{MAPS}/a"), Value::Null).await.code, 404);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_code_and_reason() {
    let api = Api::start().await;
    api.ok("POST", MAPS, config_map("a", "1")).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<(&str, String, String, u16, &str)> = vec![
        ("POST", MAPS.into(), config_map("a", "1").to_string(), 409, "AlreadyExists"),
        ("POST", MAPS.into(), "{".into(), 400, "BadRequest"),
        ("POST", MAPS.into(), "[]".into(), 400, "BadRequest"),
        ("POST", MAPS.into(), deep, 400, "BadRequest"),
        ("POST", MAPS.into(), format!("\"{}\"", "x".repeat(4 << 20)), 413, "RequestEntityTooLarge"),
        ("POST", MAPS.into(), json!({ "kind": "Pod", "metadata": { "name": "x" } }).to_string(), 400, "BadRequest"),
        ("POST", MAPS.into(), json!({ "metadata": { "name": "b", "namespace": "x" } }).to_string(), 400, "BadRequest"),
        ("POST", "/api/v1/namespaces/none/configmaps".into(), config_map("a", "1").to_string(), 404, "NotFound"),
        ("PUT", format!("{MAPS}/b"), config_map("b", "1").to_string(), 404, "NotFound"),
        ("PUT", format!("{MAPS}/a"), config_map("b", "1").to_string(), 400, "BadRequest"),
        ("PUT", MAPS.into(), config_map("b", "1").to_string(), 405, "MethodNotAllowed"),
        ("DELETE", format!("{MAPS}/b"), String::new(), 404, "NotFound"),
        ("DELETE", "/api/v1/namespaces/default".into(), String::new(), 403, "Forbidden"),
        ("DELETE", "/api/v1/namespaces".into(), String::new(), 405, "MethodNotAllowed"),
        ("GET", "/api/v1/nothing".into(), String::new(), 404, "NotFound"),
        ("GET", format!("{MAPS}?labelSelector=a%3D%3D%3D"), String::new(), 400, "BadRequest"),
        ("GET", format!("{MAPS}?fieldSelector=data.k%3D1"), String::new(), 400, "BadRequest"),
        ("GET", format!("{MAPS}?resourceVersion=999999999"), String::new(), 504, "Timeout"),
        ("POST", format!("{MAPS}?dryRun=Some"), config_map("z", "1").to_string(), 422, "Invalid"),
    ];
    for (method, path, sent, code, reason) in cases {
        let reply = api.with(method, &path, &[("content-type", "application/json")], sent).await;
        assert_eq!(
            (reply.code, reply.body["reason"].as_str()),
            (code, Some(reason)),
            "{method} {path}: {}",
            reply.text
        );
        assert_eq!(reply.body["kind"], "Status");
    }
}

#[tokio::test]
async fn credentials_decide_who_may_do_what() {
    let api = Api::start().await;
    let node = Some(Identity::node("n1"));
    let user = Some(Identity::new("jane", &["dev"]));
    for (path, identity, code) in [
        ("/version", None, 200),
        ("/healthz", None, 200),
        ("/readyz?verbose", None, 200),
        ("/api/v1/pods", None, 401),
        ("/metrics", None, 401),
        ("/api/v1/pods", node.clone(), 200),
        ("/api/v1/replicationcontrollers", node, 403),
        ("/api/v1/pods", user.clone(), 403),
        ("/metrics", user, 403),
    ] {
        let request = Request::builder().uri(path).body(body::empty()).unwrap();
        let reply = read(api.raw(request, identity.clone()).await).await;
        assert_eq!(reply.code, code, "{path} as {identity:?}: {}", reply.text);
    }
    let request = Request::builder().uri("/api/v1/namespaces/a/pods").body(body::empty()).unwrap();
    let refused = read(api.raw(request, Some(Identity::new("jane", &[]))).await).await;
    let expect = r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "a""#;
    assert_eq!(refused.body["message"], expect);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let api = Api::start().await;
    let mut body = config_map("a", "1");
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.ok("POST", MAPS, body).await;
    let held = api.ok("DELETE", &format!("{MAPS}/a"), Value::Null).await;
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    assert_eq!(api.get(&format!("{MAPS}/a")).await, held);
    let again = api.ok("DELETE", &format!("{MAPS}/a"), Value::Null).await;
    assert_eq!(again, held, "asking twice changes nothing");
    api.patch(&format!("{MAPS}/a"), "merge-patch", json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!(api.send("GET", &format!("{MAPS}/a"), Value::Null).await.code, 404);
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_writes_nothing() {
    let api = Api::start().await;
    let before = api.service.registry.store().revision();
    let made = api.send("POST", &format!("{MAPS}?dryRun=All"), config_map("a", "1")).await;
    assert_eq!((made.code, &made.body["data"]["k"]), (201, &json!("1")));
    let gone = api.send("DELETE", "/api/v1/namespaces/default/serviceaccounts/default?dryRun=All", Value::Null).await;
    assert_eq!(gone.code, 200);
    assert_eq!(api.service.registry.store().revision(), before);
}

#[tokio::test]
async fn preconditions_are_checked() {
    let api = Api::start().await;
    let made = api.ok("POST", MAPS, config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    for (want, code) in [
        (json!({ "uid": "other" }), 409),
        (json!({ "resourceVersion": "1" }), 409),
        (json!({ "uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"] }), 200),
    ] {
        let reply = api.send("DELETE", &path, json!({ "kind": "DeleteOptions", "preconditions": want })).await;
        assert_eq!(reply.code, code, "{want}: {reply:?}");
    }
}

#[tokio::test]
async fn a_list_is_cut_into_pages_of_one_revision() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.ok("POST", MAPS, config_map(name, name)).await;
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.ok("DELETE", &format!("{MAPS}/c"), Value::Null).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?limit=10&continue={token}")).await;
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].to_string()).collect()
    };
    assert_eq!(names(&first), ["\"a\"", "\"b\""]);
    assert_eq!(names(&rest), ["\"c\"", "\"d\"", "\"e\""], "the page is of the first page's revision");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let selected = api.get(&format!("{MAPS}?labelSelector=v%20in%20(a,d)&limit=1")).await;
    assert_eq!(names(&selected), ["\"a\""]);
    assert!(selected["metadata"]["continue"].is_string() && selected["metadata"]["remainingItemCount"].is_null());
    assert_eq!(names(&api.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dd")).await), ["\"d\""]);
}

#[tokio::test]
async fn generated_names_uids_and_accounts_are_filled_in() {
    let api = Api::start().await;
    let mut body = pod("x");
    body["metadata"] = json!({ "generateName": "web-" });
    let made = api.ok("POST", PODS, body).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["status"]["phase"], "Pending");
    let table = api.table(PODS).await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!(name)));
}

#[tokio::test]
async fn a_pod_is_bound_once_and_its_status_is_its_own_door() {
    let api = Api::start().await;
    api.ok("POST", PODS, pod("p")).await;
    let binding = json!({ "target": { "kind": "Node", "name": "n1" } });
    let bound = api.send("POST", &format!("{PODS}/p/binding"), binding.clone()).await;
    assert_eq!((bound.code, &bound.body["status"]), (201, &json!("Success")), "{bound:?}");
    assert_eq!(api.send("POST", &format!("{PODS}/p/binding"), binding).await.code, 409);
    let read = api.get(&format!("{PODS}/p")).await;
    assert_eq!(read["spec"]["nodeName"], "n1");
    assert_eq!(read["status"]["conditions"][0]["type"], "PodScheduled");
    let status = json!({ "status": { "phase": "Running" }, "metadata": { "labels": { "a": "b" } } });
    let patched = api.patch(&format!("{PODS}/p/status"), "strategic-merge-patch", status).await;
    assert_eq!((patched.code, &patched.body["status"]["phase"]), (200, &json!("Running")));
    let marked = api.ok("DELETE", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let gone = api.ok("DELETE", &format!("{PODS}/p?gracePeriodSeconds=0"), Value::Null).await;
    assert_eq!(gone["metadata"]["name"], "p");
    assert_eq!(api.send("GET", &format!("{PODS}/p"), Value::Null).await.code, 404);
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has_and_give_them_back() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services";
    let body = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let ports = json!([{ "port": 80 }]);
    let made = api.ok("POST", path, body("a", json!({ "type": "NodePort", "ports": ports }))).await;
    let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!(address.starts_with("10.") && (30000..=32767).contains(&port), "{made}");
    let same = body("b", json!({ "clusterIP": address, "ports": ports }));
    assert_eq!(api.send("POST", path, same.clone()).await.code, 422);
    let outside = body("b", json!({ "clusterIP": "192.168.1.1", "ports": ports }));
    assert_eq!(api.send("POST", path, outside).await.code, 422);
    api.ok("DELETE", &format!("{path}/a"), Value::Null).await;
    assert_eq!(api.ok("POST", path, same).await["spec"]["clusterIP"], address);
    let headless = api.ok("POST", path, body("c", json!({ "clusterIP": "None", "ports": ports }))).await;
    assert_eq!(headless["spec"]["clusterIP"], "None");
}

#[tokio::test]
async fn unknown_fields_warn_or_are_refused() {
    let api = Api::start().await;
    let mut body = pod("p");
    body["spec"]["colour"] = "red".into();
    let strict = api.send("POST", &format!("{PODS}?fieldValidation=Strict"), body.clone()).await;
    assert_eq!(strict.code, 400);
    assert!(strict.text.contains("unknown field \\\"spec.colour\\\""), "{}", strict.text);
    let warned = api.send("POST", PODS, body).await;
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec.colour\"""#);
}

#[tokio::test]
async fn scale_is_a_face_of_the_workload() {
    let api = Api::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({ "metadata": { "labels": { "a": "b" } }, "spec": pod("x")["spec"] });
    let body = json!({
        "metadata": { "name": "d" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "a": "b" } }, "template": template },
    });
    api.ok("POST", path, body).await;
    let scale = api.get(&format!("{path}/d/scale")).await;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("a=b")));
    let patched = api.patch(&format!("{path}/d/scale"), "merge-patch", json!({ "spec": { "replicas": 5 } })).await;
    assert_eq!((patched.code, &patched.body["spec"]["replicas"]), (200, &json!(5)), "{patched:?}");
    let mut next = patched.body.clone();
    next["spec"]["replicas"] = 1.into();
    api.ok("PUT", &format!("{path}/d/scale"), next.clone()).await;
    assert_eq!(api.send("PUT", &format!("{path}/d/scale"), next).await.code, 409);
    let read = api.get(&format!("{path}/d")).await;
    assert_eq!((&read["spec"]["replicas"], &read["metadata"]["generation"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn logs_ask_for_the_container_that_is_meant() {
    let api = Api::start().await;
    let mut body = pod("p");
    body["spec"]["containers"] = json!([{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }]);
    body["spec"]["nodeName"] = "n1".into();
    api.ok("POST", PODS, body).await;
    let which = api.send("GET", &format!("{PODS}/p/log"), Value::Null).await;
    assert_eq!(which.body["message"], "a container name must be specified for pod p, choose one of: [a b]");
    let wrong = api.send("GET", &format!("{PODS}/p/log?container=c"), Value::Null).await;
    assert_eq!((wrong.code, &wrong.body["message"]), (400, &json!("container c is not valid for pod p")));
    let lines = api.send("GET", &format!("{PODS}/p/log?container=b&tailLines=3"), Value::Null).await;
    assert_eq!(lines.text, "b on n1: Some(3)\n");
    assert_eq!(api.send("GET", &format!("{PODS}/p/log?container=b&tailLines=-1"), Value::Null).await.code, 422);
}
