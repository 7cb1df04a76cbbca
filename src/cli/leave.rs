//! `shoal leave`: takes a node out of its cluster for good. This machine's node is asked through its control socket
//! and ends; another one is removed through the API, whether it still runs or not.

use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::arguments::cluster::LeaveFlags;
use super::client::{self, JSON, Session, escape};
use super::control::{self, Request};
use super::failure::Failure;
use super::started;

/// Written into the data directory of a node that left.
const MARK: &str = "left";

/// Runs the command.
pub fn run(flags: &LeaveFlags) -> Result<ExitCode, Failure> {
    match &flags.name {
        Some(name) => client::run(remove(flags, name))?,
        None => leave(flags)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(flags: &LeaveFlags, name: &str) -> Result<(), Failure> {
    let session = Session::open(&flags.client).await?;
    let path = format!("/shoal/v1/members/{}/leave", escape(name));
    session.write(Method::POST, &path, JSON, &json!({})).await?;
    println!("node {name} was removed; nobody of the cluster talks to it any more");
    Ok(())
}

fn leave(flags: &LeaveFlags) -> Result<(), Failure> {
    let data = flags.client.data.as_deref().map(|data| data.display().to_string());
    let settings = started::settings(flags.config.as_deref(), data.as_deref())?;
    client::run(control::ask(&settings.run, &Request::Leave))?;
    println!(
        "node {} has left the cluster; its containers still run: `shoal down --data {} --purge` ends them and removes \
         its data",
        settings.name,
        settings.data.display()
    );
    Ok(())
}

/// Notes that the node with this data directory has left.
pub fn note(data: &Path) -> std::io::Result<()> {
    std::fs::write(data.join(MARK), b"")
}

/// Refuses to start a node that has left: nobody would talk to it.
///
/// # Errors
/// Where it has.
pub fn refuse_after(data: &Path) -> Result<(), Failure> {
    if !data.join(MARK).exists() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the node in {} has left its cluster; `shoal down --data {} --purge` removes what is left of it, then it can \
         join anew",
        data.display(),
        data.display()
    )))
}
