//! The whole cluster in one deterministic thread.
