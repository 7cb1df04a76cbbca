//! The real fabric: one UDP port, QUIC with mutual TLS, shared with HTTP/3 by ALPN.
