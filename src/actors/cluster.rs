//! This node as a part of its cluster.
//!
//! Rooms: `ledger` what the cluster keeps about itself as objects; `office` the cluster's authority, `desk` what any node
//! asks of it, `door` where strangers knock; `standing` this node's certificate and whom it believes; `members` the
//! cluster's own paths of the API; `replicas` the store's way to other nodes; `neighbours` routes to their pods;
//! `keeper` the quorum and where control actors run, `quorum` both as they are told, `keys` the authority's key among voters;
//! `recovery` what follows the loss of the quorum; `remember` where others are, `load` how busy this node is, `counts` its metrics, `backups` on a schedule.

pub mod backups;
pub mod counts;
pub mod desk;
pub mod door;
pub mod keeper;
pub mod keys;
pub mod ledger;
pub mod load;
pub mod members;
pub mod neighbours;
pub mod office;
pub mod quorum;
pub mod recovery;
pub mod remember;
pub mod replicas;
pub mod standing;
