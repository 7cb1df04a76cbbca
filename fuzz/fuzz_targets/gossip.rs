//! Any bytes as a datagram of gossip.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal::mesh::membership::fuzz(bytes));
