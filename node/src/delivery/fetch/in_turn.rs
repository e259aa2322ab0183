//! One fetch of a key at a time: whoever wants what is being fetched waits for that.

use std::sync::Arc;

use askaround_core::key::Key;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::Delivery;
use super::super::active::Job;
use super::super::error::GetError;
use super::super::types::{FetchState, GetEvent, GetRequest};
use super::PROGRESS_EVERY;
use crate::lock;

/// Begins when no other fetch of that key is under way: what that one brings need not come twice.
/// Meanwhile it tells how that one goes. `makes` says whether it makes a file in place.
pub(super) async fn begin_in_turn(
    delivery: &Delivery,
    request: &GetRequest,
    makes: bool,
    events: &mpsc::Sender<GetEvent>,
    stop: &CancellationToken,
) -> Result<Arc<Job>, GetError> {
    let mut said = false;
    loop {
        let other = match lock(&delivery.0.active).begin(&request.key, &request.to, makes) {
            Ok(job) => return Ok(job),
            Err(other) => other,
        };
        if !said {
            said = true;
            let to = lock(&other.report).to.clone();
            let text = format!("it is being fetched to {} already: waiting for that", to.display());
            // Whoever asked may be slow or gone.
            let _ = events.try_send(GetEvent::Note { text });
        }
        let progress = {
            let report = lock(&other.report);
            let sources = report.sources.iter().filter(|source| source.lost.is_none()).count();
            let (here, rate, waiting) = (report.here, report.rate, report.state == FetchState::Waiting);
            report.size.map(|size| GetEvent::Progress { here, size, rate, sources, waiting })
        };
        if let Some(progress) = progress {
            let _ = events.try_send(progress);
        }
        tokio::select! {
            () = stop.cancelled() => return Err(GetError::Stopped),
            () = other.over.cancelled() => {}
            () = tokio::time::sleep(PROGRESS_EVERY) => {}
        }
    }
}

/// Ends a fetch for those who ask about it, however it ends.
pub(super) struct Running {
    delivery: Delivery,
    key: Key,
}

impl Running {
    pub(super) fn new(delivery: &Delivery, key: &Key) -> Self {
        Self { delivery: delivery.clone(), key: key.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut active = lock(&self.delivery.0.active);
        // Another fetch may have it, under another name.
        if !active.serves(&self.key) {
            // Before it ends: whoever waits for that may begin to fetch it.
            self.delivery.0.peer.fetching_no_longer(self.key.clone());
        }
        active.end(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use askaround_core::download::{Download, DownloadConfig};
    use askaround_core::pieces::Manifest;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::super::active::Served;
    use super::super::super::target::{MemoryTarget, Target as _};
    use super::super::testing;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_another_fetch_serves_is_still_said_to_be_fetched() {
        for files in [false, true] {
            let (delivery, mut orders) = testing::delivery();
            let manifest = Arc::new(Manifest::of(200_000, vec![[7; 32]; 4]).unwrap());
            let (root, key) = (manifest.root(), manifest.root().key());
            let target = Arc::new(MemoryTarget::new(key.clone(), manifest));
            let download = Download::new(DownloadConfig::default(), target.lengths(), target.have());
            let served = Arc::new(Served {
                description: testing::file(root, 200_000),
                download: Arc::new(Mutex::new(download)),
                subscribe: mpsc::channel(1).0,
                files: target,
            });
            let active = &delivery.0.active;
            let says_that_it_ends = async |orders: &mut crate::peer::Orders| {
                drop(Running::new(&delivery, &key));
                timeout(Duration::from_secs(1), orders.recv()).await.is_ok()
            };
            lock(active).serve(std::slice::from_ref(&key), files, &served);
            assert!(!says_that_it_ends(&mut orders).await);
            lock(active).serve_no_longer(std::slice::from_ref(&key), files, &served);
            assert!(says_that_it_ends(&mut orders).await);
        }
    }
}
