//! A report as tables for a terminal.

use std::fmt::Write;

use super::{Report, millis, or_dash};
use crate::cli::chaos::figures::KindFigures;
use crate::cli::get::table::Table;

/// Reasons of failures that are shown.
const REASONS: usize = 12;

/// The whole report.
pub fn render(report: &Report) -> String {
    let figures = &report.figures;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {} nodes ({}), {}.{} s of load from {}\n",
        report.scenario,
        report.nodes.len(),
        report.runtime,
        figures.load_ms / 1000,
        figures.load_ms % 1000 / 100,
        report.began
    );
    out.push_str(&requests(report));
    let _ = writeln!(
        out,
        "\nLongest time without a successful write: {} ms. Nodes Ready {} ms and deployments converged {} ms after the load.\n",
        figures.longest_gap_ms,
        or_dash(report.healed_ms),
        or_dash(report.converged_ms)
    );
    out.push_str(&faults(report));
    out.push_str(&leaders(report));
    out.push_str(&reasons(report));
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out.push_str(&checks(report));
    out
}

fn requests(report: &Report) -> String {
    let columns = ["request", "sent", "done", "refused", "unknown", "retries", "p50 ms", "p99 ms", "max ms"];
    let row = |kind: &KindFigures| {
        let counts = [kind.requests, kind.done, kind.refused, kind.unknown, kind.retries].map(|n| n.to_string());
        let latency = &kind.latency;
        let times = [latency.p50_micros, latency.p99_micros, latency.max_micros].map(millis);
        [kind.kind.to_owned()].into_iter().chain(counts).chain(times).collect()
    };
    let rows = report.figures.requests.iter().chain([&report.figures.total]).map(row).collect();
    Table::plain(&columns, rows).render(false)
}

fn faults(report: &Report) -> String {
    if report.figures.faults.is_empty() {
        return String::new();
    }
    let columns = ["fault", "nodes", "from ms", "to ms", "first write ms", "gap ms", "failures"];
    let rows = report.figures.faults.iter().map(|fault| {
        vec![
            fault.act.to_owned(),
            fault.nodes.join(","),
            fault.began_ms.to_string(),
            or_dash(fault.ended_ms),
            or_dash(fault.first_write_ms),
            fault.gap_ms.to_string(),
            fault.failures.to_string(),
        ]
    });
    format!("{}\n", Table::plain(&columns, rows.collect()).render(false))
}

fn leaders(report: &Report) -> String {
    let reigns = &report.figures.leaders;
    if reigns.is_empty() {
        return String::new();
    }
    let rows = reigns.iter().map(|reign| {
        vec![reign.leader.clone(), reign.term.to_string(), reign.from_ms.to_string(), reign.to_ms.to_string()]
    });
    format!("{}\n", Table::plain(&["leader", "term", "from ms", "to ms"], rows.collect()).render(false))
}

fn reasons(report: &Report) -> String {
    let reasons = &report.figures.reasons;
    if reasons.is_empty() {
        return String::new();
    }
    let row = |code: u16| if code == 0 { "-".to_owned() } else { code.to_string() };
    let rows =
        reasons.iter().take(REASONS).map(|reason| vec![reason.count.to_string(), row(reason.code), reason.why.clone()]);
    format!("{}\n", Table::plain(&["failures", "code", "why"], rows.collect()).render(false))
}

fn checks(report: &Report) -> String {
    let rows = report.checks.iter().map(|check| {
        let word = if check.holds() { "holds" } else { "BROKEN" };
        vec![check.name.to_owned(), word.into(), check.examined.to_string(), check.breaches.to_string()]
    });
    let mut out = Table::plain(&["check", "verdict", "examined", "breaches"], rows.collect()).render(false);
    for check in report.checks.iter().filter(|check| !check.holds()) {
        let _ = writeln!(out, "\nBROKEN: {}", check.name);
        for told in &check.told {
            let _ = writeln!(out, "  {told}");
        }
    }
    out
}
