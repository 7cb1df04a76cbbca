//! A small API for planners: snapshots built by hand, and plans carried out in memory.
