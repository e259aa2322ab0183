//! Requests for pieces: waiting for their turn to be sent, and choosing which are.

use std::io;
use std::net::SocketAddr;

use askaround_core::Key;
use askaround_core::message::{ByteRange, ErrorAnswer, ErrorCode};
use askaround_core::pieces::Root;
use askaround_core::upload::{Served, UploadInput, Want, Wish};

use super::Answering;
use crate::transfer::news::OfFolder;
use crate::transfer::send::{Outgoing, check};
use crate::transfer::serve::Get;
use crate::transfer::shelf::Demand;

/// For each request the piece to send.
type Granted = Vec<Option<u32>>;

impl Answering<'_> {
    pub(super) async fn get(&mut self, get: Get) -> io::Result<Result<(), ErrorAnswer>> {
        if let Some(root) = self.is_of_folder(&get.range.key) {
            return Ok(Ok(self.get_files(root, get).await?));
        }
        if get.cancelled {
            return Ok(Err(cancelled()));
        }
        let file = match self.open(&get.range.key).await? {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = check(&file, &get.range) {
            return Ok(Err(error));
        }
        let geometry = file.geometry();
        let piece = geometry.exactly(get.range.from, get.range.length);
        let root = file.manifest().root();
        let connection = self.connection;
        let demand = match piece.filter(|_| !file.is_whole()) {
            Some(piece) => self.demand(&get.range.key, false, piece.get()),
            None => Demand::default(),
        };
        let any = get.any && piece.is_some() && connection.interests.includes(root);
        let want = Want {
            from: connection.from,
            served: Served { root, files: false },
            count: geometry.count(),
            complete: file.is_whole(),
            wishes: vec![Wish { piece: piece.map(|piece| piece.get()), any }],
            copies: demand.copies,
            has: demand.has,
        };
        let mut range = get.range;
        let (_, granted) = self.granted(want).await?;
        let Some(pieces) = granted else { return Ok(Err(cancelled())) };
        if let Some(piece) = pieces.first().copied().flatten().and_then(|piece| geometry.piece(piece)) {
            range.from = geometry.range(piece).start;
            range.length = geometry.length(piece) as u64;
        }
        let sent = self.send([Outgoing::of(file, range)].into()).await?;
        self.end_turn(sent);
        Ok(Ok(()))
    }

    /// The root of a file, if it is asked for as one of a folder: not as the content that the other
    /// end has said it is interested in.
    fn is_of_folder(&self, key: &Key) -> Option<Root> {
        Root::from_key(key).filter(|root| !self.connection.interests.includes(*root))
    }

    /// Answers requests for files of a folder that follow each other in one turn, and on one call
    /// to another thread: as many as the link sends in a moment.
    async fn get_files(&mut self, root: Root, first: Get) -> io::Result<()> {
        let connection = self.connection;
        let most = self.unsent.moment().min(connection.server.up.in_a_moment());
        let folder = connection.interests.folder_with(&root);
        let fits = |get: &Get| {
            let root = self.is_of_folder(&get.range.key);
            root.is_some_and(|root| {
                folder.as_ref().is_none_or(|folder| folder.layout.geometry(&root).is_some())
            })
        };
        let gets = connection.following(first, most, fits);
        let want = self.want_of_files(root, folder.as_ref(), &gets);
        let (gets, granted) = self.granted(want).await?;
        let pieces = granted.iter().flatten().copied().chain(std::iter::repeat(None));
        let answer = |(get, piece): (Get, Option<u32>)| {
            if get.cancelled {
                if let Some(piece) = piece {
                    connection.server.uploads.handle(UploadInput::NotSent(connection.id, piece));
                }
                return Outgoing::refused(get.range, cancelled());
            }
            let chosen = piece.zip(folder.as_ref()).and_then(|(piece, folder)| folder.layout.range(piece));
            Outgoing::asked(chosen.unwrap_or(get.range))
        };
        let sent = self.send(gets.into_iter().zip(pieces).map(answer).collect()).await?;
        if granted.is_some() {
            self.end_turn(sent);
        }
        Ok(())
    }

    /// What these requests for files want. Of files of which it is not known which folder they
    /// belong to, the machine has no choice to make: it says when it is their turn.
    fn want_of_files(&self, root: Root, folder: Option<&OfFolder>, gets: &[Get]) -> Want {
        let from = self.connection.from;
        let wish = |get: &Get| {
            let ByteRange { key, from, length } = &get.range;
            let piece = folder.and_then(|folder| folder.layout.find(key, *from, *length));
            Wish { piece, any: get.any && piece.is_some() }
        };
        let wishes: Vec<Wish> = gets.iter().map(wish).collect();
        let Some(OfFolder { key, served, complete, layout }) = folder.cloned() else {
            let served = Served { root, files: false };
            return Want { from, served, count: 1, complete: true, wishes, copies: 0, has: 0 };
        };
        let demand = match wishes.first().and_then(|wish| wish.piece).filter(|_| !complete) {
            Some(piece) => self.demand(&key, true, piece),
            None => Demand::default(),
        };
        let Demand { copies, has } = demand;
        Want { from, served, count: layout.count(), complete, wishes, copies, has }
    }

    /// How much a piece is needed by the other end.
    fn demand(&self, key: &Key, files: bool, piece: u32) -> Demand {
        let connection = self.connection;
        let by = connection.interests.port().map(|port| SocketAddr::new(connection.from, port));
        connection.server.shelf.demand(key, files, piece, by)
    }

    /// What was granted has been sent: so many bytes.
    fn end_turn(&mut self, sent: u64) {
        self.has_turn = false;
        self.connection.server.uploads.sent(self.connection.id, sent);
    }

    /// Waits until it is this connection's turn, and says for each request which piece to send, if
    /// it is to be a whole one; `None` if nothing is wanted any more. From then on nothing can be
    /// cancelled: gives back what was asked, as it is then.
    async fn granted(&mut self, want: Want) -> io::Result<(Vec<Get>, Option<Granted>)> {
        let connection = self.connection;
        // Answers that wait must not hold up whoever is granted something.
        self.flush().await?;
        let mut grant = connection.server.uploads.want(connection.id, want);
        loop {
            tokio::select! {
                biased;
                grant = &mut grant => {
                    self.has_turn = true;
                    return Ok((connection.begin(), Some(grant.map_err(io::Error::other)?)));
                }
                () = connection.work.notified() => {}
                () = connection.interests.wait() => {}
            }
            if connection.is_cancelled() {
                connection.server.uploads.withdraw(connection.id);
                return Ok((connection.begin(), None));
            }
            connection.interests.tell(&mut self.out);
            let granted = tokio::select! {
                biased;
                flushed = self.flush() => flushed.map(|()| None)?,
                grant = &mut grant => Some(grant.map_err(io::Error::other)?),
            };
            if granted.is_some() {
                // It is its turn, and it does not even take the news.
                self.has_turn = true;
                self.lend_turn();
                self.flush().await?;
                return Ok((connection.begin(), granted));
            }
        }
    }
}

fn cancelled() -> ErrorAnswer {
    ErrorAnswer::new(ErrorCode::Cancelled, "cancelled by its sender")
}
