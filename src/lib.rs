//! The command line of askaround: what its three programs share.

pub mod args;
pub mod course;
pub mod exit;
pub mod lab;
pub mod limits;
pub mod live;
mod plain;
mod table;
