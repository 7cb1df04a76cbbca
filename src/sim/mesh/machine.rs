//! One life of a process on a simulated machine: a runtime of its own, so that it can be killed, stopped and starved
//! with everything in it, whatever its tasks are.

use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once};

use tokio::runtime::Runtime;

use super::time::{At, NodeClock};
use crate::sim::life;

/// A process.
pub struct Machine {
    runtime: Option<Runtime>,
    clock: Arc<NodeClock>,
    /// Where its time stands; behind the others' while it is stopped or starved.
    stands: At,
}

impl Machine {
    /// Starts a process at the run's time `at`; `seed` decides its choices.
    pub fn start(seed: u64, clock: Arc<NodeClock>, at: At) -> std::io::Result<Self> {
        notice_panics();
        let runtime = life::builder(seed).build()?;
        runtime.block_on(async { clock.begin(at) });
        Ok(Self { runtime: Some(runtime), clock, stands: at })
    }

    /// Starts work in it, which goes on when the machine is driven.
    pub fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    /// Does something as if in the process, without letting time pass.
    pub fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        act()
    }

    /// Lets the process run until the run's time `to`. What it has missed since it was last driven has passed at once,
    /// as for a process that was stopped.
    pub fn drive(&mut self, from: At, to: At) -> Result<(), String> {
        let (Some(runtime), Some(then), Some(until)) =
            (&self.runtime, self.clock.instant(from), self.clock.instant(to))
        else {
            return Ok(());
        };
        let missed = from.saturating_sub(self.stands);
        self.stands = to;
        let run = || {
            runtime.block_on(async {
                if !missed.is_zero() {
                    let behind = then.saturating_duration_since(tokio::time::Instant::now());
                    tokio::time::advance(behind).await;
                }
                tokio::time::sleep_until(until).await;
            });
        };
        let ran = std::panic::catch_unwind(AssertUnwindSafe(run));
        match panic_of_late() {
            Some(what) => Err(format!("a task of the process panicked: {what}")),
            None => ran.map_err(|_| "the process panicked".to_owned()),
        }
    }

    /// Ends the process where it stands. Tell the network first, or its connections say goodbye.
    pub fn kill(mut self) {
        std::mem::drop(self.runtime.take());
    }
}

thread_local! {
    /// What the last task said that panicked on this thread.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic in a task must end the run, which would otherwise go on without the task. tokio can end a runtime at a panic, but
/// then tasks that it drops panic once more, which ends the whole simulator without a verdict.
fn notice_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.with_borrow_mut(|panicked| *panicked = panicked.take().or_else(|| Some(panic.to_string())));
            before(panic);
        }));
    });
}

fn panic_of_late() -> Option<String> {
    PANICKED.with_borrow_mut(Option::take)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::sim::mesh::time::Hand;

    fn ticking() -> (Machine, Arc<NodeClock>, Arc<AtomicU32>) {
        let clock = Arc::new(NodeClock::new(Hand::default(), 0, 0));
        let machine = Machine::start(1, Arc::clone(&clock), At::ZERO).unwrap();
        let ticks = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&ticks);
        machine.begin(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        (machine, clock, ticks)
    }

    #[test]
    fn a_machine_lives_only_as_far_as_it_is_driven() {
        let (mut machine, _, ticks) = ticking();
        machine.drive(At::ZERO, Duration::from_millis(105)).unwrap();
        let first = ticks.load(Ordering::Relaxed);
        assert!((9..=10).contains(&first), "{first}");
        machine.drive(Duration::from_millis(105), Duration::from_millis(205)).unwrap();
        let second = ticks.load(Ordering::Relaxed);
        assert!((18..=20).contains(&second), "{second}");
    }

    #[test]
    fn a_machine_that_was_stopped_finds_that_all_its_time_has_passed_at_once() {
        let (mut machine, clock, ticks) = ticking();
        machine.drive(At::ZERO, Duration::from_millis(50)).unwrap();
        let before = ticks.load(Ordering::Relaxed);
        machine.drive(Duration::from_secs(10), Duration::from_millis(10_050)).unwrap();
        let after = ticks.load(Ordering::Relaxed);
        assert!(after - before <= 7, "one overdue tick and those of 50 ms, not of ten seconds: {}", after - before);
        let shown = machine.runtime.as_ref().unwrap().block_on(async { clock.global() });
        assert!(shown >= Duration::from_millis(10_049), "{shown:?}");
    }

    #[test]
    fn a_panic_in_a_task_is_told() {
        let (mut machine, _, _) = ticking();
        machine.begin(async { panic!("planted") });
        assert!(machine.drive(At::ZERO, Duration::from_millis(5)).is_err());
    }
}
