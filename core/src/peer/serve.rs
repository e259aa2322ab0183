//! What a peer answers others (PROTOCOL.md §3), from its lists and without changing anything.

use super::Peer;
use crate::id::PeerId;
use crate::key::Key;
use crate::message::{Answer, ErrorAnswer, ErrorCode, HaveAnswer, Page, Request};

/// A page of keys holds at most so many bytes of text, so that it fits a line even if every
/// character has to be escaped (PROTOCOL.md §1.1).
const MAX_PAGE_BYTES: usize = 30_000;

impl Peer {
    /// Answers another peer (PROTOCOL.md §3).
    pub(super) fn serve(&self, request: &Request) -> Result<Answer, ErrorAnswer> {
        match request {
            Request::Have(key) => Ok(Answer::Have(self.have(key))),
            Request::Known(page) => {
                let before = page.after.map(PeerId::new).transpose();
                // Nothing stands behind a number that is no id.
                let Ok(before) = before else {
                    return Ok(Answer::Peers { peers: Vec::new(), next: None });
                };
                let mut rest = self.originators.peers(before);
                let peers: Vec<_> = rest.by_ref().take(page.limit).collect();
                let next = rest.next().and(peers.last()).map(|peer| peer.id.as_u64());
                Ok(Answer::Peers { peers, next })
            }
            Request::Contents(page) => Ok(self.contents_page(*page)),
            Request::Register(_) | Request::Unregister { .. } | Request::List(_) | Request::WhereIs(_) => {
                Err(ErrorAnswer::new(ErrorCode::NotServed, "a peer keeps no register: ask the tracker"))
            }
            // Where there is content, the driver serves it without asking the machine.
            Request::Describe(_) | Request::Hashes { .. } | Request::Interest(_) | Request::Get { .. } => {
                Err(ErrorAnswer::new(ErrorCode::NotServed, "this peer delivers no content"))
            }
        }
    }

    fn have(&self, key: &Key) -> HaveAnswer {
        if self.contents.contains(key) {
            return HaveAnswer::Have;
        }
        let hint = self.originators.sender_of(key);
        if self.fetching.contains(key) {
            return HaveAnswer::Fetching(hint);
        }
        hint.map_or(HaveAnswer::No, HaveAnswer::Hint)
    }

    fn contents_page(&self, page: Page) -> Answer {
        let (mut keys, mut bytes, mut last) = (Vec::new(), 0, 0);
        for (serial, key) in self.contents.page(page.after.unwrap_or(0), page.limit) {
            bytes += key.as_str().len();
            if bytes > MAX_PAGE_BYTES {
                break;
            }
            keys.push(key.clone());
            last = serial;
        }
        let next = (!keys.is_empty() && self.contents.has_after(last)).then_some(last);
        Answer::Keys { keys, next }
    }
}
