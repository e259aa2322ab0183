//! Drives the machines of `askaround-core` over TCP.
