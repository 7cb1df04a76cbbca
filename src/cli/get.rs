//! `shoal get`: objects as tables, YAML, JSON, names or single fields.

mod field;
pub mod table;

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;

use super::arguments::GetFlags;
use super::client::resources::{self, Resource, Target, items, text};
use super::client::{self, JSON, Session, TABLE, escape};
use super::failure::Failure;

/// How objects are printed.
enum Output {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    Field(field::Template),
}

/// Prints objects.
pub fn run(flags: &GetFlags) -> Result<ExitCode, Failure> {
    let output = output(flags.output.as_deref())?;
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let served = resources::discover(&session).await?;
        let targets = resources::resolve(&served, &flags.words)?;
        match (&output, flags.watch) {
            (Output::Table { wide }, true) => {
                let [target] = targets.as_slice() else {
                    return Err(Failure::usage("only one resource can be watched"));
                };
                follow(&session, flags, target, *wide).await?;
            }
            (_, true) => return Err(Failure::usage("only tables can be watched")),
            (Output::Table { wide }, false) => tables(&session, flags, &targets, *wide).await?,
            (output, false) => objects(&session, flags, &targets, output).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn output(text: Option<&str>) -> Result<Output, Failure> {
    match text {
        None => Ok(Output::Table { wide: false }),
        Some("wide") => Ok(Output::Table { wide: true }),
        Some("yaml") => Ok(Output::Yaml),
        Some("json") => Ok(Output::Json),
        Some("name") => Ok(Output::Name),
        Some(text) => match text.strip_prefix("jsonpath=") {
            Some(template) => field::Template::parse(template).map(Output::Field).map_err(Failure::usage),
            None => {
                Err(Failure::usage(format!("--output takes wide, yaml, json, name or jsonpath=TEMPLATE, not {text:?}")))
            }
        },
    }
}

/// Paths to read for a target: one for each name, or one for all.
fn paths(session: &Session, flags: &GetFlags, target: &Target) -> Vec<String> {
    let namespace = (!flags.all_namespaces).then_some(session.namespace.as_str());
    if !target.names.is_empty() {
        let namespace = Some(session.namespace.as_str());
        return target.names.iter().map(|name| target.resource.path(namespace, Some(name))).collect();
    }
    let mut path = target.resource.path(namespace, None);
    let selectors = [("labelSelector", &flags.selector), ("fieldSelector", &flags.field_selector)];
    for (name, selector) in selectors {
        if let Some(selector) = selector {
            let sign = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{sign}{name}={}", escape(selector)));
        }
    }
    vec![path]
}

async fn tables(session: &Session, flags: &GetFlags, targets: &[Target], wide: bool) -> Result<(), Failure> {
    let mut printed = 0;
    for target in targets {
        let mut whole = table::Table::new(wide, flags.all_namespaces && target.resource.namespaced);
        if targets.len() > 1 {
            whole.prefix(target.resource.qualified(""));
        }
        for path in paths(session, flags, target) {
            whole.add(&session.get(&path, TABLE).await?);
        }
        if whole.is_empty() {
            continue;
        }
        if printed > 0 {
            println!();
        }
        print!("{}", whole.render(flags.no_headers));
        printed += 1;
    }
    if printed == 0 {
        let everywhere = flags.all_namespaces || targets.iter().all(|target| !target.resource.namespaced);
        let place = if everywhere { String::new() } else { format!(" in {} namespace", session.namespace) };
        eprintln!("No resources found{place}.");
    }
    Ok(())
}

async fn objects(session: &Session, flags: &GetFlags, targets: &[Target], output: &Output) -> Result<(), Failure> {
    let mut found: Vec<(Resource, Value)> = Vec::new();
    let mut alone = false;
    for target in targets {
        for path in paths(session, flags, target) {
            let value = session.get(&path, JSON).await?;
            if target.names.is_empty() {
                let listed = items(&value, "items").iter().cloned().map(|mut item| {
                    // Items of a list do not repeat what they are.
                    if let Some(item) = item.as_object_mut() {
                        item.insert("apiVersion".into(), target.resource.api_version().into());
                        item.insert("kind".into(), target.resource.kind.clone().into());
                    }
                    (target.resource.clone(), item)
                });
                found.extend(listed);
            } else {
                alone = targets.len() == 1 && target.names.len() == 1;
                found.push((target.resource.clone(), value));
            }
        }
    }
    if let Output::Name = output {
        for (resource, object) in &found {
            println!("{}", resource.qualified(&text(object, "/metadata/name")));
        }
        return Ok(());
    }
    let mut values: Vec<Value> = found.into_iter().map(|(_, value)| without_managed_fields(value)).collect();
    let whole = match values.pop() {
        Some(value) if alone => value,
        last => {
            values.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "items": values, "metadata": {"resourceVersion": ""}})
        }
    };
    match output {
        Output::Yaml => print!("{}", serde_saphyr::to_string(&whole)?),
        Output::Field(template) => print!("{}", template.fill(&whole)),
        _ => println!("{}", serde_json::to_string_pretty(&whole)?),
    }
    Ok(())
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Prints a table and then every change of it.
async fn follow(session: &Session, flags: &GetFlags, target: &Target, wide: bool) -> Result<(), Failure> {
    let listed = Target { resource: target.resource.clone(), names: Vec::new() };
    let mut path = paths(session, flags, &listed).pop().unwrap_or_default();
    if let [name] = target.names.as_slice() {
        let sign = if path.contains('?') { '&' } else { '?' };
        path.push_str(&format!("{sign}fieldSelector={}", escape(&format!("metadata.name={name}"))));
    }
    let list = session.get(&path, TABLE).await?;
    let mut whole = table::Table::new(wide, flags.all_namespaces && target.resource.namespaced);
    whole.add(&list);
    print!("{}", whole.render(flags.no_headers));
    let sign = if path.contains('?') { '&' } else { '?' };
    let watch = format!("{path}{sign}watch=true&resourceVersion={}", text(&list, "/metadata/resourceVersion"));
    let request = client::request(Method::GET, &watch, TABLE, None)?;
    let stream = session.client.request_stream(request).await.map_err(|error| session.explain(error))?;
    let mut lines = Box::pin(tokio_util::compat::FuturesAsyncReadCompatExt::compat(stream)).lines();
    while let Some(line) = lines.next_line().await? {
        let event: Value = serde_json::from_str(&line)?;
        let object = event.get("object").unwrap_or(&Value::Null);
        match text(&event, "/type").as_str() {
            "ERROR" => return Err(Failure::new(format!("the watch ended: {}", text(object, "/message")))),
            "BOOKMARK" => {}
            _ => print!("{}", whole.render_change(object)),
        }
    }
    Ok(())
}
