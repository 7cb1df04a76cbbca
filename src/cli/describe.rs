//! `shoal describe`: an object for people, with its events.

mod pod;

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::DescribeFlags;
use super::client::resources::{self, Resource, items, text};
use super::client::{self, JSON, Session, escape};
use super::failure::Failure;

/// Width of the names of fields.
const WIDTH: usize = 18;

/// Describes objects.
pub fn run(flags: &DescribeFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let served = resources::discover(&session).await?;
        let mut first = true;
        for target in resources::resolve(&served, &flags.words)? {
            for object in objects(&session, &target).await? {
                if !first {
                    println!("\n");
                }
                first = false;
                print!("{}", describe(&target.resource, &object));
                print!("{}", events(&session, &object).await?);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn objects(session: &Session, target: &resources::Target) -> Result<Vec<Value>, Failure> {
    let namespace = Some(session.namespace.as_str());
    if target.names.is_empty() {
        let list = session.get(&target.resource.path(namespace, None), JSON).await?;
        return Ok(items(&list, "items").to_vec());
    }
    let mut objects = Vec::new();
    for name in &target.names {
        objects.push(session.get(&target.resource.path(namespace, Some(name)), JSON).await?);
    }
    Ok(objects)
}

fn describe(resource: &Resource, object: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "Name", &text(object, "/metadata/name"));
    if resource.namespaced {
        line(&mut out, "Namespace", &text(object, "/metadata/namespace"));
    }
    pairs(&mut out, "Labels", object.pointer("/metadata/labels"));
    pairs(&mut out, "Annotations", object.pointer("/metadata/annotations"));
    line(&mut out, "Created", &text(object, "/metadata/creationTimestamp"));
    let deleted = text(object, "/metadata/deletionTimestamp");
    if !deleted.is_empty() {
        line(&mut out, "Terminating since", &deleted);
    }
    for owner in items(object.get("metadata").unwrap_or(&Value::Null), "ownerReferences") {
        line(&mut out, "Controlled by", &format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    }
    match resource.kind.as_str() {
        "Pod" => pod::describe(&mut out, object),
        "Secret" => sizes(&mut out, object),
        _ => rest(&mut out, object),
    }
    conditions(&mut out, object);
    out
}

/// Everything that has no words of its own: spec, status and the like, as YAML.
fn rest(out: &mut String, object: &Value) {
    for (key, value) in object.as_object().into_iter().flatten() {
        let mut value = value.clone();
        if matches!(key.as_str(), "apiVersion" | "kind" | "metadata") || value == Value::Object(serde_json::Map::new())
        {
            continue;
        }
        if let Some(status) = value.as_object_mut().filter(|_| key == "status") {
            // They are shown as a table.
            status.remove("conditions");
        }
        let mut title = key.clone();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let _ = writeln!(out, "{title}:");
        for text in serde_saphyr::to_string(&value).unwrap_or_default().lines() {
            let _ = writeln!(out, "  {text}");
        }
    }
}

/// The contents of a secret are not printed.
fn sizes(out: &mut String, object: &Value) {
    line(out, "Type", &text(object, "/type"));
    let _ = writeln!(out, "Data:");
    for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
        let bytes = value.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
        let _ = writeln!(out, "  {key}: {bytes} bytes");
    }
}

fn conditions(out: &mut String, object: &Value) {
    let list = items(object.get("status").unwrap_or(&Value::Null), "conditions");
    if list.is_empty() {
        return;
    }
    let _ = writeln!(out, "Conditions:\n  {:<28} {:<8} {:<28} Message", "Type", "Status", "Reason");
    for condition in list {
        let [kind, status, reason, message] =
            ["/type", "/status", "/reason", "/message"].map(|pointer| text(condition, pointer));
        let row = format!("  {kind:<28} {status:<8} {reason:<28} {message}");
        let _ = writeln!(out, "{}", row.trim_end());
    }
}

async fn events(session: &Session, object: &Value) -> Result<String, Failure> {
    let namespace = Some(text(object, "/metadata/namespace")).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".into());
    let selector = format!(
        "involvedObject.name={},involvedObject.uid={}",
        text(object, "/metadata/name"),
        text(object, "/metadata/uid")
    );
    let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={}", escape(&selector));
    let list = session.get(&path, JSON).await?;
    let mut found: Vec<&Value> = items(&list, "items").iter().collect();
    found.sort_by_key(|event| when(event));
    if found.is_empty() {
        return Ok("Events:             <none>\n".into());
    }
    let mut out = format!("Events:\n  {:<8} {:<20} {:<22} {:<5} Message\n", "Type", "Reason", "Last seen", "Count");
    for event in found {
        let count = event.get("count").and_then(Value::as_u64).unwrap_or(1);
        let [kind, reason, message] = ["/type", "/reason", "/message"].map(|pointer| text(event, pointer));
        let _ = writeln!(out, "  {kind:<8} {reason:<20} {:<22} {count:<5} {}", when(event), message.trim_end());
    }
    Ok(out)
}

fn when(event: &Value) -> String {
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().map(|pointer| text(event, pointer)).find(|time| !time.is_empty()).unwrap_or_default()
}

/// `Name:   value`.
fn line(out: &mut String, name: &str, value: &str) {
    let value = if value.is_empty() { "<none>" } else { value };
    let _ = writeln!(out, "{:<WIDTH$}  {value}", format!("{name}:"));
}

fn pairs(out: &mut String, name: &str, map: Option<&Value>) {
    let mut title = name;
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        if key != client::three_way::ANNOTATION {
            let _ = writeln!(
                out,
                "{:<WIDTH$}  {key}={}",
                if title.is_empty() { String::new() } else { format!("{title}:") },
                value.as_str().unwrap_or_default()
            );
            title = "";
        }
    }
    if title == name {
        line(out, name, "");
    }
}
