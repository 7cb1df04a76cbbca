//! A backup of a store that runs: pages at one revision, whatever is written meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;

use super::{Encoder, Head};
use crate::model::{ObjectKey, Revision, Scope};
use crate::store::{Record, Store};

/// Objects that are taken from the store at a time; they are shared with it, not copied.
const PAGE: usize = 4096;
/// A chunk is closed once it holds this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;

struct Source {
    store: Store,
    revision: Revision,
    encoder: Option<Encoder>,
    /// What was encoded and not given out yet.
    ready: Vec<u8>,
    records: VecDeque<Arc<Record>>,
    after: Option<ObjectKey>,
    more: bool,
}

/// The backup as chunks; `head.revision` says at which revision, which must be retained until the end: the stream fails
/// where history was compacted away under it.
pub fn chunks(store: Store, head: &Head) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let begun = Encoder::begin(head).map(|(encoder, ready)| Source {
        store,
        revision: Revision(head.revision),
        encoder: Some(encoder),
        ready,
        records: VecDeque::new(),
        after: None,
        more: true,
    });
    futures::stream::unfold(Some(begun), |state| async move {
        let mut source = match state? {
            Ok(source) => source,
            Err(error) => return Some((Err(error), None)),
        };
        match source.chunk() {
            Ok(None) => None,
            Ok(Some(chunk)) => {
                // Other work of the thread must not wait for all of it.
                tokio::task::yield_now().await;
                Some((Ok(chunk), Some(Ok(source))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Source {
    fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        while self.ready.len() < CHUNK_BYTES {
            let Some(encoder) = &mut self.encoder else { break };
            if let Some(record) = self.records.pop_front() {
                self.ready.extend(encoder.object(&record)?);
                self.after = Some(record.key.clone());
            } else if self.more {
                self.turn()?;
            } else if let Some(encoder) = self.encoder.take() {
                self.ready.extend(encoder.end()?);
            }
        }
        let chunk = std::mem::take(&mut self.ready);
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }

    fn turn(&mut self) -> io::Result<()> {
        let page = self.store.list(&Scope::ALL, Some(self.revision), self.after.as_ref(), PAGE);
        let page = page.map_err(io::Error::other)?;
        self.more = page.remaining > 0;
        self.records = page.records.into();
        Ok(())
    }
}
