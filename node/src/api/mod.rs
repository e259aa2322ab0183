//! The verbs of a peer, for programs on the same machine: a Unix socket in the peer's folder,
//! which only its user can open, and on which only its user's programs, and root's, are answered. A
//! request is one line of JSON. The answer is lines of JSON: any number of events, objects with a field
//! `event`, then one reply, which has none. A program that closes its end, or the half of it that it
//! writes to, wants what it asked for no longer.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `types` | requests, events and replies |
//! | `search` | how a search went, as programs are told |
//! | `answer` | carries out a request: for the socket, and for a peer in the same process |
//! | `server` | the socket |
//! | `path` | how the socket is reached in a folder with a long name |
//! | `client` | asks a running peer |

mod answer;
mod client;
mod path;
mod search;
mod server;
mod types;

/// The socket's name in a peer's folder.
pub const SOCKET: &str = "peer.sock";

/// The longest request, with the end of its line, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

pub use answer::answer;
pub use client::{ApiError, ask, is_running};
pub use path::can_be_in;
pub use search::{ApiSearch, ApiStep};
pub use server::{listen, serve};
pub use types::{ApiEvent, ApiLine, ApiReply, ApiRequest, LimitChange};
