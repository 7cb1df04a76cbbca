//! The daemon's gRPC interface: connection, headers, errors.

use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use containerd_client::services::v1::{CreateNamespaceRequest, Namespace};
use containerd_client::services::v1::{CreateRequest as CreateLease, DeleteRequest as DeleteLease};
use containerd_client::tonic::metadata::MetadataValue;
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Code, Request, Status};
use rand::RngCore as _;

use super::NAMESPACE;
use crate::runtime::Error;
use crate::world::World;

/// The snapshotter whose snapshots are overlayfs mounts.
pub(super) const SNAPSHOTTER: &str = "overlayfs";
/// How long a lease protects what is being made, should its owner die.
const LEASE_AGE: Duration = Duration::from_hours(1);
/// Bytes of the largest answer that is taken: a list of all containers with their specs.
const ANSWER_BYTES: usize = 64 << 20;

/// The daemon.
#[derive(Clone)]
pub(super) struct Api {
    channel: Channel,
    world: World,
}

impl Api {
    pub(super) async fn connect(socket: &Path, world: World) -> Result<Self, Error> {
        match containerd_client::connect(socket).await {
            Ok(channel) => Ok(Self { channel, world }),
            Err(error) => {
                Err(Error::System(format!("no containerd answers at {}: {}", socket.display(), chain(&error))))
            }
        }
    }

    pub(super) async fn version(&self) -> Result<String, Error> {
        let answer = VersionClient::new(self.channel.clone()).version(()).await;
        Ok(answer.map_err(|status| system("ask for the version", &status))?.into_inner().version)
    }

    pub(super) async fn make_namespace(&self) -> Result<(), Error> {
        let namespace = Some(Namespace { name: NAMESPACE.to_owned(), ..Namespace::default() });
        let made =
            NamespacesClient::new(self.channel.clone()).create(request(CreateNamespaceRequest { namespace })).await;
        match made {
            Err(status) if status.code() != Code::AlreadyExists => Err(system("make a namespace", &status)),
            _ => Ok(()),
        }
    }

    /// A lease: what is made under it is not collected as garbage before it is released.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        let id = format!("shoal-{:016x}", self.world.entropy.fork().next_u64());
        let expire = (self.world.clock.now() + LEASE_AGE).rfc3339();
        let labels = [("containerd.io/gc.expire".to_owned(), expire)].into();
        let made = self.leases().create(request(CreateLease { id: id.clone(), labels })).await;
        made.map_err(|status| system("make a lease", &status))?;
        Ok(Lease { id })
    }

    pub(super) async fn release(&self, lease: Lease) {
        // It ends by itself in an hour.
        let _ = self.leases().delete(request(DeleteLease { id: lease.id, sync: false })).await;
    }

    fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone())
    }

    pub(super) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }

    pub(super) fn diffs(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }

    pub(super) fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// A name that nothing else has.
    pub(super) fn unique(&self, what: &str) -> String {
        format!("{what}-{:016x}", self.world.entropy.fork().next_u64())
    }
}

/// See [`Api::lease`].
pub(super) struct Lease {
    id: String,
}

/// A request in our namespace.
pub(super) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

/// A request in our namespace and under a lease.
pub(super) fn leased<T>(message: T, lease: &Lease) -> Request<T> {
    let mut request = request(message);
    if let Ok(id) = MetadataValue::try_from(lease.id.as_str()) {
        request.metadata_mut().insert("containerd-lease", id);
    }
    request
}

/// Takes "there is no such thing" as an answer.
pub(super) fn found<T>(answer: Result<T, Status>, what: &str) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(system(what, &status)),
    }
}

/// Takes "it is there already" as done.
pub(super) fn made<T>(answer: Result<T, Status>, what: &str) -> Result<(), Error> {
    match answer {
        Err(status) if status.code() != Code::AlreadyExists => Err(system(what, &status)),
        _ => Ok(()),
    }
}

pub(super) fn system(what: &str, status: &Status) -> Error {
    match status.code() {
        Code::Unavailable => Error::System(format!("containerd does not answer (to {what}): {}", status.message())),
        _ => Error::System(format!("containerd cannot {what}: {}", status.message())),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
