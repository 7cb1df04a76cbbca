//! Clusters of real processes, each node in a network namespace of the test's own. Needs root.
//!
//! Rooms: `harness` machines and the network between them; every other file one area of behaviour. Nodes whose
//! containers do not matter run the hollow runtime, which starts faster.

mod backups;
mod certificates;
mod cuts;
mod damage;
mod death;
mod five_nodes;
mod harness;
mod leaving;
mod quorum;
mod recover;
mod restarts;
mod strangers;
mod three_nodes;
mod tokens;
mod versions;
mod voters;
