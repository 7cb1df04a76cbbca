//! Behaviour of the whole node, one file a behaviour, in one binary.
