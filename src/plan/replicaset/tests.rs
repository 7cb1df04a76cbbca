//! Tables of replica sets.
