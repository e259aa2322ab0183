//! Drives the machines of `askaround-core` over TCP.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`network`] | where listeners and streams are made: the one place to put TLS |
//! | [`server`] | accepts connections and serves them, within bounds |
//! | `dialer` | asks one request of somebody, over kept connections |
//! | `link` | a lab peer's clocked connection to its tracker |
//! | [`transfer`] | moves bytes: serves content, and fetches pieces of it |
//! | [`tracker`], [`peer`] | the nodes: a machine, its timers, its effects |
//! | [`observe`] | what a node does, for whoever watches |
//! | [`delivery`] | content delivered: what is here, fetched and served |
//! | [`log_file`] | logs on disk, whole after every timestep |
//! | [`store`] | what a live peer keeps over a restart |
//! | [`content`] | content on disk: hashed, fetched into part files, catalogued |
//! | `complaints` | says who is at fault, without letting a stranger fill a log |
//! | [`api`] | the verbs of a running peer, for programs on the same machine |
//!
//! Each machine stands behind a mutex that is held only while it handles one input and its
//! outputs are taken, never across an `await`. What is served from memory is served right there
//! by the task of the connection; everything else is done by the one loop that owns the node.

#[cfg(unix)]
pub mod api;
mod complaints;
#[cfg(unix)]
pub mod content;
#[cfg(unix)]
pub mod delivery;
mod dialer;
mod link;
pub mod log_file;
pub mod network;
pub mod observe;
pub mod peer;
pub mod server;
#[cfg(unix)]
mod shared;
pub mod store;
pub mod tracker;
pub mod transfer;

use std::time::Duration;

use askaround_core::Instant;

/// When the machines of this process begin to count.
#[derive(Debug, Clone, Copy)]
pub struct Epoch(tokio::time::Instant);

impl Default for Epoch {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Epoch {
    /// Now, for a machine.
    pub fn now(&self) -> Instant {
        let nanos = self.0.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Waits until `deadline`, or for ever.
    pub(crate) async fn sleep_until(&self, deadline: Option<Instant>) {
        sleep_until(deadline.map(|at| self.0 + Duration::from_nanos(at.as_nanos()))).await;
    }
}

/// Waits until `deadline`, or for ever.
pub(crate) async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Locks, also when another thread panicked while it held the lock: that panic is reported where
/// its task is joined.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
