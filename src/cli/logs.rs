//! `shoal logs`: what a container has printed.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::arguments::LogsFlags;
use super::client::resources::{self, items, text};
use super::client::{self, JSON, Session, escape};
use super::failure::Failure;

/// Prints logs.
pub fn run(flags: &LogsFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let pod = find_pod(&session, &flags.target).await?;
        let path = path(&session, flags, &pod)?;
        let request = client::request(Method::GET, &path, "*/*", None)?;
        let stream = session.client.request_stream(request).await.map_err(|error| session.explain(error))?;
        let mut out = tokio::io::stdout();
        tokio::io::copy(&mut stream.compat(), &mut out).await?;
        out.flush().await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn path(session: &Session, flags: &LogsFlags, pod: &str) -> Result<String, Failure> {
    let mut path = format!("/api/v1/namespaces/{}/pods/{}/log?", escape(&session.namespace), escape(pod));
    let mut add = |name: &str, value: &str| path.push_str(&format!("{name}={}&", escape(value)));
    if let Some(container) = &flags.container {
        add("container", container);
    }
    for (name, set) in [("follow", flags.follow), ("previous", flags.previous), ("timestamps", flags.timestamps)] {
        if set {
            add(name, "true");
        }
    }
    if let Some(tail) = flags.tail {
        add("tailLines", &tail.to_string());
    }
    if let Some(since) = &flags.since {
        let since = super::settings::duration(since)
            .map_err(|expected| Failure::usage(format!("--since takes {expected}, not {since:?}")))?;
        add("sinceSeconds", &since.as_secs().to_string());
    }
    path.truncate(path.len() - 1);
    Ok(path)
}

/// The pod that a word means: its name, or the newest running one of `deployment/NAME` and the like.
pub async fn find_pod(session: &Session, target: &str) -> Result<String, Failure> {
    let Some((kind, name)) = target.split_once('/') else { return Ok(target.to_string()) };
    let served = resources::discover(session).await?;
    let resource = resources::one(&served, kind)?;
    if resource.kind == "Pod" {
        return Ok(name.to_string());
    }
    let object = session.get(&resource.path(Some(&session.namespace), Some(name)), JSON).await?;
    let labels = object.pointer("/spec/selector/matchLabels").or_else(|| object.pointer("/spec/selector"));
    let selector: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    if selector.is_empty() {
        return Err(Failure::new(format!("{target} selects no pods")));
    }
    let namespace = escape(&session.namespace);
    let selector = escape(&selector.join(","));
    let pods = session.get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}"), JSON).await?;
    let rank = |pod: &&Value| {
        let leaving = pod.pointer("/metadata/deletionTimestamp").is_some();
        (!leaving, text(pod, "/status/phase") == "Running", text(pod, "/metadata/creationTimestamp"))
    };
    let best = items(&pods, "items").iter().max_by_key(rank);
    best.map(|pod| text(pod, "/metadata/name")).ok_or_else(|| Failure::new(format!("{target} has no pods")))
}
