//! Frames on the mesh's streams.
