//! Documents: discovery, OpenAPI and metrics, and what clients keep of them.

use super::*;

#[tokio::test]
async fn discovery_is_served_plain_and_aggregated_and_kept_by_its_etag() {
    let api = Api::start().await;
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
        ("/api/v1", "APIResourceList"),
    ] {
        assert_eq!(api.get(path).await["kind"], kind, "{path}");
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let first = api.with("GET", "/apis", &[("accept", accept)], Bytes::new()).await;
    assert_eq!(first.body["kind"], "APIGroupDiscoveryList");
    let etag = first.headers["etag"].to_str().unwrap();
    let again = api.with("GET", "/apis", &[("accept", accept), ("if-none-match", etag)], Bytes::new()).await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));
    assert_eq!(api.send("GET", "/apis/nothing", Value::Null).await.code, 404);
}

#[tokio::test]
async fn openapi_documents_are_immutable_under_their_hash() {
    let api = Api::start().await;
    let index = api.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = api.with("GET", url, &[], Bytes::new()).await;
    assert!(document.body["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    assert!(document.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let stale = api.with("GET", "/openapi/v3/apis/apps/v1?hash=0", &[], Bytes::new()).await;
    assert_eq!((stale.code, stale.headers["location"].to_str().unwrap()), (301, url));
    assert_eq!(api.get("/openapi/v2").await["swagger"], "2.0");
}

#[tokio::test]
async fn metrics_count_what_was_asked() {
    let api = Api::start().await;
    api.get("/api/v1/pods").await;
    let text = api.send("GET", "/metrics", Value::Null).await.text;
    let line = r#"apiserver_request_total{verb="list",group="",resource="pods",subresource="",code="200"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains("shoal_store_objects "));
}
