//! Runs probes and hooks: over the network, or as a process in the container.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::pod::perform::Site;
use crate::plan::pod::{Failure, HookKind, Outcome, ProbeKind, containers, probe as rules};
use crate::runtime::probe::Target;
use crate::runtime::{ContainerId, ExecSpec};

/// Most bytes of a process' output that are read (kubelet's bound).
const MAX_OUTPUT_BYTES: u64 = 10 * 1024;
/// Longest hook where the pod's end does not bound it (kubelet waits for postStart hooks without a bound of its own).
const MAX_HOOK: Duration = Duration::from_mins(30);

/// Runs a probe once.
pub async fn probe(site: &Site, container: &str, attempt: u32, kind: ProbeKind) -> Outcome {
    let slot = containers::find(&site.pod, container);
    let Some((slot, probe)) = slot.and_then(|slot| Some((slot, kind.of(slot.container)?))) else {
        return Outcome::Done;
    };
    match ask(site, slot.container, &site.id(container, attempt), probe).await {
        Ok(()) => Outcome::Probed { success: true, message: String::new() },
        Err(message) => Outcome::Probed { success: false, message },
    }
}

async fn ask(site: &Site, container: &Container, id: &ContainerId, probe: &Probe) -> Result<(), String> {
    let timeout = rules::timeout(probe);
    if let Some(exec) = &probe.exec {
        return run(site, id, exec.command.as_deref().unwrap_or_default(), timeout).await;
    }
    let target = if let Some(http) = &probe.http_get {
        http_target(site, container, http)?
    } else if let Some(tcp) = &probe.tcp_socket {
        tcp_target(site, container, tcp)?
    } else if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).map_err(|_| format!("invalid port {}", grpc.port))?;
        Target::Tcp { host: pod_host(site), port }
    } else {
        return Err("the probe has no handler".to_owned());
    };
    site.parts.prober.probe(&target, timeout).await
}

/// Runs a lifecycle hook.
pub async fn hook(site: &Site, container: &str, attempt: u32, hook: HookKind) -> Outcome {
    let slot = containers::find(&site.pod, container);
    let lifecycle = slot.as_ref().and_then(|slot| slot.container.lifecycle.as_ref());
    let handler = lifecycle.and_then(|lifecycle| match hook {
        HookKind::PostStart => lifecycle.post_start.as_ref(),
        HookKind::PreStop => lifecycle.pre_stop.as_ref(),
    });
    let Some((slot, handler)) = slot.zip(handler) else { return Outcome::Done };
    let id = site.id(container, attempt);
    let result = tokio::time::timeout(MAX_HOOK, handle(site, slot.container, &id, handler));
    match result.await.unwrap_or_else(|_| Err("the hook took too long".to_owned())) {
        Ok(()) => Outcome::Done,
        Err(message) => Outcome::Failed(Failure { reason: "FailedHook", message }),
    }
}

async fn handle(
    site: &Site,
    container: &Container,
    id: &ContainerId,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        return run(site, id, exec.command.as_deref().unwrap_or_default(), MAX_HOOK).await;
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(http) = &handler.http_get {
        let target = http_target(site, container, http)?;
        return site.parts.prober.probe(&target, MAX_HOOK).await;
    }
    Err("the hook has no handler".to_owned())
}

/// Runs a command in the container; a code other than 0 is a failure with the command's output.
async fn run(site: &Site, id: &ContainerId, command: &[String], timeout: Duration) -> Result<(), String> {
    let spec = ExecSpec { command: command.to_vec(), tty: false, stdin: false };
    let work = async {
        let session = site.parts.runtime.exec(id, &spec).await.map_err(|error| error.to_string())?;
        let (stdout, stderr) = tokio::join!(collect(Some(session.stdout)), collect(session.stderr));
        match session.exit.await {
            Ok(0) => Ok(()),
            // A probe or hook tells what the command said.
            Ok(code) if stdout.is_empty() && stderr.is_empty() => Err(format!("{command:?} exited with {code}")),
            Ok(_) => Err(format!("{stdout}{stderr}")),
            Err(_) => Err(format!("the end of command {command:?} is not known")),
        }
    };
    let late = || format!("command timed out: {command:?} timed out after {}s", timeout.as_secs());
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(late()))
}

async fn collect(stream: Option<Box<dyn AsyncRead + Send + Unpin>>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut out = Vec::new();
    let _ = (&mut stream).take(MAX_OUTPUT_BYTES).read_to_end(&mut out).await;
    // The rest is read and dropped, so that the process never waits for a reader.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&out).into_owned()
}

fn pod_host(site: &Site) -> String {
    let ip = site.addresses.as_ref().and_then(|addresses| addresses.ips.first());
    ip.map(ToString::to_string).unwrap_or_default()
}

fn http_target(site: &Site, container: &Container, http: &HTTPGetAction) -> Result<Target, String> {
    let headers = http.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
    Ok(Target::Http {
        tls: http.scheme.as_deref() == Some("HTTPS"),
        host: http.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_host(site)),
        port: port(container, &http.port)?,
        path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
        headers: headers.collect(),
    })
}

fn tcp_target(site: &Site, container: &Container, tcp: &TCPSocketAction) -> Result<Target, String> {
    let host = tcp.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_host(site));
    Ok(Target::Tcp { host, port: port(container, &tcp.port)? })
}

fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| format!("couldn't find port: {port:?}"))
}
