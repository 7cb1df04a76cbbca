//! What a run tells: one value, shown as a table, as JSON and as a page.

pub mod page;
pub mod table;
mod timeline;

use serde::Serialize;

use super::check::{self, Verdict};
use super::figures::Figures;
use super::history::History;
use super::scenario::Scenario;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// What it is for.
    pub about: String,
    /// When the load began, in UTC.
    pub began: String,
    /// Version of the program.
    pub version: &'static str,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// What ran containers.
    pub runtime: &'static str,
    /// Whether every check holds.
    pub passed: bool,
    /// The checks.
    pub checks: Vec<Verdict>,
    /// From the end of the load until all nodes were Ready, in milliseconds.
    pub healed_ms: Option<u64>,
    /// Until the last deployment had converged.
    pub converged_ms: Option<u64>,
    /// The figures.
    pub figures: Figures,
    /// Whatever else a reader should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Judges a history.
    pub fn of(scenario: &Scenario, began: String, history: &History) -> Self {
        let checks = check::all(history);
        let converged = history.ending.deployments.iter().map(|deployment| deployment.outcome.as_ref().ok().copied());
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            began,
            version: env!("CARGO_PKG_VERSION"),
            nodes: (0..usize::from(scenario.nodes)).map(Scenario::node_name).collect(),
            runtime: scenario.runtime.word(),
            passed: checks.iter().all(Verdict::holds),
            checks,
            healed_ms: history.ending.healed.as_ref().and_then(|healed| healed.as_ref().ok()).map(|micros| micros / 1000),
            converged_ms: converged.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).map(|us| us / 1000),
            figures: Figures::of(history),
            notes: history.notes.clone(),
        }
    }
}

/// Microseconds as milliseconds with one digit after the point.
pub fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

/// Milliseconds, or a dash.
pub fn or_dash(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".into(), |millis| millis.to_string())
}
