//! This node as a place to run pods.
