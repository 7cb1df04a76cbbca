//! The API of one node, as a client outside sees it: every answer with its HTTP status, and whether a failure leaves open
//! what happened.

use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use super::history::Outcome;
use crate::cli::client::resources::text;
use crate::cli::client::{JSON, Session, request};
use crate::cli::failure::Failure;

/// Longest message that a reason of a failure shows, in characters.
const MAX_MESSAGE: usize = 120;
/// HTTP: what is asked for is not there; and there is no room, so that nothing was written.
const NOT_FOUND: u16 = 404;
const NO_ROOM: u16 = 507;
/// How the first reads where only the newest is of use.
pub const STALE_MISS: &str = "not found in what is called stale";

/// A node's API.
pub struct Door {
    session: Session,
    patience: Duration,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// It was carried out.
    Done {
        /// What the server says.
        body: Value,
        /// Whether the server itself calls it stale.
        stale: bool,
    },
    /// It was not carried out: an answer that says so, or no connection (0).
    Refused(u16, String),
    /// What is asked for is not in what the server itself calls stale.
    StaleMiss,
    /// It may have been carried out: no answer (0), or one that does not say.
    Unknown(u16, String),
}

impl Door {
    /// The API of the node at `at`, with the credentials of a kubeconfig's text.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be used.
    pub async fn new(kubeconfig: &str, at: &str, patience: Duration) -> Result<Self, Failure> {
        let session = Session::from_text(kubeconfig, &format!("https://{at}")).await?;
        Ok(Self { session, patience })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Asks, and waits no longer than clients do.
    pub async fn ask(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Answer {
        match request(method, path, JSON, body) {
            Err(failure) => Answer::Refused(0, failure.message().to_owned()),
            Ok(request) => match tokio::time::timeout(self.patience, self.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Answer::Unknown(0, "no answer in time".into()),
            },
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        match self.ask(Method::GET, path, None).await {
            Answer::Done { body, .. } => Ok(body),
            Answer::StaleMiss => Err(STALE_MISS.into()),
            Answer::Refused(code, why) | Answer::Unknown(code, why) => Err(format!("{code} {why}")),
        }
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Answer {
        let response = match self.session.client.send(request.map(Body::from)).await {
            Ok(response) => response,
            Err(error) if is_connect(&error) => return Answer::Refused(0, "no connection".into()),
            Err(_) => return Answer::Unknown(0, "the connection was lost".into()),
        };
        let (code, stale) = (response.status().as_u16(), response.headers().contains_key(header::WARNING));
        let Ok(body) = response.into_body().collect().await else {
            return Answer::Unknown(0, "the connection was lost".into());
        };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        answer(code, stale, body)
    }
}

/// What an HTTP status says about what happened. Of the fives nobody outside can tell, whatever the body says, but for the
/// one whose meaning is that nothing was written.
fn answer(code: u16, stale: bool, body: Value) -> Answer {
    match code {
        200..300 if !body.is_null() => Answer::Done { body, stale },
        NOT_FOUND if stale => Answer::StaleMiss,
        400..500 | NO_ROOM => Answer::Refused(code, text(&body, "/reason")),
        _ => {
            let why: String = format!("{}: {}", text(&body, "/reason"), text(&body, "/message"));
            Answer::Unknown(code, why.chars().take(MAX_MESSAGE).collect())
        }
    }
}

/// Whether there was no connection: then nothing was sent.
fn is_connect(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(client) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return client.is_connect();
        }
        next = error.source();
    }
    false
}

/// Revision of an object or a list.
pub fn revision(object: &Value) -> Option<u64> {
    text(object, "/metadata/resourceVersion").parse().ok()
}

/// The outcome of a write, by its answer.
pub fn written(answer: &Answer) -> Outcome {
    match answer {
        Answer::Done { body, .. } => {
            // The answer to a deletion is a status, whose revision, if any, is not the object's.
            let object = body.get("kind").and_then(Value::as_str) != Some("Status");
            Outcome::Done { revision: object.then(|| revision(body)).flatten(), value: None, stale: false }
        }
        Answer::StaleMiss => Outcome::Refused { code: NOT_FOUND, why: STALE_MISS.into() },
        Answer::Refused(code, why) => Outcome::Refused { code: *code, why: why.clone() },
        Answer::Unknown(code, why) => Outcome::Unknown { code: *code, why: why.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_says_so_tells_that_nothing_happened() {
        let check = |code: u16, stale: bool, expect: &str| {
            let told = format!("{:?}", answer(code, stale, serde_json::json!({ "reason": "Why" })));
            assert!(told.starts_with(expect), "{code}: {told} is not {expect}");
        };
        check(200, false, "Done");
        check(404, false, "Refused(404");
        check(404, true, "StaleMiss");
        check(409, true, "Refused(409");
        check(507, false, "Refused(507");
        check(500, false, "Unknown(500");
        check(503, false, "Unknown(503");
    }
}
