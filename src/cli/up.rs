//! `shoal up`: reads the settings, checks the machine, runs the node until it is told to stop.
//!
//! `joining` checks what a node is told about its cluster, `node` is the node that runs, `again` begins anew.

mod again;
mod joining;
mod node;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::UpFlags;
use super::failure::Failure;
use super::lock::NodeLock;
use super::settings::{Settings, Sources};
use super::{control, leave, logging, preflight, started};
use crate::actors::node::restart::Restart;
use crate::actors::settings::NodeSettings;

/// Bound on what still runs when the node has ended.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(1);

/// Runs a node in the foreground.
pub fn run(flags: UpFlags) -> Result<ExitCode, Failure> {
    // Pages of 2 MiB make a small heap large. Containers get them back (`shim/launch.rs`).
    let _ = nix::sys::prctl::set_thp_disable(true);
    let token = flags.join.token.clone();
    let sources = sources(flags)?;
    let mut settings = Settings::load(&sources)?;
    logging::start(&settings.log)?;
    leave::refuse_after(&settings.node.data)?;
    joining::check(&mut settings, token, &sources.environment)?;
    preflight::data_directory(&settings.node.data)?;
    let mut lock = NodeLock::acquire(&settings.node.data)?;
    preflight::check(&settings.node)?;
    lock.sign()?;
    started::write(&settings.node.data, &sources)?;
    let control = settings.node.run.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(settings.node.clone(), &control));
    // Blocking work that is still under way must not hold up the end of the process.
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    match outcome? {
        None => Ok(ExitCode::SUCCESS),
        Some(restart) => again::run(&settings.node, &restart),
    }
}

/// Serves until the node ends, or is to begin anew.
async fn serve(settings: NodeSettings, run: &Path) -> Result<Option<Restart>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let kubeconfig = settings.data.join("admin.kubeconfig");
    let (name, data) = (settings.name.clone(), settings.data.clone());
    eprintln!("shoal {}: starting node {name} (data in {})", env!("CARGO_PKG_VERSION"), settings.data.display());
    // A start may wait long, for a seed that does not answer: it can be given up.
    let node = tokio::select! {
        node = node::start(settings) => node?,
        _ = terminate.recv() => return Ok(None),
        _ = interrupt.recv() => return Ok(None),
    };
    let socket = control::bind(run)?;
    let control = control::serve(&socket, &node);
    tokio::pin!(control);
    let mut announced = false;
    loop {
        tokio::select! {
            ready = node.ready(), if !announced => {
                ready?;
                announced = true;
                announce(&name, &node.url(), &kubeconfig.display().to_string());
            }
            () = &mut control => {
                eprintln!("node {name} has left its cluster");
                if let Err(error) = leave::note(&data) {
                    eprintln!("this cannot be noted in {}: {error}", data.display());
                }
                break;
            }
            restart = node.restart() => {
                node.stop().await;
                return Ok(Some(restart));
            }
            failure = node.failed() => return node.after(failure).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    eprintln!("stopping; containers keep running (`shoal down` ends them)");
    node.stop().await;
    Ok(None)
}

fn announce(name: &str, url: &str, kubeconfig: &str) {
    eprintln!("node {name} is Ready at {url}");
    eprintln!("  shoal get nodes");
    eprintln!("  kubectl --kubeconfig {kubeconfig} get nodes");
    eprintln!("Ctrl-C stops this process and leaves containers running.");
}

fn sources(flags: UpFlags) -> Result<Sources, Failure> {
    let mut values = Vec::new();
    let mut add = |key, value: Option<String>| values.extend(value.map(|value| (String::from(key), value)));
    add("data", flags.data);
    add("listen", flags.listen);
    add("name", flags.name);
    add("address", flags.address);
    add("join", (!flags.join.join.is_empty()).then(|| flags.join.join.join(",")));
    add("token_file", flags.join.token_file);
    add("zone", flags.join.zone);
    add("runtime", flags.runtime);
    add("containerd_socket", flags.containerd_socket);
    add("network.pod_cidr", flags.pod_cidr);
    add("log.filter", flags.log);
    add("log.format", flags.log_format);
    for pair in &flags.set {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| Failure::usage(format!("--set takes KEY=VALUE, not {pair:?}")))?;
        add(key, Some(value.to_string()));
    }
    Ok(Sources { file: flags.config, environment: environment(), flags: values })
}

/// The environment, without what is not text (no setting has such a name).
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
