//! One question for many: callers that wait at the same time share an answer to a question that was asked after they came.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Error;
use super::mutant::mutant;
use crate::model::Revision;

/// Questions in rounds, one at a time.
#[derive(Default)]
pub struct Rounds {
    begun: AtomicU64,
    /// The last round that ended, and its answer.
    last: Mutex<(u64, Option<Result<Revision, Error>>)>,
}

impl Rounds {
    /// The answer of a round that began after this call; `ask` is run where nobody else's is.
    ///
    /// # Errors
    /// As `ask` says.
    pub async fn join(&self, ask: impl AsyncFnOnce() -> Result<Revision, Error>) -> Result<Revision, Error> {
        let mut came = self.begun.load(Ordering::SeqCst);
        if mutant("join-a-question-under-way") && self.last.try_lock().is_err() {
            came -= 1;
        }
        let mut last = self.last.lock().await;
        match &*last {
            // The round was begun by somebody who came before us, after we came.
            (round, Some(answer)) if *round > came => answer.clone(),
            _ => {
                let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = ask().await;
                *last = (round, Some(answer.clone()));
                answer
            }
        }
    }
}
