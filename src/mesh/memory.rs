//! A fabric inside one process, for tests.
