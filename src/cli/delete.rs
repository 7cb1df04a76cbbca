//! `shoal delete`: removes objects, and waits until they are gone.

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::arguments::DeleteFlags;
use super::client::resources::{self, Resource, Target, items, text};
use super::client::{self, JSON, Session, escape, manifest};
use super::failure::Failure;

/// How often is looked whether an object is gone.
const POLL: Duration = Duration::from_millis(100);

/// An object to remove.
struct Doomed {
    name: String,
    path: String,
    uid: String,
}

/// Removes objects.
pub fn run(flags: &DeleteFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let served = resources::discover(&session).await?;
        let wanted = wanted(&session, &served, flags).await?;
        let mut going = Vec::new();
        let mut missing = false;
        for (resource, namespace, name) in wanted {
            match remove(&session, flags, &resource, &namespace, &name).await? {
                Some(doomed) => going.push(doomed),
                None if flags.ignore_not_found => {}
                None => {
                    eprintln!("error: {} not found", resource.qualified(&name));
                    missing = true;
                }
            }
        }
        if flags.wait {
            wait(&session, &going, Duration::from_secs(flags.timeout)).await?;
        }
        Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

async fn wanted(
    session: &Session,
    served: &[Resource],
    flags: &DeleteFlags,
) -> Result<Vec<(Resource, String, String)>, Failure> {
    if !flags.files.is_empty() {
        let mut found = Vec::new();
        // The last first, so that a namespace goes after what is in it.
        for manifest in manifest::read(&flags.files)?.into_iter().rev() {
            let resource = resources::of_object(served, &manifest.object).cloned().ok_or_else(|| {
                Failure::new(format!("{}: the server has no {}", manifest.place, text(&manifest.object, "/kind")))
            })?;
            let namespace = Some(text(&manifest.object, "/metadata/namespace")).filter(|name| !name.is_empty());
            let namespace = namespace.unwrap_or_else(|| session.namespace.clone());
            found.push((resource, namespace, text(&manifest.object, "/metadata/name")));
        }
        return Ok(found);
    }
    let mut found = Vec::new();
    for Target { resource, mut names } in resources::resolve(served, &flags.words)? {
        if names.is_empty() {
            names = listed(session, flags, &resource).await?;
        }
        found.extend(names.into_iter().map(|name| (resource.clone(), session.namespace.clone(), name)));
    }
    Ok(found)
}

async fn listed(session: &Session, flags: &DeleteFlags, resource: &Resource) -> Result<Vec<String>, Failure> {
    let mut path = resource.path(Some(&session.namespace), None);
    match &flags.selector {
        Some(selector) => path.push_str(&format!("?labelSelector={}", escape(selector))),
        None if flags.all => {}
        None => return Err(Failure::usage("which ones? Name them, or give --selector or --all")),
    }
    let list = session.get(&path, JSON).await?;
    Ok(items(&list, "items").iter().map(|item| text(item, "/metadata/name")).collect())
}

async fn remove(
    session: &Session,
    flags: &DeleteFlags,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Doomed>, Failure> {
    let path = resource.path(Some(namespace), Some(name));
    let Some(object) = session.find(&path).await? else { return Ok(None) };
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    if let (Some(grace), Some(options)) = (flags.grace_period, options.as_object_mut()) {
        options.insert("gracePeriodSeconds".into(), Value::from(grace));
    }
    session.write(Method::DELETE, &path, JSON, &options).await?;
    let name = resource.qualified(name);
    println!("{name} deleted");
    Ok(Some(Doomed { name, path, uid: text(&object, "/metadata/uid") }))
}

async fn wait(session: &Session, going: &[Doomed], patience: Duration) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + patience;
    for doomed in going {
        while let Some(object) = session.find(&doomed.path).await? {
            if text(&object, "/metadata/uid") != doomed.uid {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Failure::new(format!("{} is still there after {} s", doomed.name, patience.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}
