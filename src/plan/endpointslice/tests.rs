//! Slices of a service.
