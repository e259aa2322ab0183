//! What is asked of a source, and told to it.

use std::sync::atomic::Ordering;

use askaround_core::Key;
use askaround_core::message::{
    ByteRange, ErrorAnswer, ErrorCode, Interest, MAX_NEWS, Message, News, Request, VERSION,
};
use askaround_core::wire::encode;

use super::connection::Connection;
use super::{SourceCommand, SourceEvent};

/// The most requests under way on a connection; further commands wait in their channel.
const MAX_ASKED: usize = 256;
/// With so many bytes of requests unsent, no more are made.
const MAX_UNSENT: usize = 64 << 10;

/// What was asked.
#[derive(Debug)]
pub(super) enum Asked {
    Describe,
    Interest { files: bool },
    Hashes { key: Key, first: u32 },
    Get { piece: u32, range: ByteRange, any: bool, cancelled: bool },
}

impl Connection {
    /// Everything that the first piece needs to be asked for, in one packet. Where dozens fetch
    /// the same, the hashes from each of the others would be a hundredth of all that is sent.
    pub(super) fn open(&mut self) {
        let interest = self.options.interest.clone();
        let key = interest.key.clone();
        encode(&Message::Version(VERSION), &mut self.unsent);
        self.ask(Request::Describe(key.clone()), Asked::Describe);
        let files = interest.files;
        self.ask(Request::Interest(interest), Asked::Interest { files });
        self.opening.hashes = !self.options.hashes_known.load(Ordering::Acquire);
        if self.opening.hashes {
            self.ask(Request::Hashes { key: key.clone(), first: 0 }, Asked::Hashes { key, first: 0 });
        }
    }

    fn ask(&mut self, request: Request, asked: Asked) {
        encode(&Message::Request(request), &mut self.unsent);
        self.asked.push_back(asked);
    }

    /// Whether there is room for another request.
    pub(super) fn has_room(&self) -> bool {
        self.asked.len() < MAX_ASKED && self.unsent.len() < MAX_UNSENT
    }

    /// Does what the driver says.
    pub(super) fn command(&mut self, command: SourceCommand) {
        let interest = self.options.interest.clone();
        match command {
            SourceCommand::Get { piece, any } => match self.sink.range(piece) {
                Some(range) => {
                    let asked = Asked::Get { piece, range: range.clone(), any, cancelled: false };
                    self.ask(Request::Get { range, any }, asked);
                }
                None => {
                    let error = ErrorAnswer::new(ErrorCode::NotHere, "there is no such piece");
                    self.untold.push_back(SourceEvent::Refused { piece, error });
                }
            },
            SourceCommand::Cancel { piece } => {
                for asked in &mut self.asked {
                    if let Asked::Get { piece: asked, range, cancelled, .. } = asked
                        && *asked == piece
                        && !*cancelled
                    {
                        *cancelled = true;
                        encode(&Message::Cancel(range.clone()), &mut self.unsent);
                        return;
                    }
                }
            }
            SourceCommand::News { files, pieces } => {
                for pieces in pieces.chunks(MAX_NEWS) {
                    let news = News { key: interest.key.clone(), files, pieces: pieces.to_vec() };
                    encode(&Message::News(news), &mut self.unsent);
                }
            }
            SourceCommand::Hashes { key, first } => {
                self.ask(Request::Hashes { key: key.clone(), first }, Asked::Hashes { key, first });
            }
            SourceCommand::Files => {
                let interest = Interest { files: true, ..interest };
                self.ask(Request::Interest(interest), Asked::Interest { files: true });
            }
        }
    }
}
