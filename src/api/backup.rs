//! `/shoal/v1/backup` and `/shoal/v1/restore`: every object as a stream, and raw changes in bounded transactions.

use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer;
use super::body::{self, Body};
use super::registry::encode::encode;
use super::registry::{parse, store_failure};
use super::service::{Incoming, Service};
use crate::kube::status::Status;
use crate::model::ObjectKey;
use crate::plan::restore::may_touch;
use crate::store::backup::{Head, chunks};
use crate::store::{Action, Expect, Freshness, Op, Txn};

/// What a change is told about: at most [`Txn::MAX_OPS`] of them in one request, all made or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch(pub Vec<Change>);

/// One object as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub key: ObjectKey,
    /// Its JSON; `None` where it shall be gone.
    pub value: Option<Bytes>,
}

/// Streams a backup as of now. Without a quorum it is one of what this node has, and the answer warns of that.
pub async fn backup(service: &Service, cluster: String) -> Result<Response<Body>, Status> {
    let store = service.registry.store();
    let stale = match store.refresh().await.map_err(|error| store_failure(&error))? {
        Freshness::Newest(_) => None,
        Freshness::Stale(silence) => Some(super::registry::Stale(silence)),
    };
    let time = service.registry.world().clock.now().rfc3339();
    let release = env!("CARGO_PKG_VERSION").into();
    let head = Head { cluster, revision: store.revision().0, time, release };
    let mut response = answer::typed("application/octet-stream", body::stream(chunks(store.clone(), &head)));
    answer::warn(response.headers_mut(), &stale.iter().map(ToString::to_string).collect::<Vec<_>>());
    Ok(response)
}

/// Makes the changes of one batch, past admission: what was stored once is stored again.
pub async fn restore(service: &Service, incoming: Incoming) -> Result<Value, Status> {
    let bytes = body::read(incoming.body).await?;
    let Batch(changes) =
        rmp_serde::from_slice(&bytes).map_err(|error| Status::bad_request(format!("this is no batch: {error}")))?;
    if changes.len() > Txn::MAX_OPS {
        return Err(Status::bad_request(format!("a batch has at most {} changes", Txn::MAX_OPS)));
    }
    let ops = changes.into_iter().map(op).collect::<Result<Vec<_>, _>>()?;
    if ops.is_empty() {
        return Ok(json!({ "revision": null }));
    }
    let txn = Txn { ops, fence: None, cause: incoming.caller.cause };
    let made = service.registry.store().commit(txn).await.map_err(|error| store_failure(&error))?;
    Ok(json!({ "revision": made.revision.0 }))
}

fn op(change: Change) -> Result<Op, Status> {
    let Change { key, value } = change;
    if !may_touch(&key) {
        return Err(Status::new(403, "Forbidden", format!("{key} is the cluster's own and is not restored")));
    }
    let action = match value {
        None => Action::Delete,
        Some(value) => {
            let object = parse(&value)?;
            let told = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            if (told("/metadata/name"), told("/metadata/namespace"))
                != (key.name.to_string(), key.namespace.to_string())
            {
                return Err(Status::bad_request(format!("the object under {key} has another name")));
            }
            let encoded = encode(&object).map_err(|error| Status::bad_request(error.to_string()))?;
            Action::Put { value: encoded.value, splice: encoded.splice }
        }
    };
    Ok(Op { key, expect: Expect::Any, action })
}
