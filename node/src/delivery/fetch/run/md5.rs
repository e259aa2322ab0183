//! [`Md5InOrder`]: the md5 of what comes, worked out as far as it is whole from the beginning.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::super::error::GetError;
use crate::content::{ContentFile, HashError, InOrderHash, Md5};

/// So many pieces are hashed before it is looked whether it is to stop.
const AT_ONCE: u32 = 64;

/// The md5 of what comes.
pub(in super::super) struct Md5InOrder {
    /// None while a thread has it.
    hash: Option<InOrderHash>,
    content: Arc<ContentFile>,
    /// For people.
    path: PathBuf,
    running: JoinSet<io::Result<InOrderHash>>,
}

impl Md5InOrder {
    pub(in super::super) fn of(content: Arc<ContentFile>, path: PathBuf) -> Self {
        Self { hash: Some(InOrderHash::default()), content, path, running: JoinSet::new() }
    }

    /// Goes on with what is there, on a thread that may block, unless one is at it.
    pub(super) fn go_on(&mut self) {
        if let Some(mut hash) = self.hash.take_if(|hash| has_next(&self.content, hash)) {
            let content = self.content.clone();
            self.running.spawn_blocking(move || hash.follow(&content, AT_ONCE).map(|_| hash));
        }
    }

    /// Waits for the thread that is at it; for ever, if there is none.
    pub(super) async fn went_on(&mut self) -> Result<(), GetError> {
        match self.running.join_next().await {
            Some(hash) => self.hash = Some(hash?.map_err(|error| self.failed(error))?),
            None => std::future::pending().await,
        }
        Ok(())
    }

    /// The md5, once everything is there.
    ///
    /// # Errors
    /// If what is there cannot be read, or `stop` is cancelled while some is still to be read.
    pub(super) async fn finish(mut self, stop: &CancellationToken) -> Result<Md5, GetError> {
        loop {
            match self.hash.take() {
                None => self.went_on().await?,
                Some(hash) if !has_next(&self.content, &hash) => {
                    return hash.finish(&self.content).map_err(|error| self.failed(error));
                }
                Some(_) if stop.is_cancelled() => return Err(GetError::Stopped),
                hash => {
                    self.hash = hash;
                    self.go_on();
                }
            }
        }
    }

    fn failed(&self, error: io::Error) -> GetError {
        GetError::Read { path: self.path.clone(), error: HashError::Disk(error) }
    }
}

fn has_next(content: &ContentFile, hash: &InOrderHash) -> bool {
    content.geometry().piece(hash.pieces()).is_some_and(|next| content.has(next))
}
