//! A client of the simulated API: the shipped request path, without a socket under it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;

/// What a request was answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// The body.
    pub body: Value,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Path with query.
    pub path: String,
    /// Body and its content type; `Value::Null` for none.
    pub body: Value,
}

/// The API as the workload sees it.
pub trait Api: Send + Sync + 'static {
    /// Asks, and waits for the whole answer.
    fn ask(&self, ask: Ask) -> BoxFuture<'static, Answer>;
    /// Opens a stream of lines (a watch).
    fn lines(&self, path: String) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Answer>>;
}

/// A client. Cheap to clone.
#[derive(Clone)]
pub struct Client(pub Arc<dyn Api>);

impl Client {
    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Value::Null).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body).await
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body).await
    }

    /// PATCH with a merge patch.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, body).await
    }

    /// DELETE with options.
    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send("DELETE", path, options).await
    }

    async fn send(&self, method: &'static str, path: &str, body: Value) -> Answer {
        self.0.ask(Ask { method, path: path.to_owned(), body }).await
    }
}

impl Answer {
    /// Whether it was done.
    pub fn done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether nothing was changed, for sure: the request was judged and refused.
    pub fn refused(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// `metadata.resourceVersion` of the object in the body.
    pub fn revision(&self) -> Option<u64> {
        self.body.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
    }
}
