//! The documents hold together.

use serde_json::Value;

use super::*;
use crate::kube::resource::TABLE;

fn dangling(document: &Value, known: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    types::mentioned(document, &mut |name| {
        if known.get(name).is_none() {
            missing.push(name.to_owned());
        }
    });
    missing
}

#[test]
fn every_reference_in_the_documents_has_its_type() {
    let v2 = v2();
    assert_eq!(dangling(&v2, &v2["definitions"]), Vec::<String>::new());
    for place in ["api/v1", "apis/apps/v1", "apis/events.k8s.io/v1"] {
        let v3 = v3(place).unwrap();
        assert_eq!(dangling(&v3, &v3["components"]["schemas"]), Vec::<String>::new(), "{place}");
    }
    assert!(v3("apis/nobody/v1").is_none());
}

#[test]
fn every_row_has_its_paths_and_explain_finds_its_type() {
    let v2 = v2();
    for row in TABLE.iter().filter(|row| row.verbs.contains(&crate::kube::resource::Verb::Get)) {
        let kind = serde_json::json!([{ "group": row.id.group, "kind": row.kind, "version": row.version }]);
        assert_eq!(v2["definitions"][row.type_name]["x-kubernetes-group-version-kind"], kind, "{}", row.id);
        let scope = if row.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("{}{scope}/{}/{{name}}", operations::root(row.id.group, row.version), row.id.plural);
        assert_eq!(v2["paths"][&path]["get"]["x-kubernetes-action"], "get", "{path}");
    }
}

#[test]
fn the_index_names_each_document_with_a_hash_that_does_not_change_by_itself() {
    let index = v3_index();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    assert_eq!(v3_index(), index);
}

#[test]
fn facts_and_descriptions_reach_the_documents() {
    let v2 = v2();
    let ports = &v2["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], serde_json::json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert!(ports["description"].as_str().is_some_and(|text| !text.is_empty()));
    let v3 = v3("api/v1").unwrap();
    let spec = &v3["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.PodSpec");
}

#[test]
fn the_protobuf_form_has_fields_where_its_readers_look_for_them() {
    let document = serde_json::json!({
        "swagger": "2.0", "info": {}, "paths": {},
        "definitions": { "a": { "type": "object", "x-b": [1] } },
    });
    let inner: &[u8] = &[
        0xb2, 0x01, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't', // 22: type { 1: "object" }
        0xfa, 0x01, 12, 0x0a, 3, b'x', b'-', b'b', 0x12, 5, 0x12, 3, b'[', b'1',
        b']', // 31: { name, any { 2: yaml } }
    ];
    let mut want: Vec<u8> = vec![0x0a, 3, b'2', b'.', b'0', 0x12, 0, 0x42, 0];
    let length = u8::try_from(inner.len()).unwrap();
    want.extend([0x4a, length + 7, 0x0a, length + 5, 0x0a, 1, b'a', 0x12, length]);
    want.extend(inner);
    assert_eq!(protobuf::encode(&document), want);
}
