//! Pods of every node: the gateway that reaches them here or through the mesh, and what serves the others.
//!
//! Rooms: `ask` what travels first; `session` an exec's streams over one byte stream.

mod ask;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use self::ask::{Ask, Denied, What};
use crate::api::gateway::{ContainerRef, LogOptions, NodeGateway};
use crate::kube::status::Status;
use crate::mesh::address::{Address, Class, Failure, Refusal};
use crate::mesh::exports::{Stream, Streams};
use crate::mesh::fabric::Duplex;
use crate::mesh::handle::Mesh;
use crate::model::NodeId;
use crate::runtime::{ExecSession, ExecSpec};

/// Name that a node's pods are exported under.
pub const PODS: &str = "pods";
/// Version of what travels; the only one so far.
pub const VERSION: u16 = 1;
/// How long a node may take to say whether it has the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reaches pods where they run.
pub struct Reach {
    node: String,
    here: Arc<dyn NodeGateway>,
    mesh: Mesh,
}

impl Reach {
    /// A gateway of `node`, whose own pods `here` reaches.
    pub fn new(node: &str, here: Arc<dyn NodeGateway>, mesh: Mesh) -> Arc<Self> {
        Arc::new(Self { node: node.into(), here, mesh })
    }

    async fn ask(&self, container: &ContainerRef, what: What) -> Result<Duplex, Status> {
        let header = ask::encode(&Ask::new(container, what))?;
        let to = Address::new(&NodeId(container.node.as_str().into()), PODS);
        let opened = self.mesh.open(&to, Class::Bulk, VERSION, header, PATIENCE).await;
        let (grant, duplex) = opened.map_err(|failure| unreachable(&container.node, &failure))?;
        ask::decode::<Result<(), Denied>>(&grant)?.map_err(Status::from)?;
        Ok(duplex)
    }
}

/// What a client is told when a pod's node cannot be reached.
fn unreachable(node: &str, failure: &Failure) -> Status {
    let mut status = Status::new(503, "ServiceUnavailable", format!("node {node:?} of the pod: {failure}"));
    status.retry_after_seconds = Some(1);
    status
}

#[async_trait]
impl NodeGateway for Reach {
    async fn logs(
        &self,
        container: &ContainerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        if container.node == self.node {
            return self.here.logs(container, options).await;
        }
        let duplex = self.ask(container, What::Logs(options.into())).await?;
        // The sending half stays with the reading one: dropping it would tell the other side that the reader is gone.
        let (receive, send) = (ReaderStream::new(duplex.receive), duplex.send);
        let held = futures::stream::unfold((receive, send), |(mut receive, send)| async move {
            receive.next().await.map(|item| (item, (receive, send)))
        });
        Ok(held.boxed())
    }

    async fn exec(&self, container: &ContainerRef, spec: &ExecSpec) -> Result<ExecSession, Status> {
        if container.node == self.node {
            return self.here.exec(container, spec).await;
        }
        let duplex = self.ask(container, What::Exec(spec.into())).await?;
        Ok(session::remote(duplex, spec))
    }
}

/// Serves this node's pods to other nodes.
pub struct PodStreams {
    here: Arc<dyn NodeGateway>,
}

impl PodStreams {
    /// Serves what `here` reaches.
    pub fn new(here: Arc<dyn NodeGateway>) -> Arc<Self> {
        Arc::new(Self { here })
    }
}

#[async_trait]
impl Streams for PodStreams {
    async fn open(&self, _: &NodeId, _: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        let ask: Ask = ask::decode(&header).map_err(|status| Refusal::UnknownMessage(status.message))?;
        let container = ask.container();
        let served = match &ask.what {
            What::Logs(options) => self.here.logs(&container, &options.into()).await.map(Served::Logs),
            What::Exec(spec) => self.here.exec(&container, &spec.into()).await.map(Served::Exec),
        };
        Ok(Box::new(Granted(Some(served))))
    }
}

/// What a node gives.
enum Served {
    Logs(BoxStream<'static, std::io::Result<Bytes>>),
    Exec(ExecSession),
}

struct Granted(Option<Result<Served, Status>>);

#[async_trait]
impl Stream for Granted {
    fn grant(&mut self) -> Bytes {
        let verdict: Result<(), Denied> = match &self.0 {
            Some(Err(status)) => Err(status.into()),
            _ => Ok(()),
        };
        ask::encode(&verdict).unwrap_or_default()
    }

    async fn serve(mut self: Box<Self>, duplex: Duplex) {
        match self.0.take() {
            Some(Ok(Served::Logs(stream))) => logs(stream, duplex).await,
            Some(Ok(Served::Exec(session))) => session::serve(session, duplex).await,
            // The grant says why not; it has arrived once the stream has ended in order.
            _ => drop({ duplex }.send.shutdown().await),
        }
    }
}

/// Sends a log until it ends, or the reader goes away.
async fn logs(mut stream: BoxStream<'static, std::io::Result<Bytes>>, duplex: Duplex) {
    let Duplex { mut send, mut receive } = duplex;
    let copy = async {
        while let Some(bytes) = stream.try_next().await? {
            send.write_all(&bytes).await?;
            send.flush().await?;
        }
        send.shutdown().await
    };
    // The reader sends nothing: whatever comes from there means that it has gone.
    let gone = tokio::io::AsyncReadExt::read_u8(&mut receive);
    tokio::select! {
        copied = copy => if let Err(error) = copied {
            tracing::debug!(%error, "a log was not read to its end");
        },
        _ = gone => {}
    }
}
