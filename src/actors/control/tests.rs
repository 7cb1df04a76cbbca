//! One controller against a small API.
