//! Moving bytes: serving content to others, and fetching pieces of it from a source.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`serve`] | a connection that asks for content: the half that reads requests |
//! | `answer` | the half that answers them, in order, and tells news in between |
//! | `send` | bytes of a file into a socket |
//! | `unsent` | how much of that the kernel may keep |
//! | `news` | what a connection was told of the pieces that are here |
//! | [`uploads`] | the machine that decides who is sent to next |
//! | [`shelf`] | what serving needs to know of the content that is here |
//! | [`source`] | a connection to a source: asks, reads, has pieces checked and written |
//! | [`pool`] | the memory that pieces on their way are held in |
//! | [`rate`] | limits in bytes a second |
//!
//! Bytes are moved by two kinds of thread. The one that runs the node waits for sockets and reads
//! from them; threads that may block send from files (`sendfile`), and check and write pieces.

mod answer;
mod news;
pub mod pool;
pub mod rate;
mod send;
pub mod serve;
pub mod shelf;
pub mod source;
mod unsent;
pub mod uploads;
