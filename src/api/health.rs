//! `/healthz`, `/livez`, `/readyz`: named checks, one by one or all together.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use parking_lot::Mutex;

use super::answer;
use super::body::Body;
use super::query::Query;
use super::registry::Registry;
use crate::kube::status::Status;

const PLAIN: &str = "text/plain; charset=utf-8";

/// What the node must have done before it takes requests; set by the parts that do it.
#[derive(Default)]
pub struct Readiness(Mutex<BTreeMap<&'static str, bool>>);

impl Readiness {
    /// Says whether a part is ready. A part that never says anything is not waited for.
    pub fn set(&self, part: &'static str, ready: bool) {
        self.0.lock().insert(part, ready);
    }

    /// Whether every part is ready.
    pub fn is_ready(&self) -> bool {
        self.0.lock().values().all(|ready| *ready)
    }

    fn parts(&self) -> Vec<(String, bool)> {
        self.0.lock().iter().map(|(part, ready)| ((*part).to_owned(), *ready)).collect()
    }
}

/// Answers a health path: `/<endpoint>` or `/<endpoint>/<check>`.
pub fn serve(path: &str, query: &Query, registry: &Registry, readiness: &Readiness) -> Result<Response<Body>, Status> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (endpoint, single) = (parts.next().unwrap_or_default(), parts.next());
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut checks = vec![("ping".to_owned(), true), ("store".to_owned(), !registry.store().stats().disk_full)];
    if endpoint == "readyz" {
        checks.extend(readiness.parts());
    }
    checks.retain(|(name, _)| !excluded.contains(&name.as_str()) && single.is_none_or(|single| single == name));
    if checks.is_empty() {
        return Err(Status::new(404, "NotFound", "the server could not find the requested resource"));
    }
    let passed = checks.iter().all(|(_, passed)| *passed);
    let verbose = query.has("verbose");
    let mut response = answer::response(PLAIN, text(endpoint, &checks, passed, verbose));
    if !passed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

fn text(endpoint: &str, checks: &[(String, bool)], passed: bool, verbose: bool) -> String {
    if passed && !verbose {
        return "ok".to_owned();
    }
    let line = |(name, passed): &(String, bool)| {
        if *passed { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") }
    };
    let lines: String = checks.iter().map(line).collect();
    format!("{lines}{endpoint} check {}\n", if passed { "passed" } else { "failed" })
}
