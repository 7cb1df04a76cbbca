//! The mesh's counts and members as metrics of the node.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::mesh::handle::Mesh;
use crate::mesh::member::Life;
use crate::mesh::quic::Endpoint;

/// Reads the counts when they are asked for.
pub struct Counts {
    /// Links and members.
    pub mesh: Mesh,
    /// The port.
    pub endpoint: Endpoint,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "What the links to other nodes carried, refused and shed";
        let mut links = encoder.encode_descriptor("shoal_mesh_links", help, None, MetricType::Counter)?;
        for (name, which, count) in self.mesh.links().counters().each() {
            let labels = [("count", name), ("which", which)];
            ConstCounter::new(count).encode(links.encode_family(&labels)?)?;
        }
        let help = "What came to the port of the mesh";
        let mut port = encoder.encode_descriptor("shoal_mesh_port", help, None, MetricType::Counter)?;
        for (name, count) in self.endpoint.counters().each() {
            ConstCounter::new(count).encode(port.encode_family(&[("count", name)])?)?;
        }
        let view = self.mesh.view().borrow().clone();
        let help = "Members as this node sees them, by life";
        let mut members = encoder.encode_descriptor("shoal_mesh_members", help, None, MetricType::Gauge)?;
        for (life, name) in
            [(Life::Alive, "alive"), (Life::Suspect, "suspect"), (Life::Dead, "dead"), (Life::Left, "left")]
        {
            let count = view.members.values().filter(|member| member.life == life).count();
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(members.encode_family(&[("life", name)])?)?;
        }
        Ok(())
    }
}
