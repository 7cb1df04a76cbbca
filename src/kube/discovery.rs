//! Discovery: what the API offers, as the documents that clients read first. All of it follows from the table.

#![allow(
    clippy::indexing_slicing,
    reason = "a missing field of a JSON value reads as null; only values made right here are written so"
)]

use serde_json::{Map, Value, json};

use super::resource::{Resource, Subresource, TABLE, Verb};

/// `/api`: versions of the core group. `server_address` is `host:port` as clients reach it.
pub fn core_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `/apis`: all named groups.
pub fn groups() -> Value {
    let groups: Vec<Value> = group_names().into_iter().map(|name| group_entry(name, &versions_of(name))).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/{group}`; `None` where there is no such group.
pub fn group(name: &str) -> Option<Value> {
    let name = group_names().into_iter().find(|known| *known == name)?;
    let mut entry = group_entry(name, &versions_of(name));
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

/// `/api/v1` and `/apis/{group}/{version}`; `None` where nothing is served there.
pub fn resources(group: &str, version: &str) -> Option<Value> {
    let rows: Vec<&Resource> = rows(group, version).collect();
    let first = rows.first()?;
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": first.api_version(),
        "resources": rows.iter().flat_map(|row| entries(row)).collect::<Vec<Value>>(),
    });
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

/// Aggregated discovery (`apidiscovery.k8s.io/v2`) of `/api` (`core`) or `/apis`.
pub fn aggregated(core: bool) -> Value {
    let groups = if core { vec![""] } else { group_names() };
    let items: Vec<Value> = groups.into_iter().map(aggregated_group).collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

/// The rows of one group and version, in the table's order.
pub(super) fn rows<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + use<'a> {
    TABLE.iter().filter(move |row| row.id.group == group && row.version == version)
}

/// Named groups, in the table's order.
pub(super) fn group_names() -> Vec<&'static str> {
    distinct(TABLE.iter().map(|row| row.id.group).filter(|group| !group.is_empty()))
}

/// Versions of a group, the preferred one first.
pub(super) fn versions_of(group: &str) -> Vec<&'static str> {
    distinct(TABLE.iter().filter(|row| row.id.group == group).map(|row| row.version))
}

fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn group_entry(name: &str, versions: &[&str]) -> Value {
    let of = |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let preferred = versions.first().map(of);
    json!({ "name": name, "versions": versions.iter().map(of).collect::<Vec<_>>(), "preferredVersion": preferred })
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn entries(row: &'static Resource) -> impl Iterator<Item = Value> {
    std::iter::once(entry(row)).chain(row.subresources.iter().map(move |sub| subentry(row, sub)))
}

fn entry(row: &Resource) -> Value {
    let mut entry = json!({
        "name": row.id.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
        "verbs": verbs(row.verbs),
    });
    put_list(&mut entry, "shortNames", row.short_names);
    put_list(&mut entry, "categories", row.categories);
    entry
}

fn subentry(row: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", row.id.plural, sub.name), "singularName": "", "namespaced": row.namespaced,
        "kind": sub.kind, "verbs": verbs(sub.verbs),
    });
    if let Some((group, version)) = sub.group_version {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

fn put_list(entry: &mut Value, field: &str, names: &[&str]) {
    if !names.is_empty() {
        entry[field] = json!(names);
    }
}

fn aggregated_group(group: &'static str) -> Value {
    let mut metadata = Map::new();
    if !group.is_empty() {
        metadata.insert("name".into(), group.into());
    }
    metadata.insert("creationTimestamp".into(), Value::Null);
    let version = |version: &str| {
        let resources: Vec<Value> = rows(group, version).map(aggregated_resource).collect();
        json!({ "version": version, "resources": resources, "freshness": "Current" })
    };
    let versions: Vec<Value> = versions_of(group).into_iter().map(version).collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(row: &'static Resource) -> Value {
    let mut entry = json!({
        "resource": row.id.plural,
        "responseKind": { "group": row.id.group, "version": row.version, "kind": row.kind },
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": verbs(row.verbs),
    });
    put_list(&mut entry, "shortNames", row.short_names);
    put_list(&mut entry, "categories", row.categories);
    let subresource = |sub: &Subresource| {
        let (group, version) = sub.group_version.unwrap_or((row.id.group, row.version));
        json!({
            "subresource": sub.name, "verbs": verbs(sub.verbs),
            "responseKind": { "group": group, "version": version, "kind": sub.kind },
        })
    };
    if !row.subresources.is_empty() {
        entry["subresources"] = row.subresources.iter().map(subresource).collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_through_the_documents_that_lead_to_it() {
        let groups = groups();
        for row in TABLE {
            if !row.id.group.is_empty() {
                let listed = groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == row.id.group);
                assert!(listed, "{}", row.id);
                assert_eq!(group(row.id.group).unwrap()["preferredVersion"]["groupVersion"], row.api_version());
            }
            let list = resources(row.id.group, row.version).unwrap();
            let names: Vec<&str> =
                list["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
            assert!(names.contains(&row.id.plural), "{}", row.id);
            for sub in row.subresources {
                assert!(names.contains(&format!("{}/{}", row.id.plural, sub.name).as_str()), "{} {}", row.id, sub.name);
            }
        }
        assert!(group("nobody").is_none() && resources("apps", "v7").is_none());
    }

    #[test]
    fn aggregated_discovery_says_the_same_as_the_lists() {
        let apis = aggregated(false);
        let apps = &apis["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
        let deployments = &apps["versions"][0]["resources"][0];
        assert_eq!(deployments["responseKind"], json!({ "group": "apps", "version": "v1", "kind": "Deployment" }));
        assert_eq!(
            deployments["subresources"][0]["responseKind"],
            json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" })
        );
        assert_eq!(aggregated(true)["items"][0]["versions"][0]["version"], "v1");
    }
}
