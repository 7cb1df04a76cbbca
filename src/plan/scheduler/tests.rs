//! Tables of placements.
