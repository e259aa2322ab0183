//! The deciding half of askaround, without I/O, clock or randomness.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`id`], [`key`], [`time`] | the words everything else is said in |
//! | [`message`], [`wire`] | what is said on a connection, and how it is written |
//! | [`registry`], [`clock`] | who is online; the barrier of a lab run |
//! | [`tracker`] | [`tracker::Tracker`], which composes the two |
//! | [`content`], [`originators`] | what a peer holds; whom it got what from |
//! | [`search`] | [`search::Search`], how a key is found |
//! | [`pieces`] | how content is cut, and how a piece from a stranger is checked |
//! | [`download`] | which piece is asked of whom, who is told of it, and who is to blame |
//! | [`upload`] | whose turn it is to be sent something, and which piece |
//! | [`script`], [`log`] | what a lab's peer does when; what its log says |
//! | [`peer`] | [`peer::Peer`], which composes the four |
//!
//! # The driving contract
//!
//! [`tracker::Tracker`] and [`peer::Peer`] are driven the same way, by live nodes, lab runs,
//! simulators and model checkers alike:
//!
//! 1. `handle(now, input)` takes one thing that happened. It is the only call that changes a
//!    machine, and `now` never goes back from one call to the next.
//! 2. After each `handle`, call `poll_output()` until it says `None`, and do what it says **in
//!    that order**. Nothing an output asks for is waited for: what comes of it is an input.
//! 3. Then `poll_timeout()` says when to call `handle(now, Timeout)` if nothing happens before.
//!    Calling it early changes nothing.
//!
//! A machine that has the same inputs at the same times gives the same outputs: all state is
//! ordered, and nothing else is read. Panics are bugs of this crate or of its driver; what the
//! world does wrong comes out as typed errors.

pub mod clock;
pub mod content;
pub mod download;
pub mod id;
pub mod key;
pub mod log;
pub mod message;
pub mod originators;
pub mod peer;
pub mod pieces;
pub mod registry;
pub mod script;
pub mod search;
pub mod time;
pub mod tracker;
pub mod upload;
pub mod wire;

pub use id::{Contact, PeerId};
pub use key::Key;
pub use time::Instant;
