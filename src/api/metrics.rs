//! Counts and times of requests, in Prometheus' text form.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 14] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// What a request was; every value is from a bounded set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    /// `get`, `list`, ...
    pub verb: &'static str,
    /// API group.
    pub group: &'static str,
    /// Plural, with the subresource.
    pub resource: &'static str,
    /// Of the subresource; empty for the object.
    pub subresource: &'static str,
    /// Status code.
    pub code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
}

/// All counts of one API.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<RwLock<Registry>>,
    requests: Family<Labels, Counter<u64, AtomicU64>>,
    durations: Family<Timed, Histogram>,
    in_flight: Gauge<i64, AtomicI64>,
    watches: Gauge<i64, AtomicI64>,
}

/// Counts something while it lasts.
pub struct Held(Gauge<i64, AtomicI64>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let requests = Family::default();
        let durations = Family::<Timed, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let (in_flight, watches) = (Gauge::default(), Gauge::default());
        let mut registry = Registry::default();
        registry.register("apiserver_request", "Requests by verb, resource and code", Family::clone(&requests));
        let text = "Time from a request to the head of its answer, in seconds";
        registry.register("apiserver_request_duration_seconds", text, Family::clone(&durations));
        registry.register("apiserver_current_inflight_requests", "Requests being served", Gauge::clone(&in_flight));
        registry.register("apiserver_longrunning_requests", "Watches and streams being served", Gauge::clone(&watches));
        Self { registry: Arc::new(RwLock::new(registry)), requests, durations, in_flight, watches }
    }

    /// Lets another part of the node add its own counts.
    pub fn extend(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.write());
    }

    /// Counts a request while it is served.
    pub fn hold_request(&self) -> Held {
        self.in_flight.inc();
        Held(self.in_flight.clone())
    }

    /// Counts a watch or another stream while it lasts.
    pub fn hold_stream(&self) -> Held {
        self.watches.inc();
        Held(self.watches.clone())
    }

    /// Counts a request that has been answered.
    pub fn answered(&self, labels: &Labels, took: Duration) {
        let timed = Timed { verb: labels.verb, group: labels.group, resource: labels.resource };
        self.requests.get_or_create(labels).inc();
        self.durations.get_or_create(&timed).observe(took.as_secs_f64());
    }

    /// Everything, as text. `more` are gauges that are read now: name, help, value.
    pub fn text(&self, more: &[(&str, &str, f64)]) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut out, &self.registry.read());
        let mut text = out.trim_end_matches("# EOF\n").to_owned();
        for (name, help, value) in more {
            let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
