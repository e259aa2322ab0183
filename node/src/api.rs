//! The verbs of a running peer.
