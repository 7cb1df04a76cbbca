//! `shoal exec`: a program in a running container, with a terminal where one is wanted.

mod terminal;

use std::process::ExitCode;

use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::ExecFlags;
use super::client::{self, Session};
use super::failure::{FAILED, Failure};
use super::logs::find_pod;

/// Runs a program; its exit code is this command's.
pub fn run(flags: &ExecFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let pod = find_pod(&session, &flags.target).await?;
        let tty = flags.tty && terminal::is_one();
        if flags.tty && !tty {
            eprintln!("standard input is not a terminal: running without one");
        }
        let mut params = AttachParams::default().stdin(flags.stdin).stdout(true).stderr(!tty).tty(tty);
        params.container.clone_from(&flags.container);
        let pods: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
        let process = pods.exec(&pod, &flags.command, &params).await.map_err(|error| session.explain(error))?;
        let _raw = if tty { Some(terminal::Raw::enter()?) } else { None };
        carry(process).await
    })
}

/// Carries input, output and terminal sizes until the program ends.
async fn carry(mut process: AttachedProcess) -> Result<ExitCode, Failure> {
    let status = process.take_status();
    let output = copy(process.stdout(), tokio::io::stdout());
    let errors = copy(process.stderr(), tokio::io::stderr());
    let input = process.stdin();
    let sizes = process.terminal_size();
    let both = async { tokio::join!(output, errors) };
    tokio::pin!(both);
    let feed = feed(input);
    tokio::pin!(feed);
    let resize = resize(sizes);
    tokio::pin!(resize);
    loop {
        tokio::select! {
            _ = &mut both => break,
            () = &mut feed => {
                // The input has ended; the program goes on.
                both.await;
                break;
            }
            () = &mut resize => {}
        }
    }
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let status = status.ok_or_else(|| Failure::new("the connection ended before the program did"))?;
    if status.status.as_deref() == Some("Success") {
        return Ok(ExitCode::SUCCESS);
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_deref()?.parse::<u8>().ok()) {
        Ok(ExitCode::from(code))
    } else {
        eprintln!("error: {}", status.message.unwrap_or_default());
        Ok(ExitCode::from(FAILED))
    }
}

async fn copy(from: Option<impl AsyncRead + Unpin>, mut to: impl AsyncWrite + Unpin) {
    if let Some(mut from) = from {
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.flush().await;
    }
}

async fn feed(to: Option<impl AsyncWrite + Unpin>) {
    match to {
        Some(mut to) => {
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut to).await;
            let _ = to.shutdown().await;
        }
        None => std::future::pending().await,
    }
}

async fn resize(sizes: Option<impl futures::Sink<TerminalSize> + Unpin>) {
    let (Some(mut sizes), Ok(mut changes)) = (sizes, signal(SignalKind::window_change())) else {
        return std::future::pending().await;
    };
    loop {
        if let Some((width, height)) = terminal::size() {
            let _ = sizes.send(TerminalSize { width, height }).await;
        }
        changes.recv().await;
    }
}
