//! Connections to peers: at most one each, opened on demand, closed when idle; streams by class.
