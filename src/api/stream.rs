//! A watch as a stream of JSON lines, with bookmarks and an end.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::answer::{TableOptions, metadata_only, table_of};
use super::metrics::Held;
use super::negotiate::Shape;
use super::registry::{Event, EventKind, Events};
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::world::World;

/// How often a quiet watch is told how far it has come.
pub const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// How many bytes of events are gathered before they are handed to the connection.
const CHUNK_BYTES: usize = 64 << 10;

/// How a watch is streamed.
pub struct Style {
    /// The row.
    pub resource: &'static Resource,
    /// What events carry.
    pub shape: Shape,
    /// How tables are wanted.
    pub table: TableOptions,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// When the watch ends.
    pub timeout: Duration,
    /// Time and randomness.
    pub world: World,
    /// Ends every watch when the process stops.
    pub stop: CancellationToken,
    /// Counts the watch while it lasts.
    pub held: Held,
}

struct State {
    events: Events,
    style: Style,
    headers_sent: bool,
    ended: bool,
    deadline: std::pin::Pin<Box<Sleep>>,
    bookmark: std::pin::Pin<Box<Sleep>>,
}

enum Next {
    Event(Event),
    Failed(Status),
    End,
}

/// The lines of a watch.
pub fn lines(events: Events, style: Style) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let deadline = Box::pin(sleep(style.timeout));
    let bookmark = Box::pin(sleep(BOOKMARK_EVERY));
    let state = State { events, style, headers_sent: false, ended: false, deadline, bookmark };
    futures::stream::unfold(state, |mut state| async move {
        let chunk = state.chunk().await?;
        let _still_counted = &state.style.held;
        Some((Ok(chunk), state))
    })
}

impl State {
    /// The next lines: one event, and what can be had after it without waiting.
    async fn chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = BytesMut::new();
        let mut next = Some(self.next().await);
        while let Some(found) = next {
            self.put(&mut out, found);
            let more = !self.ended && out.len() < CHUNK_BYTES;
            next =
                more.then(|| self.events.ready()).flatten().map(|event| event.map_or_else(Next::Failed, Next::Event));
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    fn put(&mut self, out: &mut BytesMut, found: Next) {
        match found {
            Next::End => self.ended = true,
            Next::Failed(status) => self.fail(out, &status),
            Next::Event(event) => {
                if let Err(status) = self.line(out, &event) {
                    self.fail(out, &status);
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        loop {
            let bookmarks = self.style.bookmarks;
            tokio::select! {
                biased;
                () = self.style.stop.cancelled() => return Next::End,
                () = &mut self.deadline => return Next::End,
                () = &mut self.bookmark, if bookmarks => {
                    let due = self.bookmark.deadline() + BOOKMARK_EVERY;
                    self.bookmark.as_mut().reset(due);
                    if let Some(event) = self.events.bookmark() {
                        return Next::Event(event);
                    }
                }
                event = self.events.next() => return event.map_or_else(Next::Failed, Next::Event),
            }
        }
    }

    fn line(&mut self, out: &mut BytesMut, event: &Event) -> Result<(), Status> {
        let object = match (self.style.shape, event.kind) {
            (Shape::Object, _) => event.object.clone(),
            (Shape::Metadata, _) => metadata_only(&event.object)?.into(),
            (Shape::Table, EventKind::Bookmark) => bookmark_table(event),
            (Shape::Table, _) => {
                let no_headers = std::mem::replace(&mut self.headers_sent, true);
                let with = TableOptions { no_headers, ..self.style.table };
                table_of(self.style.resource, &event.object, self.style.world.clock.now(), with)?
            }
        };
        put(out, event.kind.as_str(), &object);
        Ok(())
    }

    fn fail(&mut self, out: &mut BytesMut, status: &Status) {
        put(out, "ERROR", status.to_value().to_string().as_bytes());
        self.ended = true;
    }
}

fn bookmark_table(event: &Event) -> Bytes {
    let text = String::from_utf8_lossy(&event.object);
    let table = format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{}"}},"columnDefinitions":[],"rows":[{{"cells":[],"object":{text}}}]}}"#,
        event.revision
    );
    table.into()
}

fn put(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.put_slice(br#"{"type":""#);
    out.put_slice(kind.as_bytes());
    out.put_slice(br#"","object":"#);
    out.put_slice(object);
    out.put_slice(b"}\n");
}
