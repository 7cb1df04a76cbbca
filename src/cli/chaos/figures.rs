//! Figures of a run: pure functions of its history.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::{Carried, History, Kind, Micros, Outcome, Request};

/// Columns of the timeline.
const BUCKETS: u64 = 240;
/// Times without a successful write that are told as gaps, in milliseconds.
const GAP_MS: u64 = 500;
/// Most gaps, reasons and changes of the leader that are told.
const MAX_TOLD: usize = 200;

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindFigures {
    /// The kind.
    pub kind: &'static str,
    /// How many there were.
    pub requests: usize,
    /// Those that were carried out.
    pub done: usize,
    /// Those that were not.
    pub refused: usize,
    /// Those that may have been.
    pub unknown: usize,
    /// Those that asked again for what had failed.
    pub retries: usize,
    /// How long those took that were carried out.
    pub latency: Latency,
}

/// Times in microseconds; 0 where there is nothing to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_micros: u64,
    /// 99 of 100 took no longer.
    pub p99_micros: u64,
    /// None took longer.
    pub max_micros: u64,
}

/// What a fault did to writers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultFigures {
    /// What.
    pub act: &'static str,
    /// Whom.
    pub nodes: Vec<String>,
    /// When it began, in milliseconds since the begin of the load.
    pub began_ms: u64,
    /// When it was undone.
    pub ended_ms: Option<u64>,
    /// Until a write that was sent after the fault's begin was acknowledged; none where none was.
    pub first_write_ms: Option<u64>,
    /// Longest time without a successful write from its begin to the next fault's, or to the end of the load.
    pub gap_ms: u64,
    /// Requests that failed in that time.
    pub failures: usize,
    /// What a program said about it.
    pub said: String,
    /// What went wrong with it.
    pub wrong: Option<String>,
}

/// Who led, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reign {
    /// The leader.
    pub leader: String,
    /// Its term.
    pub term: u64,
    /// When a node first said so, in milliseconds.
    pub from_ms: u64,
    /// When one last said so.
    pub to_ms: u64,
}

/// A time without a successful write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The last success before it, in milliseconds.
    pub from_ms: u64,
    /// The first one after it.
    pub to_ms: u64,
}

/// A column of the timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Requests that were carried out and ended in it.
    pub done: u32,
    /// Requests that failed in it.
    pub failed: u32,
    /// Latency of writes that ended in it.
    pub p99_micros: u64,
}

/// Why requests failed, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// HTTP status; 0 where there was no answer.
    pub code: u16,
    /// Why.
    pub why: String,
    /// How often.
    pub count: usize,
}

/// All figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// How long the load went on, in milliseconds.
    pub load_ms: u64,
    /// Requests by kind, those that there are.
    pub requests: Vec<KindFigures>,
    /// All of them.
    pub total: KindFigures,
    /// Longest time without a successful write.
    pub longest_gap_ms: u64,
    /// Every such time over half a second.
    pub gaps: Vec<Gap>,
    /// Faults.
    pub faults: Vec<FaultFigures>,
    /// Leaders, in order.
    pub leaders: Vec<Reign>,
    /// Why requests failed, most frequent first.
    pub reasons: Vec<Reason>,
    /// Milliseconds of a column of `timeline`.
    pub bucket_ms: u64,
    /// The load, column by column.
    pub timeline: Vec<Bucket>,
}

impl Figures {
    /// The figures of a history.
    pub fn of(history: &History) -> Self {
        let load_ms = history.load_ended / 1000;
        let successes = successes(history);
        let all = gaps(&successes, 0, history.load_ended);
        let bucket_ms = (load_ms / BUCKETS).max(1);
        let told = all.iter().filter(|gap| gap.to_ms - gap.from_ms >= GAP_MS).take(MAX_TOLD);
        Self {
            load_ms,
            requests: by_kind(history),
            total: kind_figures("all", &history.requests.iter().collect::<Vec<_>>()),
            longest_gap_ms: longest(&all),
            gaps: told.copied().collect(),
            faults: faults(history, &successes),
            leaders: reigns(history),
            reasons: reasons(history),
            bucket_ms,
            timeline: timeline(history, bucket_ms),
        }
    }

    /// How often the leader changed.
    pub fn leader_changes(&self) -> usize {
        self.leaders.len().saturating_sub(1)
    }
}

fn by_kind(history: &History) -> Vec<KindFigures> {
    let of = |kind: Kind| history.requests.iter().filter(|request| request.kind == kind).collect::<Vec<_>>();
    let kinds = Kind::ALL.into_iter().map(|kind| kind_figures(kind.word(), &of(kind)));
    kinds.filter(|figures| figures.requests > 0).collect()
}

fn kind_figures(kind: &'static str, requests: &[&Request]) -> KindFigures {
    let count = |wanted: fn(&Request) -> bool| requests.iter().filter(|request| wanted(request)).count();
    let (done, unknown) = (count(Request::done), count(Request::unknown));
    KindFigures {
        kind,
        requests: requests.len(),
        done,
        refused: requests.len() - done - unknown,
        unknown,
        retries: count(|request| request.attempt > 1),
        latency: Latency::of(requests.iter().filter(|request| request.done()).map(|request| took(request)).collect()),
    }
}

fn took(request: &Request) -> Micros {
    request.ended.saturating_sub(request.began)
}

impl Latency {
    /// Of times in any order.
    pub fn of(mut times: Vec<Micros>) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that so many of a hundred do not exceed.
        let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self {
            p50_micros: rank(50).unwrap_or_default(),
            p99_micros: rank(99).unwrap_or_default(),
            max_micros: rank(100).unwrap_or_default(),
        }
    }
}

/// When writes were acknowledged during the load, in order.
fn successes(history: &History) -> Vec<Micros> {
    let done = history.requests.iter().filter(|request| request.kind.writes() && request.done());
    let mut times: Vec<Micros> = done.map(|request| request.ended).filter(|at| *at <= history.load_ended).collect();
    times.sort_unstable();
    times
}

/// Times between one success and the next that overlap `from` to `to`; the ends of the load count as successes.
fn gaps(successes: &[Micros], from: Micros, to: Micros) -> Vec<Gap> {
    let start = successes.partition_point(|at| *at <= from);
    let before = successes.get(start.wrapping_sub(1)).copied().unwrap_or(0);
    let inner = successes.iter().skip(start).copied();
    let mut marks = vec![before];
    for at in inner {
        marks.push(at);
        if at >= to {
            break;
        }
    }
    if marks.last().is_none_or(|last| *last < to) {
        marks.push(to);
    }
    let pair = |pair: &[Micros]| match pair {
        [from, to] => Some(Gap { from_ms: from / 1000, to_ms: to / 1000 }),
        _ => None,
    };
    marks.windows(2).filter_map(pair).collect()
}

fn longest(gaps: &[Gap]) -> u64 {
    gaps.iter().map(|gap| gap.to_ms - gap.from_ms).max().unwrap_or(0)
}

fn faults(history: &History, successes: &[Micros]) -> Vec<FaultFigures> {
    let nexts = history.faults.iter().skip(1).map(|next| next.began).chain([history.load_ended]);
    history.faults.iter().zip(nexts).map(|(fault, until)| fault_figures(history, successes, fault, until)).collect()
}

fn fault_figures(history: &History, successes: &[Micros], fault: &Carried, until: Micros) -> FaultFigures {
    let sent_after = history.requests.iter().filter(|request| request.kind.writes() && request.done());
    let first = sent_after.filter(|request| request.began >= fault.began).map(|request| request.ended).min();
    let within = |request: &&Request| (fault.began..until.max(fault.began + 1)).contains(&request.ended);
    FaultFigures {
        act: fault.act.word(),
        nodes: fault.nodes.clone(),
        began_ms: fault.began / 1000,
        ended_ms: fault.ended.map(|ended| ended / 1000),
        first_write_ms: first.filter(|at| *at <= history.load_ended).map(|at| (at - fault.began) / 1000),
        gap_ms: longest(&gaps(successes, fault.began, until)),
        failures: history.requests.iter().filter(within).filter(|request| !request.done()).count(),
        said: fault.said.as_ref().ok().cloned().unwrap_or_default(),
        wrong: fault.said.as_ref().err().cloned(),
    }
}

/// Who led when, by the highest term that any node knew; a node that was away may tell of an old one later.
fn reigns(history: &History) -> Vec<Reign> {
    let mut reigns: Vec<Reign> = Vec::new();
    for led in &history.led {
        let Some(leader) = &led.leader else { continue };
        let (at, room) = (led.at / 1000, reigns.len() < MAX_TOLD);
        match reigns.last_mut() {
            Some(last) if last.term > led.term => {}
            Some(last) if last.term == led.term && last.leader == *leader => last.to_ms = last.to_ms.max(at),
            _ if !room => {}
            _ => reigns.push(Reign { leader: leader.clone(), term: led.term, from_ms: at, to_ms: at }),
        }
    }
    reigns
}

fn reasons(history: &History) -> Vec<Reason> {
    let mut counts: BTreeMap<(u16, &str), usize> = BTreeMap::new();
    for request in &history.requests {
        if let Outcome::Refused { code, why } | Outcome::Unknown { code, why } = &request.outcome {
            *counts.entry((*code, why)).or_default() += 1;
        }
    }
    let mut reasons: Vec<Reason> =
        counts.into_iter().map(|((code, why), count)| Reason { code, why: why.into(), count }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    reasons.truncate(MAX_TOLD);
    reasons
}

fn timeline(history: &History, bucket_ms: u64) -> Vec<Bucket> {
    let columns = usize::try_from(history.load_ended / 1000 / bucket_ms + 1).unwrap_or(0);
    let mut buckets = vec![(Bucket::default(), Vec::new()); columns];
    for request in history.requests.iter().filter(|request| request.ended <= history.load_ended) {
        let column = usize::try_from(request.ended / 1000 / bucket_ms).unwrap_or(usize::MAX);
        let Some((bucket, times)) = buckets.get_mut(column) else { continue };
        if !request.done() {
            bucket.failed += 1;
            continue;
        }
        bucket.done += 1;
        if request.kind.writes() {
            times.push(took(request));
        }
    }
    let filled = |(bucket, times)| Bucket { p99_micros: Latency::of(times).p99_micros, ..bucket };
    buckets.into_iter().map(filled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::chaos::history::Led;
    use crate::cli::chaos::scenario::Act;

    /// A write from one millisecond to another.
    fn write(began: u64, ended: u64, done: bool) -> Request {
        let outcome = match done {
            true => Outcome::Done { revision: None, value: None, stale: false },
            false => Outcome::Unknown { code: 503, why: "ServiceUnavailable".into() },
        };
        Request {
            client: 0,
            node: 0,
            kind: Kind::Update,
            key: "a".into(),
            value: None,
            base: None,
            attempt: if done { 1 } else { 2 },
            began: began * 1000,
            ended: ended * 1000,
            outcome,
        }
    }

    fn history() -> History {
        let writes = [(0, 10, true), (90, 100, true), (195, 400, false), (199, 1300, true), (1400, 1410, true)];
        let fault = |at: u64, act| Carried {
            act,
            nodes: vec!["n1".into()],
            began: at * 1000,
            ended: None,
            said: Ok(String::new()),
        };
        let led = |at: u64, term, leader: &str| Led { at: at * 1000, node: 0, term, leader: Some(leader.into()) };
        History {
            requests: writes.into_iter().map(|(began, ended, done)| write(began, ended, done)).collect(),
            faults: vec![fault(200, Act::Kill), fault(1350, Act::Stop)],
            led: vec![led(0, 1, "n1"), led(100, 1, "n1"), led(1200, 2, "n2"), led(1300, 1, "n1"), led(1500, 2, "n2")],
            load_ended: 2_000_000,
            ..History::default()
        }
    }

    #[test]
    fn a_gap_reaches_from_the_last_success_before_a_fault_and_the_first_write_is_one_sent_after_it() {
        let figures = Figures::of(&history());
        let told: Vec<_> = figures.faults.iter().map(|f| (f.gap_ms, f.first_write_ms, f.failures)).collect();
        assert_eq!(told, [(1200, Some(1210), 1), (590, Some(60), 0)]);
        assert_eq!(figures.longest_gap_ms, 1200);
        assert_eq!(figures.gaps, [Gap { from_ms: 100, to_ms: 1300 }, Gap { from_ms: 1410, to_ms: 2000 }]);
    }

    #[test]
    fn an_old_term_that_is_told_late_changes_no_leader() {
        let figures = Figures::of(&history());
        let told: Vec<_> = figures.leaders.iter().map(|r| (r.leader.as_str(), r.term, r.from_ms, r.to_ms)).collect();
        assert_eq!(told, [("n1", 1, 0, 100), ("n2", 2, 1200, 1500)]);
        assert_eq!(figures.leader_changes(), 1);
    }

    #[test]
    fn requests_are_counted_by_outcome_and_the_timeline_has_all_of_them() {
        let figures = Figures::of(&history());
        assert_eq!((figures.total.requests, figures.total.done, figures.total.unknown, figures.total.retries), (5, 4, 1, 1));
        assert_eq!(figures.reasons, [Reason { code: 503, why: "ServiceUnavailable".into(), count: 1 }]);
        let sum = |count: fn(&Bucket) -> u32| figures.timeline.iter().map(count).sum::<u32>();
        assert_eq!((sum(|b| b.done), sum(|b| b.failed)), (4, 1));
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let check = |times: Vec<u64>, expect: [u64; 3]| {
            let latency = Latency::of(times);
            assert_eq!([latency.p50_micros, latency.p99_micros, latency.max_micros], expect);
        };
        check(vec![], [0, 0, 0]);
        check(vec![7], [7, 7, 7]);
        check((1..=100).rev().collect(), [50, 99, 100]);
        check((1..=1000).collect(), [500, 990, 1000]);
    }
}
