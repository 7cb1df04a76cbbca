//! Every object by itself: acknowledged writes stay, reads are of now, refusals are true, and each base is replaced once.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use super::model::Model;
use crate::cli::chaos::history::{History, Item, Kind, Outcome, Request};

/// HTTP: not found.
const NOT_FOUND: u16 = 404;
/// HTTP: it exists already, or has another revision.
const CONFLICT: u16 = 409;

/// The checks.
pub fn verdicts(history: &History) -> Vec<Verdict> {
    let mut checks = Checks {
        lost: Verdict::new("no acknowledged write is lost"),
        same: Verdict::new("all nodes end with the same objects"),
        reads: Verdict::new("a read is never older than what was acknowledged before it"),
        refusals: Verdict::new("no write is refused for a reason that is not so"),
        bases: Verdict::new("a revision is replaced by one write only"),
    };
    for (key, requests) in by_key(history) {
        let mut model = Model::default();
        checks.requests(&mut model, &requests);
        checks.end(history, key, &model);
    }
    checks.compare_listings(history);
    vec![checks.lost, checks.same, checks.reads, checks.refusals, checks.bases]
}

struct Checks {
    lost: Verdict,
    same: Verdict,
    reads: Verdict,
    refusals: Verdict,
    bases: Verdict,
}

/// Requests about each object, in the order in which its one writer sent them.
fn by_key(history: &History) -> BTreeMap<&str, Vec<&Request>> {
    let mut keys: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in &history.requests {
        keys.entry(&request.key).or_default().push(request);
    }
    keys.values_mut().for_each(|requests| requests.sort_by_key(|request| request.began));
    keys
}

impl Checks {
    fn requests<'a>(&mut self, model: &mut Model<'a>, requests: &[&'a Request]) {
        let mut bases = BTreeSet::new();
        for request in requests {
            match &request.outcome {
                Outcome::Done { value, revision, stale: false } if request.kind == Kind::Read => {
                    let (was, found) = (model.last(), value.as_deref());
                    self.reads.demand(model.read(found, *revision), || {
                        format!("{}: found {found:?}, though {was:?} was acknowledged before", name(request))
                    });
                }
                Outcome::Refused { code, why } if request.kind.writes() => self.refused(model, request, *code, why),
                Outcome::Done { .. } if request.kind.writes() => {
                    if let Some(base) = request.base {
                        self.bases.demand(bases.insert(base), || {
                            format!("{}: revision {base} had been replaced before", name(request))
                        });
                    }
                }
                _ => {}
            }
            if request.kind.writes() {
                model.write(request);
            }
        }
    }

    /// A client that names the revision which its object certainly has must not hear that it has another, or is gone.
    fn refused(&mut self, model: &Model<'_>, request: &Request, code: u16, why: &str) {
        let about_state = [NOT_FOUND, CONFLICT].contains(&code);
        let right = match request.base {
            Some(base) => model.is_certain() && model.revision() == Some(base),
            None => request.kind == Kind::Create && model.is_absent(),
        };
        self.refusals.demand(!(about_state && right), || format!("{}: {code} {why}", name(request)));
    }

    /// The end: every listing that there is must show what is possible.
    fn end(&mut self, history: &History, key: &str, model: &Model<'_>) {
        if let Some(deployment) = history.ending.deployments.iter().find(|deployment| deployment.key == key) {
            self.lost.demand(model.allows(Some(&deployment.value)), || {
                format!("{key}: ends with {:?}, though {:?} was acknowledged", deployment.value, model.last())
            });
            return;
        }
        for (node, listing) in &history.ending.listings {
            let Ok(items) = listing else { continue };
            let found = items.get(key);
            let value = found.map(|item| item.value.as_str());
            self.lost.demand(model.allows(value), || {
                format!("{key}: {node} ends with {value:?}, though {:?} was acknowledged", model.last())
            });
            let moved = found.zip(model.revision()).filter(|(item, _)| Some(item.value.as_str()) == model.last());
            if let Some((item, acknowledged)) = moved.filter(|(item, acknowledged)| item.revision != *acknowledged) {
                self.lost.breach(|| {
                    format!("{key}: {node} ends with revision {}, acknowledged was {acknowledged}", item.revision)
                });
            }
        }
    }

    fn compare_listings(&mut self, history: &History) {
        let mut first: Option<(&str, &BTreeMap<String, Item>)> = None;
        for (node, listing) in &history.ending.listings {
            match (listing, first) {
                (Err(error), _) => self.same.demand(false, || format!("{node} cannot list: {error}")),
                (Ok(items), None) => {
                    self.same.demand(true, String::new);
                    first = Some((node, items));
                }
                (Ok(items), Some((other, expected))) => self.same.demand(items == expected, || {
                    let keys: BTreeSet<_> = items.keys().chain(expected.keys()).collect();
                    let differ = |key: &&&String| items.get(**key) != expected.get(**key);
                    let differing: Vec<_> = keys.iter().filter(differ).take(5).collect();
                    format!("{node} and {other} differ in {differing:?}")
                }),
            }
        }
        if history.ending.listings.is_empty() {
            self.same.demand(false, || "nothing was listed at the end".into());
        }
    }
}

/// A request, as a person finds it again.
pub fn name(request: &Request) -> String {
    let at = request.began / 1000;
    format!("client {} at {at} ms: {} {} through n{}", request.client, request.kind.word(), request.key, request.node + 1)
}
