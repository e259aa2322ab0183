//! [`Shelf`]: what serving needs to know of the content that is here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use askaround_core::Key;
use askaround_core::message::{Description, Interest};
use askaround_core::pieces::{Manifest, PieceSet, Root};
use tokio::sync::watch;

use crate::content::{ContentFile, Layout};

/// The content that is here, whole or being fetched. All of it may block.
pub trait Shelf: std::fmt::Debug + Send + Sync + 'static {
    /// The content that `key` names, opened to be sent from; `None` if it is not here.
    ///
    /// # Errors
    /// If it should be here and cannot be read now.
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>>;

    /// The piece hashes of the content that `key` names. They may be known before any piece is here.
    ///
    /// # Errors
    /// As [`Shelf::open`].
    fn manifest(&self, key: &Key) -> io::Result<Option<Arc<Manifest>>> {
        Ok(self.open(key)?.map(|file| file.manifest().clone()))
    }

    /// What the content that `key` names is.
    ///
    /// # Errors
    /// As [`Shelf::open`].
    fn describe(&self, key: &Key) -> io::Result<Option<Description>>;

    /// Somebody at `from` is interested: what is here of it. Where it says that it fetches the
    /// content too, that is a source to know of.
    ///
    /// # Errors
    /// As [`Shelf::open`].
    fn interest(&self, from: IpAddr, interest: &Interest) -> io::Result<Option<Holding>>;

    /// How much a piece of content that is being fetched, or of its `files`, is needed by whoever
    /// listens at `by`. Asked while something is about to be sent: it must not block.
    fn demand(&self, key: &Key, files: bool, piece: u32, by: Option<SocketAddr>) -> Demand {
        let _ = (key, files, piece, by);
        Demand::default()
    }

    /// A file is found not to be what it was, and must not be served any more.
    fn changed(&self, root: Root);
}

/// How much a piece is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many others are known to have it.
    pub copies: u32,
    /// How many pieces whoever wants it is known to have.
    pub has: u32,
}

/// What is here of a content.
#[derive(Debug)]
pub struct Holding {
    /// The content's hash.
    pub root: Root,
    /// Which pieces.
    pub pieces: Pieces,
    /// How they are numbered, if they are those of the files of a collection.
    pub layout: Option<Arc<Layout>>,
}

/// Which pieces are here.
#[derive(Debug)]
pub enum Pieces {
    /// All of so many.
    All(u32),
    /// Those of a set that grows while the content is fetched.
    Live(watch::Receiver<PieceSet>),
}
