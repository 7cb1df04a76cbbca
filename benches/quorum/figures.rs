//! How figures are put together and printed.

use std::time::Duration;

use super::protocol::Samples;
use crate::Failure;

/// What one side showed for one figure.
#[derive(Default)]
pub struct Figure {
    pub samples: Samples,
    /// Processor time of the servers.
    pub processor: Duration,
}

impl Figure {
    /// Takes in another turn.
    pub fn add(&mut self, samples: Samples, processor: Duration) {
        self.samples.micros.extend(samples.micros);
        self.samples.seconds += samples.seconds;
        self.processor += processor;
    }

    pub fn rate(&self) -> f64 {
        self.samples.micros.len() as f64 / self.samples.seconds
    }
}

/// The value at `quantile` (0 to 1) of microseconds.
pub fn quantile(micros: &[u32], quantile: f64) -> u32 {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// The head of a table of rates.
pub fn head(title: &str) {
    println!("\n{title}");
    println!(
        "{:<34} {:>7} {:>11} {:>8} {:>8} {:>8} | {:>7} {:>7}",
        "who", "clients", "per second", "p50 us", "p99 us", "CPU us", "rate x", "p99 x"
    );
}

/// A line of it; the ratios are to `peer`: above 1 is more work done, and a shorter p99.
pub fn row(who: &str, clients: usize, figure: &Figure, peer: Option<&Figure>) {
    let (micros, rate) = (&figure.samples.micros, figure.rate());
    let each = figure.processor.as_micros() as f64 / micros.len().max(1) as f64;
    let (p50, p99) = (quantile(micros, 0.5), quantile(micros, 0.99));
    let ratios = peer.map_or(String::new(), |peer| {
        let p99_of_peer = f64::from(quantile(&peer.samples.micros, 0.99));
        format!("{:>7.2} {:>7.2}", rate / peer.rate(), p99_of_peer / f64::from(p99.max(1)))
    });
    println!("{who:<34} {clients:>7} {rate:>11.0} {p50:>8} {p99:>8} {each:>8.1} | {ratios}");
}

/// A line of waits in milliseconds: median, p99, worst.
pub fn waits(who: &str, micros: &[u32], more: &str) {
    let at = |share| f64::from(quantile(micros, share)) / 1000.0;
    println!("{who:<34} {:>4} {:>9.1} {:>9.1} {:>9.1}  {more}", micros.len(), at(0.5), at(0.99), at(1.0));
}

/// The head of a table of waits.
pub fn waits_head(title: &str) {
    println!("\n{title}");
    println!("{:<34} {:>4} {:>9} {:>9} {:>9}", "who", "runs", "p50 ms", "p99 ms", "worst ms");
}

/// How busy the machine is, by itself: load averages and processors.
pub fn machine() -> Result<String, Failure> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let processors = std::thread::available_parallelism()?;
    Ok(format!("{processors} processors, load {load} (1, 5, 15 minutes; the bench itself is part of it)"))
}

/// Processor time that a process has used.
pub fn processor_of(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // A tick is 10 ms on every Linux.
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).map(|ticks| ticks * 10).sum())
}

/// Resident bytes of a process.
pub fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
