//! Follows the store for the agent: all pods once, then every change, again from the start after an interruption.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use super::Message;
use super::parts::Parts;
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{Revision, Scope};
use crate::store::{Error, Record};

/// How long after an interruption the list is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Follows until the agent ends.
pub async fn run(parts: Parts, agent: ActorRef<Message>) {
    loop {
        match follow(&parts, &agent).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the stream of objects was interrupted"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn follow(parts: &Parts, agent: &ActorRef<Message>) -> Result<(), Error> {
    let (records, revision) = parts.objects.list(&Scope::resource(id::PODS, None))?;
    let pods = records.iter().filter_map(|record| mine(parts, record)).collect();
    if !tell(agent, |reply| Message::Listed(pods, reply)).await {
        return Ok(());
    }
    let mut changes = parts.objects.watch(Scope::ALL, revision)?;
    let mut seen = revision;
    loop {
        let batch = changes.next().await?;
        let interesting = batch.changes.iter().any(|change| concerns(&change.record));
        seen = Revision::max(seen, batch.revision);
        if interesting && !tell(agent, |reply| Message::Changed(batch, reply)).await {
            return Ok(());
        }
    }
}

/// Whether the agent looks at an object of this kind at all.
fn concerns(record: &Record) -> bool {
    [id::PODS, id::CONFIG_MAPS, id::SECRETS, id::NODES].iter().any(|one| record.key.is(*one))
}

/// Sends, and waits until it is taken in; false where the agent has ended.
async fn tell(agent: &ActorRef<Message>, message: impl FnOnce(RpcReplyPort<()>) -> Message) -> bool {
    let (sender, taken) = oneshot::channel();
    agent.cast(message(sender.into())).is_ok() && taken.await.is_ok()
}

/// The pod in `record`, where it is bound to this node. One that cannot be read is told of and left alone.
pub fn mine(parts: &Parts, record: &Arc<Record>) -> Option<Arc<Object>> {
    match object(record) {
        Ok(object) => (object.pod_node() == Some(&parts.node.name)).then(|| Arc::new(object)),
        Err(error) => {
            tracing::error!(%error, "a pod cannot be read; it is not run");
            None
        }
    }
}

fn object(record: &Record) -> Result<Object, DecodeError> {
    Object::new(record.key.clone(), record.modified, record.value.clone())
}
