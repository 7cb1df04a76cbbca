//! Which printer shows which resource.

use super::column::{AGE, Cells, Column, NAME, Printer};
use super::peek::text;
use super::{cluster, network, pod, workload};
use crate::kube::resource::{Resource, id};

/// The printer of a resource; name and time of creation where it has none of its own.
pub(super) fn printer(resource: &Resource) -> Printer {
    let (columns, cells): (&'static [Column], Cells) = match resource.storage() {
        id::PODS => {
            return Printer { columns: pod::COLUMNS, cells: pod::cells, conditions: Some(pod::conditions) };
        }
        id::DEPLOYMENTS => (workload::DEPLOYMENT, workload::deployment),
        id::REPLICA_SETS => (workload::REPLICAS, workload::replica_set),
        id::REPLICATION_CONTROLLERS => (workload::REPLICAS, workload::replication_controller),
        id::SERVICES => (network::SERVICE, network::service),
        id::ENDPOINTS => (network::ENDPOINTS, network::endpoints),
        id::ENDPOINT_SLICES => (network::ENDPOINT_SLICE, network::endpoint_slice),
        id::NODES => (cluster::NODE, cluster::node),
        id::NAMESPACES => (cluster::NAMESPACE, cluster::namespace),
        id::CONFIG_MAPS => (cluster::CONFIG_MAP, cluster::config_map),
        id::SECRETS => (cluster::SECRET, cluster::secret),
        id::SERVICE_ACCOUNTS => (SERVICE_ACCOUNT, |shown| vec![shown.name().into(), shown.age().into()]),
        id::EVENTS => (cluster::EVENT, cluster::event),
        id::LEASES => (cluster::LEASE, cluster::lease),
        _ => (DEFAULT, |shown| vec![shown.name().into(), text(shown.object, "/metadata/creationTimestamp").into()]),
    };
    Printer { columns, cells, conditions: None }
}

const SERVICE_ACCOUNT: &[Column] = &[NAME, AGE];
const DEFAULT: &[Column] =
    &[NAME, Column { kind: "date", ..Column::text("Created At", "When the object was created.") }];
