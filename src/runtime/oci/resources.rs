//! Requests and limits as cgroup values (the runtime converts CPU shares to weights on the unified hierarchy).

use serde_json::{Value, json};

use crate::runtime::container::Resources;

/// The scheduler's period in microseconds.
const PERIOD_US: u64 = 100_000;
/// Smallest quota that the kernel takes, in microseconds.
const QUOTA_MIN_US: u64 = 1_000;
/// Smallest share that the kernel takes.
const SHARES_MIN: u64 = 2;
/// Largest share that the kernel takes.
const SHARES_MAX: u64 = 262_144;
/// Shares of one whole core.
const SHARES_PER_CORE: u64 = 1_024;

/// The `linux.resources` object.
pub fn resources(resources: &Resources, privileged: bool, cgroup_v2: bool) -> Value {
    let mut value = json!({ "devices": [{ "allow": privileged, "access": "rwm" }], "cpu": cpu(resources) });
    if resources.memory_limit_bytes > 0 {
        let mut memory = json!({ "limit": resources.memory_limit_bytes });
        if cgroup_v2 {
            // No swap beyond the limit, as the kubelet's default; v1 hosts often lack swap accounting.
            super::put(&mut memory, "swap", json!(resources.memory_limit_bytes));
        }
        super::put(&mut value, "memory", memory);
    }
    value
}

fn cpu(resources: &Resources) -> Value {
    // A limit without a request is a request too (the API server defaults it so).
    let request =
        if resources.cpu_request_millis > 0 { resources.cpu_request_millis } else { resources.cpu_limit_millis };
    let shares = (request.saturating_mul(SHARES_PER_CORE) / 1000).clamp(SHARES_MIN, SHARES_MAX);
    if resources.cpu_limit_millis == 0 {
        return json!({ "shares": shares });
    }
    let quota = (resources.cpu_limit_millis.saturating_mul(PERIOD_US) / 1000).max(QUOTA_MIN_US);
    json!({ "shares": shares, "quota": quota, "period": PERIOD_US })
}
