//! Probes that only pretend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Prober, Target};

/// Says yes, except to the hosts (`host:port`) that were made to fail.
#[derive(Debug, Default)]
pub struct HollowProber {
    failing: Mutex<BTreeSet<String>>,
}

impl HollowProber {
    /// Everything succeeds.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Makes `host:port` fail, or succeed again.
    pub fn set_failing(&self, host_port: &str, failing: bool) {
        let mut set = self.failing.lock();
        if failing {
            set.insert(host_port.to_owned());
        } else {
            set.remove(host_port);
        }
    }
}

#[async_trait]
impl Prober for HollowProber {
    async fn probe(&self, target: &Target, _timeout: Duration) -> Result<(), String> {
        let (Target::Http { host, port, .. } | Target::Tcp { host, port }) = target;
        let name = format!("{host}:{port}");
        if self.failing.lock().contains(&name) {
            return Err(format!("dial tcp {name}: connect: connection refused"));
        }
        Ok(())
    }
}
