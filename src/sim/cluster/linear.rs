//! Whether what clients were told of a key can have come from one copy of it: the search of Wing and Gong, with Lowe's
//! memory of what was tried.
//!
//! An order of the operations is looked for in which each takes effect between its question and its answer and each
//! answer is the right one. Operations without an answer may take effect at any time after they were asked, or never.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Answer, Ask, History};
use crate::sim::mesh::time::At;

/// Steps of the search for one key; a history that needs more is not judged.
pub const STEPS: usize = 2_000_000;

/// An operation on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// When it was asked.
    pub from: At,
    /// When it was answered; `None` where it never was.
    pub to: Option<At>,
    /// What it does and was told.
    pub effect: Effect,
}

/// What an operation does to a register, and what its answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It holds this.
    Read(Option<u64>),
    /// It holds this from now on.
    Write(Option<u64>),
    /// It held `expected` and holds `new` from now on.
    Swap {
        /// Before.
        expected: Option<u64>,
        /// After.
        new: u64,
    },
    /// It does not hold this.
    Differs(Option<u64>),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none; the operation is the first that no order explains.
    Impossible(Operation),
    /// It would take too long to say.
    Tangled,
}

/// What was found of all keys.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Keys that are not linearizable, with an operation that cannot be explained.
    pub impossible: Vec<(String, Operation)>,
    /// Keys that could not be judged.
    pub tangled: usize,
}

/// Judges every key of a history.
pub fn judge(history: &History) -> Judgement {
    let mut judgement = Judgement::default();
    for (key, operations) in by_key(history) {
        match check(&operations, STEPS) {
            Verdict::Linearizable => {}
            Verdict::Impossible(operation) => judgement.impossible.push((key, operation)),
            Verdict::Tangled => judgement.tangled += 1,
        }
    }
    judgement
}

/// The operations of each key. A write that nobody was told of counts where some replica applied it.
fn by_key(history: &History) -> BTreeMap<String, Vec<Operation>> {
    let made: BTreeSet<(&str, Option<u64>)> = history.puts().map(|(_, put)| (put.key.as_str(), put.value)).collect();
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in &history.operations {
        let (to, answer) = match operation.answer {
            Some((at, answer)) if answer != Answer::Unknown => (Some(at), answer),
            _ => (None, Answer::Unknown),
        };
        let happened = |value: Option<u64>| made.contains(&(operation.key.as_str(), value));
        let effect = match (operation.ask, answer) {
            (Ask::Read, Answer::Value(value)) => Effect::Read(value),
            (Ask::Write(value), Answer::Done(_)) => Effect::Write(value),
            (Ask::Swap { expected, new }, Answer::Done(_)) => Effect::Swap { expected, new },
            (Ask::Swap { expected, .. }, Answer::Conflict) => Effect::Differs(expected),
            (Ask::Write(value), Answer::Unknown) if happened(value) => Effect::Write(value),
            (Ask::Swap { expected, new }, Answer::Unknown) if happened(Some(new)) => Effect::Swap { expected, new },
            _ => continue,
        };
        keys.entry(operation.key.clone()).or_default().push(Operation { from: operation.from, to, effect });
    }
    keys
}

/// Looks for an order, in at most `steps` steps.
pub fn check(operations: &[Operation], steps: usize) -> Verdict {
    Search::new(operations).run(steps)
}

/// A question or an answer in the list of what happened, in order of time.
struct Event {
    operation: usize,
    /// Where its answer is, for a question that got one.
    answer: Option<usize>,
    is_answer: bool,
    before: usize,
    after: usize,
}

/// The search: a list of events from which operations that have been given their place are taken out.
struct Search<'a> {
    operations: &'a [Operation],
    /// The first is a mark before all others.
    events: Vec<Event>,
    placed: Vec<u64>,
    tried: BTreeSet<(Vec<u64>, Option<u64>)>,
    stack: Vec<(usize, Option<u64>)>,
    /// The operation that was furthest in time when the search had to turn back.
    stuck: usize,
}

const END: usize = usize::MAX;

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        let mut order: Vec<(At, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            order.push((operation.from, false, index));
            order.extend(operation.to.map(|to| (to, true, index)));
        }
        order.sort_unstable();
        let mark = Event { operation: END, answer: None, is_answer: false, before: END, after: END };
        let mut events = vec![mark];
        for (at, (_, is_answer, operation)) in order.iter().enumerate() {
            events.push(Event {
                operation: *operation,
                answer: None,
                is_answer: *is_answer,
                before: at,
                after: at + 2,
            });
        }
        if let Some(last) = events.last_mut() {
            last.after = END;
        }
        let answers: Vec<(usize, usize)> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.is_answer)
            .map(|(at, one)| (one.operation, at))
            .collect();
        let answers: BTreeMap<usize, usize> = answers.into_iter().collect();
        for event in events.iter_mut().filter(|event| !event.is_answer) {
            event.answer = answers.get(&event.operation).copied();
        }
        if let Some(mark) = events.first_mut() {
            mark.after = if order.is_empty() { END } else { 1 };
        }
        let placed = vec![0; operations.len().div_ceil(64)];
        Self { operations, events, placed, tried: BTreeSet::new(), stack: Vec::new(), stuck: 0 }
    }

    fn run(mut self, steps: usize) -> Verdict {
        let mut state = None;
        let mut at = self.first();
        for _ in 0..steps {
            let Some(event) = self.events.get(at) else { return Verdict::Linearizable };
            let (operation, after) = (event.operation, event.after);
            if event.is_answer {
                // This one has its answer and no place yet: what was placed last must go elsewhere.
                self.stuck = self.stuck.max(at);
                let Some((last, before)) = self.stack.pop() else { return self.impossible() };
                state = before;
                self.put_back(last);
                at = self.events.get(last).map_or(END, |event| event.after);
                continue;
            }
            let next = self.operations.get(operation).and_then(|operation| step(state, operation.effect));
            match next {
                Some(next) if self.is_new(operation, next) => {
                    self.stack.push((at, state));
                    state = next;
                    self.take_out(at);
                    at = self.first();
                }
                _ => at = after,
            }
        }
        Verdict::Tangled
    }

    fn first(&self) -> usize {
        self.events.first().map_or(END, |mark| mark.after)
    }

    fn impossible(&self) -> Verdict {
        let operation = self.events.get(self.stuck).and_then(|event| self.operations.get(event.operation));
        operation.map_or(Verdict::Tangled, |operation| Verdict::Impossible(*operation))
    }

    /// Marks the operation as placed, unless the same ones were placed before and led to the same state.
    fn is_new(&mut self, operation: usize, state: Option<u64>) -> bool {
        self.flip(operation);
        let new = self.tried.insert((self.placed.clone(), state));
        if !new {
            self.flip(operation);
        }
        new
    }

    fn flip(&mut self, operation: usize) {
        if let Some(word) = self.placed.get_mut(operation / 64) {
            *word ^= 1 << (operation % 64);
        }
    }

    fn take_out(&mut self, at: usize) {
        let answer = self.events.get(at).and_then(|event| event.answer);
        self.unlink(at);
        answer.into_iter().for_each(|answer| self.unlink(answer));
    }

    fn put_back(&mut self, at: usize) {
        let Some((operation, answer)) = self.events.get(at).map(|event| (event.operation, event.answer)) else {
            return;
        };
        self.flip(operation);
        answer.into_iter().for_each(|answer| self.link(answer));
        self.link(at);
    }

    fn unlink(&mut self, at: usize) {
        let Some((before, after)) = self.events.get(at).map(|event| (event.before, event.after)) else { return };
        self.join(before, after, (after, before));
    }

    fn link(&mut self, at: usize) {
        let Some((before, after)) = self.events.get(at).map(|event| (event.before, event.after)) else { return };
        self.join(before, after, (at, at));
    }

    fn join(&mut self, before: usize, after: usize, (next, previous): (usize, usize)) {
        if let Some(event) = self.events.get_mut(before) {
            event.after = next;
        }
        if let Some(event) = self.events.get_mut(after) {
            event.before = previous;
        }
    }
}

/// The state after an operation; `None` where its answer would be wrong.
fn step(state: Option<u64>, effect: Effect) -> Option<Option<u64>> {
    match effect {
        Effect::Read(value) => (state == value).then_some(state),
        Effect::Write(value) => Some(value),
        Effect::Swap { expected, new } => (state == expected).then_some(Some(new)),
        Effect::Differs(value) => (state != value).then_some(state),
    }
}
