//! `shoal apply`: makes the cluster say what manifests say.

mod wait;

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::arguments::ApplyFlags;
use super::client::manifest::{self, Manifest};
use super::client::resources::{self, Resource, text};
use super::client::{self, Session, three_way};
use super::failure::Failure;
use crate::kube::resource;

/// Times that a patch is made anew because somebody else was faster.
const MAX_CONFLICTS: usize = 5;

/// Applies manifests.
pub fn run(flags: &ApplyFlags) -> Result<ExitCode, Failure> {
    let manifests = manifest::read(&flags.files)?;
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let served = resources::discover(&session).await?;
        let mut applied = Vec::new();
        for manifest in &manifests {
            applied.push(apply(&session, &served, manifest).await.map_err(|failure| failure.context(&manifest.place))?);
        }
        if flags.wait {
            wait::until_ready(&session, &applied, Duration::from_secs(flags.timeout)).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// An object that was applied.
pub struct Applied {
    /// Its resource.
    pub resource: Resource,
    /// Its path.
    pub path: String,
    /// Its name.
    pub name: String,
}

async fn apply(session: &Session, served: &[Resource], manifest: &Manifest) -> Result<Applied, Failure> {
    let object = &manifest.object;
    let resource = resources::of_object(served, object).cloned().ok_or_else(|| {
        Failure::new(format!("the server has no {} in {}", text(object, "/kind"), text(object, "/apiVersion")))
    })?;
    let name = text(object, "/metadata/name");
    let namespace = Some(text(object, "/metadata/namespace")).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| session.namespace.clone());
    let collection = resource.path(Some(&namespace), None);
    if name.is_empty() {
        return Err(Failure::new("metadata.name is missing; apply must know which object is meant"));
    }
    let path = resource.path(Some(&namespace), Some(&name));
    let done = match session.find(&path).await? {
        None => {
            session.write(Method::POST, &collection, client::JSON, &three_way::annotated(object)).await?;
            "created"
        }
        Some(live) => change(session, &path, object, live).await?,
    };
    println!("{} {done}", resource.qualified(&name));
    Ok(Applied { resource, path, name })
}

async fn change(session: &Session, path: &str, object: &Value, mut live: Value) -> Result<&'static str, Failure> {
    let known = resource::by_kind(&text(object, "/apiVersion"), &text(object, "/kind"));
    let wanted = three_way::annotated(object);
    for attempt in 1.. {
        let last = three_way::last_applied(&live);
        let (mut patch, strategic) = three_way::patch(known.map(|row| row.type_name), &last, &wanted, &live);
        if patch.is_empty() {
            return Ok("unchanged");
        }
        if let Some(Value::Object(metadata)) = patch.get_mut("metadata") {
            metadata.remove("resourceVersion");
        }
        let kind = if strategic { "application/strategic-merge-patch+json" } else { "application/merge-patch+json" };
        match session.write(Method::PATCH, path, kind, &patch.into()).await {
            Ok(_) => return Ok("configured"),
            Err(failure) if attempt < MAX_CONFLICTS && failure.message().contains("says Conflict") => {
                live = session.get(path, client::JSON).await?;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok("unchanged")
}
