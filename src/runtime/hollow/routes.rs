//! Ways to the pods of other nodes on a pretended machine: decided as the real ones are, and only written down.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::model::Cidr;
use crate::plan::routes::{self, Ground, Table, Way};
use crate::runtime::Error;
use crate::runtime::network::routes::{PeerRoute, PodRoutes, Report, report};

/// The link that all pretended machines are on.
const LINK: Way = Way::Link { index: 1, mtu: 1500 };

/// The [`PodRoutes`] that carry nothing.
pub struct HollowRoutes {
    ground: Ground,
    table: Mutex<Table>,
}

impl HollowRoutes {
    /// Routes to nowhere yet.
    pub fn new(ground: Ground) -> Self {
        Self { ground, table: Mutex::default() }
    }

    /// Where each range leads.
    pub fn routes(&self) -> BTreeMap<Cidr, IpAddr> {
        self.table.lock().routes.iter().map(|(range, hop)| (*range, IpAddr::V4(hop.via))).collect()
    }
}

#[async_trait]
impl PodRoutes for HollowRoutes {
    async fn sync(&self, peers: &[PeerRoute]) -> Result<Report, Error> {
        let mut table = self.table.lock();
        let (admitted, mut refused) = routes::admit(&self.ground, &table, peers);
        let (wanted, unreachable) =
            routes::wanted(&self.ground, admitted.into_iter().map(|peer| (peer, LINK)).collect());
        refused.extend(unreachable);
        let changes = routes::changes(&table, &wanted);
        *table = wanted;
        Ok(report(&table, refused, changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::network::routes::RouteOptions;

    #[tokio::test]
    async fn pretended_routes_are_those_of_the_peers_last_told() {
        let range = |text: &str| text.parse::<Cidr>().unwrap();
        let options = RouteOptions::new("shoal0", range("10.244.0.0/24"), range("10.244.0.0/16"));
        let hollow = HollowRoutes::new(options.ground);
        let peer = |node: &str, last: u8, pods: &str| PeerRoute {
            node: node.into(),
            address: IpAddr::from([192, 0, 2, last]),
            pod_cidr: range(pods),
        };
        let (b, bad) = (peer("b", 2, "10.244.1.0/24"), peer("x", 3, "10.244.0.0/25"));
        let report = hollow.sync(&[b.clone(), bad]).await.unwrap();
        assert_eq!((report.direct, report.tunnelled, report.refused.len(), report.changes.len()), (1, 0, 1, 1));
        assert_eq!(hollow.routes(), BTreeMap::from([(b.pod_cidr, b.address)]));
        assert_eq!(hollow.sync(&[b]).await.unwrap().changes, []);
        hollow.sync(&[]).await.unwrap();
        assert_eq!(hollow.routes(), BTreeMap::new());
    }
}
