//! Anything may arrive on a stream of the mesh.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal::mesh::wire::fuzz(bytes));
