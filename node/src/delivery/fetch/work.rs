//! [`Work`]: what a fetch has done on threads that may block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::super::error::GetError;

/// What a fetch has done on threads that may block. It ends with the fetch: whatever is at work looks
/// at the flag, and is waited for.
#[derive(Debug, Default)]
pub(super) struct Work {
    tasks: JoinSet<()>,
    cancel: Arc<AtomicBool>,
}

impl Work {
    /// Does it, and waits for what comes of it.
    ///
    /// # Errors
    /// If it panics.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T, GetError> {
        let (done, result) = oneshot::channel();
        let cancel = self.cancel.clone();
        self.tasks.spawn_blocking(move || {
            // A fetch that is told to stop takes no results.
            let _ = done.send(work(&cancel));
        });
        if let Ok(result) = result.await {
            // Those that are over are not kept.
            while self.tasks.try_join_next().is_some() {}
            return Ok(result);
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        unreachable!("only a panic keeps work from sending its result");
    }

    /// The flag that is raised at the end, for what is done on threads of others.
    pub(super) fn cancel(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Ends what is at work, and waits until it has.
    pub(super) async fn end(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a bug of ours: work of a fetch broke");
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}
