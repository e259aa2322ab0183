//! The command line of askaround: what its three programs share.

// It panics where stderr is a pipe that nobody reads any more.
#![deny(clippy::print_stderr)]

mod address;
pub mod args;
pub mod course;
pub mod exit;
pub mod lab;
pub mod limits;
pub mod live;
mod plain;
mod table;
