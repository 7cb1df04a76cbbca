//! The timeline of a page, drawn as SVG: requests, latency, gaps, leaders and faults over one axis of time.

use std::fmt::Write;

use super::super::figures::{FaultFigures, Figures};
use super::page::escape;
use super::{Report, millis};

/// Width of the plot and of the names left of it, in pixels.
const WIDTH: u64 = 1000;
const LEFT: u64 = 110;
/// Heights of the plots and of a lane.
const REQUESTS: u64 = 120;
const LATENCY: u64 = 60;
const LANE: u64 = 22;
/// Marks on the axis of time.
const MARKS: u64 = 10;
/// How long what happens only once is drawn, in milliseconds.
const MOMENT_MS: u64 = 200;

/// Draws from top to bottom.
struct Drawing<'a> {
    out: String,
    figures: &'a Figures,
    y: u64,
}

/// The drawing.
pub fn draw(report: &Report) -> String {
    let mut drawing = Drawing { out: String::new(), figures: &report.figures, y: 10 };
    drawing.requests();
    drawing.latency();
    drawing.gaps();
    drawing.leaders(report);
    drawing.faults(report);
    drawing.axis();
    let (width, height) = (LEFT + WIDTH + 20, drawing.y + 10);
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Timeline of the run\">{}</svg>",
        drawing.out
    )
}

impl Drawing<'_> {
    fn x(&self, ms: u64) -> u64 {
        LEFT + (ms * WIDTH / self.figures.load_ms.max(1)).min(WIDTH)
    }

    fn name(&mut self, name: &str, height: u64) {
        let y = self.y + height / 2 + 4;
        let _ = write!(self.out, "<text class=\"name\" x=\"{}\" y=\"{y}\">{}</text>", LEFT - 8, escape(name));
    }

    fn bar(&mut self, class: &str, [from, to]: [u64; 2], [top, height]: [u64; 2], title: &str) {
        let (x, end) = (self.x(from), self.x(to));
        let _ = write!(
            self.out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{height}\"><title>{}</title></rect>",
            end.saturating_sub(x).max(2),
            escape(title)
        );
    }

    fn requests(&mut self) {
        self.name("requests", REQUESTS);
        let step = self.figures.bucket_ms;
        let most = self.figures.timeline.iter().map(|b| u64::from(b.done) + u64::from(b.failed)).max().unwrap_or(0).max(1);
        for (at, bucket) in (0..).map(|nth| nth * step).zip(&self.figures.timeline) {
            let (done, failed) = (u64::from(bucket.done), u64::from(bucket.failed));
            let (up, down) = (done * REQUESTS / most, (failed * REQUESTS / most).max(u64::from(failed > 0) * 3));
            let base = self.y + REQUESTS;
            let title = format!("{at} ms: {done} done, {failed} failed");
            if done > 0 {
                self.bar("done", [at, at + step], [base.saturating_sub(up), up], &title);
            }
            if failed > 0 {
                self.bar("failed", [at, at + step], [base.saturating_sub(up + down).max(self.y), down], &title);
            }
        }
        self.y += REQUESTS + 8;
    }

    fn latency(&mut self) {
        self.name("p99 of writes", LATENCY);
        let step = self.figures.bucket_ms;
        let most = self.figures.timeline.iter().map(|bucket| bucket.p99_micros).max().unwrap_or(0).max(1);
        for (at, bucket) in (0..).map(|nth| nth * step).zip(&self.figures.timeline) {
            // Square roots show both a millisecond and a second.
            let height = ((bucket.p99_micros.isqrt() * LATENCY) / most.isqrt().max(1)).min(LATENCY);
            let title = format!("{at} ms: p99 {} ms", millis(bucket.p99_micros));
            if height > 0 {
                self.bar("latency", [at, at + step], [self.y + LATENCY - height, height], &title);
            }
        }
        self.y += LATENCY + 8;
    }

    fn gaps(&mut self) {
        self.name("no write", LANE);
        for gap in &self.figures.gaps {
            let title = format!("no successful write for {} ms, from {} ms", gap.to_ms - gap.from_ms, gap.from_ms);
            self.bar("gap", [gap.from_ms, gap.to_ms], [self.y, LANE - 4], &title);
        }
        self.y += LANE;
    }

    fn leaders(&mut self, report: &Report) {
        self.name("leader", LANE);
        for reign in &self.figures.leaders {
            let nth = report.nodes.iter().position(|node| *node == reign.leader).unwrap_or(0) % 9;
            let title = format!("{} led term {} from {} to {} ms", reign.leader, reign.term, reign.from_ms, reign.to_ms);
            self.bar(&format!("node node{nth}"), [reign.from_ms, reign.to_ms], [self.y, LANE - 4], &title);
            let (x, y) = (self.x(reign.from_ms) + 4, self.y + LANE / 2 + 2);
            let _ = write!(self.out, "<text class=\"inside\" x=\"{x}\" y=\"{y}\">{}</text>", escape(&reign.leader));
        }
        self.y += LANE;
    }

    /// A lane for each node with its faults, and lines through the plots where they begin.
    fn faults(&mut self, report: &Report) {
        for fault in &self.figures.faults {
            let x = self.x(fault.began_ms);
            let _ = write!(self.out, "<line class=\"mark\" x1=\"{x}\" x2=\"{x}\" y1=\"10\" y2=\"{}\"/>", self.y);
        }
        for node in &report.nodes {
            self.name(node, LANE);
            for fault in self.figures.faults.iter().filter(|fault| fault.nodes.contains(node)) {
                let end = fault.ended_ms.unwrap_or(fault.began_ms + MOMENT_MS);
                self.bar(&format!("fault {}", fault.act), [fault.began_ms, end], [self.y, LANE - 4], &title(fault));
                let (x, y) = (self.x(fault.began_ms) + 4, self.y + LANE / 2 + 2);
                let _ = write!(self.out, "<text class=\"inside\" x=\"{x}\" y=\"{y}\">{}</text>", fault.act);
            }
            self.y += LANE;
        }
    }

    fn axis(&mut self) {
        self.y += 4;
        let (y, end) = (self.y, LEFT + WIDTH);
        let _ = write!(self.out, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{y}\" y2=\"{y}\"/>");
        for mark in 0..=MARKS {
            let ms = self.figures.load_ms * mark / MARKS;
            let _ = write!(
                self.out,
                "<text class=\"tick\" x=\"{}\" y=\"{}\">{}.{} s</text>",
                self.x(ms),
                y + 16,
                ms / 1000,
                ms % 1000 / 100
            );
        }
        self.y += 20;
    }
}

fn title(fault: &FaultFigures) -> String {
    let first = super::or_dash(fault.first_write_ms);
    format!("{} {} at {} ms: first write after {first} ms, gap {} ms", fault.act, fault.nodes.join(","), fault.began_ms, fault.gap_ms)
}
