//! Tasks that belong to somebody: all of them end when their owner ends.

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// A set of tasks. Dropping or [`Tasks::end`]ing it ends all of them.
pub struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }

    /// Starts a task; `None` where the set has ended, the task is then dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut tasks = self.0.lock();
        let set = tasks.as_mut()?;
        while set.try_join_next().is_some() {}
        Some(set.spawn(task))
    }

    /// Ends all tasks and takes no more.
    pub fn end(&self) {
        let tasks = self.0.lock().take();
        drop(tasks);
    }
}
