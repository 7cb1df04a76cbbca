//! Watches: what they begin with, what they tell, and how they end.

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn story(events: &[Value]) -> Vec<String> {
    let one = |event: &Value| {
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap_or_default())
    };
    events.iter().map(one).collect()
}

async fn change(api: &Api) {
    api.ok("POST", MAPS, config_map("b", "1")).await;
    let patch = json!({ "metadata": { "labels": { "v": "2" } } });
    let patched = api.patch(&format!("{MAPS}/a"), "merge-patch", patch).await;
    assert_eq!((patched.code, &patched.body["metadata"]["labels"]["v"]), (200, &json!("2")), "{patched:?}");
    api.ok("DELETE", &format!("{MAPS}/b"), Value::Null).await;
}

#[tokio::test]
async fn a_watch_tells_changes_as_its_selection_sees_them() {
    let api = Api::start().await;
    let made = api.ok("POST", MAPS, config_map("a", "1")).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    change(&api).await;
    for (query, expect) in [
        (format!("resourceVersion={from}"), vec!["ADDED b", "MODIFIED a", "DELETED b"]),
        (format!("resourceVersion={from}&labelSelector=v%3D1"), vec!["ADDED b", "DELETED a", "DELETED b"]),
        (format!("resourceVersion={from}&labelSelector=v%3D2"), vec!["ADDED a"]),
        (format!("resourceVersion={from}&fieldSelector=metadata.name%3Da"), vec!["MODIFIED a"]),
        ("resourceVersion=0".to_owned(), vec!["ADDED a"]),
        (String::new(), vec!["ADDED a"]),
    ] {
        let events = api.events(&format!("{MAPS}?watch=1&{query}"), expect.len()).await;
        assert_eq!(story(&events), expect, "{query}");
    }
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_at_the_revision_of_the_change() {
    let api = Api::start().await;
    let made = api.ok("POST", MAPS, config_map("a", "1")).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let after = api.patch(&format!("{MAPS}/a"), "merge-patch", json!({ "metadata": { "labels": { "v": "2" } } })).await;
    let events = api.events(&format!("{MAPS}?watch=1&resourceVersion={from}&labelSelector=v%3D1"), 1).await;
    assert_eq!(events[0]["object"]["metadata"]["labels"]["v"], "1", "as the client knew it");
    assert_eq!(events[0]["object"]["metadata"]["resourceVersion"], after.body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn initial_events_end_with_an_annotated_bookmark() {
    let api = Api::start().await;
    api.ok("POST", MAPS, config_map("a", "1")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{MAPS}?{query}")).await;
    let events = watch.take(2).await;
    assert_eq!(story(&events), ["ADDED a", "BOOKMARK -"]);
    assert_eq!(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    change(&api).await;
    assert_eq!(story(&watch.take(3).await), ["ADDED b", "MODIFIED a", "DELETED b"]);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_or_the_process_stops() {
    let api = Api::start().await;
    let short = api.events(&format!("{MAPS}?watch=1&timeoutSeconds=1"), 1).await;
    assert!(short.is_empty());
    let mut long = api.watch("/api/v1/watch/namespaces/default/configmaps").await;
    api.service.stop.cancel();
    assert!(long.take(1).await.is_empty());
}

#[tokio::test]
async fn a_table_watch_names_its_columns_once() {
    let api = Api::start().await;
    api.ok("POST", MAPS, config_map("a", "1")).await;
    api.ok("POST", MAPS, config_map("b", "1")).await;
    let request = Request::builder()
        .uri(format!("{MAPS}?watch=1"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(body::empty())
        .unwrap();
    let response = api.raw(request, Some(Identity::admin())).await;
    let mut lines = Lines { body: response.into_body(), rest: String::new() };
    let events = lines.take(2).await;
    let columns = |event: &Value| event["object"]["columnDefinitions"].as_array().map_or(0, Vec::len);
    assert_eq!((columns(&events[0]) > 0, columns(&events[1])), (true, 0));
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}
