//! Traces of rollouts.
