//! What a source says: whether it fits what was asked, and what becomes of it.

use askaround_core::Key;
use askaround_core::message::{
    Answer, Availability, ByteRange, Description, ErrorAnswer, MAX_BITMAP, MAX_HASHES, Message, News,
    RawAnswer,
};
use askaround_core::peer::AskError;
use askaround_core::pieces::{Geometry, HASH_LEN, Md5, PieceSet, Root};

use super::asking::Asked;
use super::checks::Piece;
use super::connection::{Connection, Reading, misbehaved};
use super::inbox::Destination;
use super::{Has, Opened, SourceEvent};

/// A source has each piece to tell of once. So much more is forgiven; anything beyond is a flood.
const SPARE_NEWS: u64 = 1000;

impl Connection {
    /// A line came.
    pub(super) fn heard(&mut self, message: Message) -> Result<(), AskError> {
        match message {
            Message::Answer(answer) => match self.asked.pop_front() {
                Some(asked) => {
                    // The next answer has its own time.
                    self.patience.rest();
                    self.answered(asked, answer)
                }
                None => Err(misbehaved("answered what was not asked")),
            },
            Message::Error(error) => self.refused(error),
            Message::News(news) => self.news(news),
            _ => Err(misbehaved("sent something other than an answer")),
        }
    }

    fn answered(&mut self, asked: Asked, answer: Answer) -> Result<(), AskError> {
        match (asked, answer) {
            (Asked::Describe, Answer::Content(description)) => self.described(description),
            (Asked::Interest { files }, Answer::Raw(RawAnswer::Pieces(Availability::All))) => {
                self.has(files, Has::All);
                Ok(())
            }
            (Asked::Interest { files }, Answer::Raw(RawAnswer::Pieces(Availability::Bitmap(length)))) => {
                if !files && length != self.count.div_ceil(8) {
                    return Err(misbehaved("sent a bitmap of another length than the content's"));
                }
                self.expect_bytes(Reading::Bitmap { files }, length as usize);
                Ok(())
            }
            (Asked::Hashes { key, first }, Answer::Raw(RawAnswer::Hashes(count))) => {
                let due = self.count.saturating_sub(first).min(MAX_HASHES);
                if key == self.options.interest.key && count != due {
                    return Err(misbehaved("sent another number of hashes than the content has"));
                }
                self.expect_bytes(Reading::Hashes { key, first }, count as usize * HASH_LEN);
                Ok(())
            }
            (Asked::Get { piece, range, any, .. }, Answer::Raw(RawAnswer::Bytes(sent))) => {
                self.announced(piece, sent == range, any, &sent)
            }
            _ => Err(misbehaved("answered something other than what was asked")),
        }
    }

    fn described(&mut self, description: Description) -> Result<(), AskError> {
        let key = &self.options.interest.key;
        let fits = match (Root::from_key(key), Md5::from_key(key)) {
            (Some(root), _) => root == description.root,
            (None, Some(md5)) => description.md5.is_none_or(|own| own == md5),
            (None, None) => true,
        };
        if !fits {
            return Err(misbehaved("described another content than was asked for"));
        }
        let geometry = Geometry::new(description.size).map_err(|error| misbehaved(&error.to_string()))?;
        self.count = geometry.count();
        self.opening.description = Some(description);
        Ok(())
    }

    fn expect_bytes(&mut self, reading: Reading, length: usize) {
        self.reading = Some(reading);
        self.inbox.expect(Destination::Bytes(Vec::new(), length));
    }

    fn announced(
        &mut self,
        asked: u32,
        as_asked: bool,
        any: bool,
        range: &ByteRange,
    ) -> Result<(), AskError> {
        let piece = match as_asked {
            true => Some(asked),
            false if any => self.sink.find(&range.key, range.from, range.length),
            false => None,
        };
        let Some(piece) = piece else {
            return Err(misbehaved("sent other bytes than were asked for"));
        };
        self.untold.push_back(SourceEvent::Begun { asked, piece, range: range.clone() });
        self.reading = Some(Reading::Piece { piece, range: range.clone() });
        Ok(())
    }

    /// All raw bytes behind a line came.
    pub(super) fn came(&mut self, came: Destination) -> Result<(), AskError> {
        match (self.reading.take(), came) {
            (Some(Reading::Bitmap { files }), Destination::Bytes(bytes, _)) => {
                if !files && let Err(error) = PieceSet::from_bytes(self.count, &bytes) {
                    return Err(misbehaved(&error.to_string()));
                }
                self.has(files, Has::Bitmap(bytes));
            }
            (Some(Reading::Hashes { key, first }), Destination::Bytes(hashes, _)) => {
                self.hashes(key, first, hashes);
            }
            (Some(Reading::Piece { piece, range }), Destination::Piece(bytes)) => {
                self.borrower.filled();
                self.checks.add(Piece { piece, range, bytes });
            }
            _ => unreachable!("raw bytes go where their line said"),
        }
        Ok(())
    }

    fn has(&mut self, files: bool, has: Has) {
        if !self.opening.done && self.opening.has.is_none() {
            self.opening.has = Some(has);
            if !self.opening.hashes {
                self.opened(Vec::new());
            }
        } else if files {
            self.untold.push_back(SourceEvent::Files(has));
        }
    }

    fn hashes(&mut self, key: Key, first: u32, hashes: Vec<u8>) {
        match self.opening.done {
            false => self.opened(hashes),
            true => self.untold.push_back(SourceEvent::Hashes { key, first, hashes }),
        }
    }

    /// The first answers have all come: they come in order.
    fn opened(&mut self, hashes: Vec<u8>) {
        let opening = &mut self.opening;
        if let (Some(description), Some(has)) = (opening.description.take(), opening.has.take()) {
            opening.done = true;
            self.untold.push_back(SourceEvent::Opened(Opened { description, hashes, has }));
        }
    }

    fn refused(&mut self, error: ErrorAnswer) -> Result<(), AskError> {
        let closes = error.code.closes();
        self.patience.rest();
        match self.asked.pop_front() {
            Some(Asked::Get { piece, .. }) if !closes => {
                self.untold.push_back(SourceEvent::Refused { piece, error });
                Ok(())
            }
            Some(Asked::Hashes { key, first }) if self.opening.done && !closes => {
                self.untold.push_back(SourceEvent::Hashes { key, first, hashes: Vec::new() });
                Ok(())
            }
            _ => Err(AskError::Refused(error)),
        }
    }

    fn news(&mut self, news: News) -> Result<(), AskError> {
        if news.key != self.options.interest.key {
            return Err(misbehaved("sent news of a content that was not asked about"));
        }
        let most = if news.files { 8 * u64::from(MAX_BITMAP) } else { u64::from(self.count) };
        self.told += news.pieces.len().max(1) as u64;
        if self.told > 2 * most + SPARE_NEWS {
            return Err(misbehaved("sent news without end"));
        }
        match &mut self.opening.has {
            // That it has a piece is part of what it says first.
            Some(has) if !news.files => has.add(self.count, &news.pieces),
            _ => self.untold.push_back(SourceEvent::News { files: news.files, pieces: news.pieces }),
        }
        Ok(())
    }
}
