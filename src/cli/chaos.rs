//! `shoal chaos run`: a cluster of real processes under load while things go wrong, judged from outside.
//!
//! The core is pure: `scenario` is what a run does, `schedule` when, `history` what clients saw, `check` whether a correct
//! cluster may have shown it, `figures` and `report` what a reader gets. Around it: `ground` the networks and directories,
//! `machine` a node's process, `cluster` all of them, `door` a node's API, `load` the clients, `faults` what goes wrong,
//! `damage` the worst of them, `ending` the last look, `recorder` writes the history.

mod check;
mod cluster;
mod damage;
mod door;
mod ending;
mod faults;
mod figures;
mod ground;
mod history;
mod load;
mod machine;
mod recorder;
mod report;
mod scenario;
mod schedule;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::chaos::{ChaosCommand, ChaosFlags, ChaosRunFlags};
use super::client;
use super::failure::{FAILED, Failure};
use crate::world::clock::{Clock, SystemClock};
use cluster::Cluster;
use faults::Faults;
use ground::Ground;
use load::{Clients, Shared};
use recorder::Recorder;
use report::{Report, page, table};
use scenario::Scenario;

/// Largest scenario file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Runs a scenario; 0 where every check holds.
pub fn run(flags: &ChaosFlags) -> Result<ExitCode, Failure> {
    let ChaosCommand::Run(flags) = &flags.command;
    let scenario = read(flags)?;
    preflight(flags)?;
    let dir =
        flags.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("shoal-chaos-{}", std::process::id())));
    let (began, history) = on_the_ground(scenario.clone(), dir, flags.logs.clone())?;
    let report = Report::of(&scenario, began, &history);
    // Nobody may be reading any more; the files and the exit code are still wanted.
    let _ = std::io::stdout().write_all(table::render(&report).as_bytes());
    write(flags.json.as_deref(), || Ok(serde_json::to_string_pretty(&report)? + "\n"))?;
    write(flags.html.as_deref(), || Ok(page::render(&report)))?;
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn read(flags: &ChaosRunFlags) -> Result<Scenario, Failure> {
    let name = flags.file.display().to_string();
    let tell = |failure: Failure| failure.context(&name);
    let bytes = std::fs::metadata(&flags.file).map_err(|error| tell(error.into()))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(tell(Failure::new(format!("{bytes} bytes are too many for a scenario"))));
    }
    let text = std::fs::read_to_string(&flags.file).map_err(|error| tell(error.into()))?;
    let mut scenario = Scenario::parse(&text).map_err(tell)?;
    scenario.nodes = flags.nodes.unwrap_or(scenario.nodes);
    if let Some(duration) = flags.duration {
        let before = scenario.fault.len();
        scenario.duration = duration;
        scenario.fault.retain(|fault| fault.end() <= duration);
        if scenario.fault.len() < before {
            eprintln!("{} of {before} faults come after {duration:?} and are left out", before - scenario.fault.len());
        }
    }
    scenario.check().map_err(|wrong| tell(Failure::new(wrong)))?;
    Ok(scenario)
}

/// What a run needs, before it makes anything.
fn preflight(flags: &ChaosRunFlags) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("networks and disks of its own need root: run `sudo shoal chaos run ...`"));
    }
    for (program, argument) in [("ip", "-V"), ("nft", "-v")] {
        let outcome = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).status();
        outcome.map_err(|error| {
            Failure::new(format!("cannot run `{program}` ({error}): `apt install iproute2 nftables`"))
        })?;
    }
    for file in [&flags.json, &flags.html].into_iter().flatten() {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(Failure::new(format!("cannot write {}: there is no such directory", file.display())));
        }
    }
    Ok(())
}

/// Runs everything on a thread of its own, which alone stands in the network of the clients.
fn on_the_ground(
    scenario: Scenario,
    dir: PathBuf,
    logs: Option<PathBuf>,
) -> Result<(String, history::History), Failure> {
    let job = move || {
        let ground = Ground::lay(&scenario, dir)?;
        ground.enter()?;
        client::run(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                outcome = drive(&scenario, ground, logs) => outcome,
                _ = terminate.recv() => Err(interrupted()),
                _ = interrupt.recv() => Err(interrupted()),
            }
        })
    };
    let thread = std::thread::Builder::new().name("chaos".into()).spawn(job)?;
    thread.join().map_err(|_| Failure::new("the run panicked; what it made was removed"))?
}

fn interrupted() -> Failure {
    Failure::new("interrupted; what the run made was removed")
}

async fn drive(
    scenario: &Scenario,
    ground: Ground,
    logs: Option<PathBuf>,
) -> Result<(String, history::History), Failure> {
    eprintln!("{}: starting {} nodes", scenario.name, scenario.nodes);
    let mut cluster = Cluster::found(scenario, ground, logs).await?;
    let doors = cluster.doors(scenario.load.request_timeout).await?;
    load::make_namespace(&doors).await?;
    let began = SystemClock.now().to_string();
    eprintln!("the cluster stands; {:?} of load", scenario.duration);
    let shared = Arc::new(Shared { doors, recorder: Recorder::begin(), load: scenario.load.clone() });
    let mut clients = Clients::start(&shared);
    let planned = schedule::faults(&scenario.fault);
    Faults::new(&mut cluster, &shared, &planned).run(scenario.duration).await;
    let ended = shared.recorder.now();
    shared.recorder.note(|history| history.load_ended = ended);
    clients.stop_writing().await;
    eprintln!("{:>7} ms  end of load; waiting for the cluster to heal and to converge", ended / 1000);
    ending::heal(&shared, &mut cluster, scenario.settle).await;
    ending::converge(&shared, scenario.settle).await;
    damage::mended(&shared, scenario.settle).await;
    let last = ending::write_last(&shared, scenario.settle).await;
    ending::list(&shared).await;
    clients.finish(last, scenario.settle).await;
    cluster.deaths().into_iter().for_each(|death| shared.recorder.death(death));
    if shared.recorder.is_full() {
        shared
            .recorder
            .note(|history| history.notes.push("the load ended early: there was no room for more records".into()));
    }
    Ok((began, shared.recorder.finish()))
}

fn write(path: Option<&Path>, text: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text()?).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}
