//! A report as one page that needs nothing else: style and drawing are in it, and it follows the reader's light or dark.

use std::fmt::Write;

use super::{Report, millis, or_dash, timeline};
use crate::cli::chaos::figures::KindFigures;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn render(report: &Report) -> String {
    let verdict = if report.passed { ("holds", "every check holds") } else { ("broken", "a check is broken") };
    let mut body = format!(
        "<header><h1>{}</h1><p class=\"{}\">{}</p></header><p>{}</p>",
        escape(&report.scenario),
        verdict.0,
        verdict.1,
        escape(&report.about)
    );
    body.push_str(&summary(report));
    let _ = write!(body, "<section class=\"drawing\">{}</section>", timeline::draw(report));
    body.push_str(LEGEND);
    body.push_str(&checks(report));
    body.push_str(&requests(report));
    body.push_str(&faults(report));
    body.push_str(&leaders(report));
    body.push_str(&reasons(report));
    for note in &report.notes {
        let _ = write!(body, "<p class=\"note\">{}</p>", escape(note));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>{} - shoal chaos</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(&report.scenario)
    )
}

const LEGEND: &str = "<p class=\"legend\"><span class=\"done\">done</span><span class=\"failed\">failed</span>\
    <span class=\"latency\">p99 of writes (square root)</span><span class=\"gap\">no successful write for 500 ms or more</span>\
    <span class=\"fault\">fault</span></p>";

fn summary(report: &Report) -> String {
    let figures = &report.figures;
    let cards = [
        ("nodes", format!("{} ({})", report.nodes.len(), report.runtime)),
        ("load", format!("{}.{} s", figures.load_ms / 1000, figures.load_ms % 1000 / 100)),
        ("requests", figures.total.requests.to_string()),
        ("failures", (figures.total.refused + figures.total.unknown).to_string()),
        ("retries", figures.total.retries.to_string()),
        ("longest gap", format!("{} ms", figures.longest_gap_ms)),
        ("leader changes", figures.leader_changes().to_string()),
        ("all Ready after", format!("{} ms", or_dash(report.healed_ms))),
        ("converged after", format!("{} ms", or_dash(report.converged_ms))),
        ("began", report.began.clone()),
    ];
    let cards = cards.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(value)));
    format!("<dl>{}</dl>", cards.collect::<String>())
}

fn checks(report: &Report) -> String {
    let rows = report.checks.iter().map(|check| {
        let (class, word) = if check.holds() { ("holds", "holds") } else { ("broken", "broken") };
        let told: String = check.told.iter().map(|told| format!("<li>{}</li>", escape(told))).collect();
        let told = if told.is_empty() { told } else { format!("<ul>{told}</ul>") };
        format!(
            "<tr><td>{}{told}</td><td class=\"{class}\">{word}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(check.name),
            check.examined,
            check.breaches
        )
    });
    table("Checks", &["check", "verdict", "examined", "breaches"], &rows.collect::<String>())
}

fn requests(report: &Report) -> String {
    let row = |kind: &KindFigures| {
        let counts = [kind.requests, kind.done, kind.refused, kind.unknown, kind.retries].map(|n| n.to_string());
        let times = [kind.latency.p50_micros, kind.latency.p99_micros, kind.latency.max_micros].map(millis);
        cells(&[kind.kind.to_owned()].into_iter().chain(counts).chain(times).collect::<Vec<_>>())
    };
    let rows: String = report.figures.requests.iter().chain([&report.figures.total]).map(row).collect();
    let columns = ["request", "sent", "done", "refused", "unknown", "retries", "p50 ms", "p99 ms", "max ms"];
    table("Requests", &columns, &rows)
}

fn faults(report: &Report) -> String {
    let rows = report.figures.faults.iter().map(|fault| {
        let said = fault.wrong.as_ref().unwrap_or(&fault.said);
        cells(&[
            fault.act.to_owned(),
            fault.nodes.join(", "),
            fault.began_ms.to_string(),
            or_dash(fault.ended_ms),
            or_dash(fault.first_write_ms),
            fault.gap_ms.to_string(),
            fault.failures.to_string(),
            said.clone(),
        ])
    });
    let columns = ["fault", "nodes", "from ms", "to ms", "first write after ms", "gap ms", "failures", "said"];
    table("Faults", &columns, &rows.collect::<String>())
}

fn leaders(report: &Report) -> String {
    let rows = report.figures.leaders.iter().map(|reign| {
        cells(&[reign.leader.clone(), reign.term.to_string(), reign.from_ms.to_string(), reign.to_ms.to_string()])
    });
    table("Leaders", &["leader", "term", "from ms", "to ms"], &rows.collect::<String>())
}

fn reasons(report: &Report) -> String {
    let rows = report.figures.reasons.iter().map(|reason| {
        cells(&[reason.count.to_string(), if reason.code == 0 { "-".into() } else { reason.code.to_string() }, reason.why.clone()])
    });
    table("Failures", &["count", "code", "why"], &rows.collect::<String>())
}

fn cells(cells: &[String]) -> String {
    let cell = |cell: &String| {
        let class = if cell.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') { " class=\"n\"" } else { "" };
        format!("<td{class}>{}</td>", escape(cell))
    };
    format!("<tr>{}</tr>", cells.iter().map(cell).collect::<String>())
}

fn table(name: &str, columns: &[&str], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: String = columns.iter().map(|column| format!("<th>{column}</th>")).collect();
    format!("<section><h2>{name}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>")
}

/// Text as it may stand in a page, in an attribute too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::chaos::history::{Carried, History, Led};
    use crate::cli::chaos::report::table as text;
    use crate::cli::chaos::scenario::{Act, Scenario};

    fn report() -> Report {
        let scenario = Scenario::parse("name = \"a <b> & c\"\nnodes = 3\nduration = \"10s\"\n").unwrap();
        let history = History {
            load_ended: 10_000_000,
            led: vec![Led { at: 1_000_000, node: 0, term: 3, leader: Some("n2".into()) }],
            faults: vec![Carried {
                act: Act::Isolate,
                nodes: vec!["n1".into()],
                began: 2_000_000,
                ended: Some(4_000_000),
                said: Ok("<script>".into()),
            }],
            ..History::default()
        };
        Report::of(&scenario, "2026-11-21T00:00:00Z".into(), &history)
    }

    #[test]
    fn a_page_stands_alone_and_shows_text_as_text() {
        let page = render(&report());
        assert!(page.contains("a &lt;b&gt; &amp; c") && !page.contains("<script>"), "{page}");
        // Nothing is fetched: no address, no link, no import.
        assert!(["http", "src=", "href=", "@import", "url("].iter().all(|word| !page.contains(word)), "{page}");
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("n2 led term 3") && page.contains("isolate n1 at 2000 ms"), "{page}");
    }

    #[test]
    fn a_run_that_shows_nothing_has_not_passed() {
        let report = report();
        assert!(!report.passed);
        let table = text::render(&report);
        assert!(table.contains("BROKEN: writes are acknowledged"), "{table}");
        assert!(table.contains("isolate   n1      2000      4000    -                10000    0"), "{table}");
    }
}
