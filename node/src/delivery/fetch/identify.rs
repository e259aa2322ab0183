//! What a key names: whoever has it describes it, and the first description whose piece hashes fit
//! is believed until it turns out to be wrong (`rivals`).

use std::sync::Arc;

use askaround_core::download::SourceId;
use askaround_core::id::Contact;
use askaround_core::message::ErrorCode;
use askaround_core::peer::AskError;
use askaround_core::pieces::{Geometry, Manifest};
use askaround_core::search::Holder;

use super::super::error::GetError;
use super::super::sources::Source;
use super::super::types::GetEvent;
use super::proving::Waits;
use super::searches::Searched;
use super::{Fetch, Identity};
use crate::sleep_until;
use crate::transfer::source::{Opened, SourceCommand, SourceEvent};

/// Why whoever describes what came under an md5, and does not have it, is no source.
pub(super) const WRONG: &str = "it describes what turned out not to be it";

impl Fetch {
    /// Finds somebody who can say what the key names.
    pub(super) async fn identify(&mut self) -> Result<Identity, GetError> {
        loop {
            if let Some(identity) = &self.identity {
                return Ok(identity.clone());
            }
            if self.has_lost_its_turn() {
                self.next_turn().await?;
                continue;
            }
            if self.only_doubted_are_left() {
                self.believe_again();
                self.ask_all().await?;
                continue;
            }
            self.search_if_due();
            if self.has_nobody()
                && let Some(searched) = self.searches.last.clone()
            {
                if let Some(error) = self.no_room.take() {
                    return Err(error);
                }
                let why = self.sources.complaints();
                return Err(match why.is_empty() {
                    true => {
                        let Searched { asked, truncated, silent, tracker_failed: tracker } = searched;
                        GetError::NotFound { key: self.key.clone(), asked, truncated, silent, tracker }
                    }
                    false => GetError::NoSource { key: self.key.clone(), why },
                });
            }
            tokio::select! {
                Some((id, event)) = self.incoming.recv() => self.heard_first(id, event).await?,
                Some(holder) = self.searches.holders.recv() => {
                    self.add_holder(holder);
                }
                Some(over) = self.searches.running.join_next() => self.search_over(over?)?,
                () = tokio::time::sleep_until(self.searches.next_at), if self.may_search() => {}
                () = sleep_until(self.proving.until()) => self.pass_on().await?,
            }
        }
    }

    /// What a source says while nothing is asked for yet.
    pub(super) async fn heard_first(&mut self, id: SourceId, event: SourceEvent) -> Result<(), GetError> {
        match event {
            SourceEvent::Opened(opened) => {
                self.opened(id, opened);
                self.ask_or_prove(id).await
            }
            SourceEvent::Hashes { first, hashes, .. } => {
                let is_last = hashes.is_empty();
                if !self.more_hashes(id, first, hashes) {
                    return Ok(());
                }
                if is_last {
                    self.lost(id, "it has not all piece hashes", false);
                }
                self.ask_or_prove(id).await
            }
            SourceEvent::Gone(error) => {
                self.gone(id, &error);
                Ok(())
            }
            SourceEvent::News { files: false, pieces } => {
                self.has_more(id, &pieces);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Has everybody that described something prove it.
    pub(super) async fn ask_all(&mut self) -> Result<(), GetError> {
        for id in self.sources.ids() {
            self.ask_or_prove(id).await?;
        }
        Ok(())
    }

    /// Asks for the rest of the hashes, or sees whether they prove the description.
    async fn ask_or_prove(&mut self, id: SourceId) -> Result<(), GetError> {
        let Some(opened) = self.sources.opened(id) else { return Ok(()) };
        if self.identity.is_some() {
            return Ok(());
        }
        let description = &opened.description;
        if self.wrong.contains(&description.root) {
            self.lost(id, WRONG, false);
            return Ok(());
        }
        if self.doubts.include(description) {
            return Ok(());
        }
        match self.turn_of(id) {
            Err(Waits) => return Ok(()),
            Ok(Some(first)) => {
                let key = self.key.clone();
                self.say(id, SourceCommand::Hashes { key, first });
                return Ok(());
            }
            Ok(None) => {}
        }
        let Some(Opened { description, hashes, .. }) = self.sources.opened(id) else { return Ok(()) };
        let (description, hashes) = (description.clone(), hashes.clone());
        let proven = self.work.run(move |_| {
            let manifest = Manifest::from_bytes(description.root, description.size, &hashes);
            manifest.map(|manifest| Identity { manifest: Arc::new(manifest), description })
        });
        match proven.await? {
            Ok(identity) => self.identified(identity),
            Err(error) => self.lost(id, &error.to_string(), true),
        }
        Ok(())
    }

    /// What the key names is known.
    pub(super) fn identified(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.proving.end();
        self.sources.know_hashes(true);
    }

    /// A source has got more of the content itself. Whenever it takes part, that counts.
    pub(super) fn has_more(&mut self, id: SourceId, pieces: &[u32]) {
        if let Some(opened) = self.sources.opened_mut(id) {
            let count = Geometry::new(opened.description.size).map_or(0, |geometry| geometry.count());
            opened.has.add(count, pieces);
        }
    }

    /// A source has said what it has.
    pub(super) fn opened(&mut self, id: SourceId, opened: Opened) {
        let Some(source) = self.sources.get_mut(id) else { return };
        source.opened = Some(opened);
        let event = GetEvent::Source { addr: source.addr, peer: source.contact, how: source.how.clone() };
        self.tell(event);
    }

    /// Somebody was found. Who had to make room, if anybody.
    pub(super) fn add_holder(&mut self, holder: Holder) -> Option<SourceId> {
        let wanted = holder.complete && self.sources.is_wanted(holder.peer.addr(), Some(holder.peer));
        let in_the_way = self.sources.in_the_way().filter(|_| wanted);
        if let Some(id) = in_the_way {
            self.lost(id, "it makes room for one that holds it", false);
        }
        let how = holder.reason.to_string();
        let how = if holder.complete { how } else { format!("{how}; it is fetching it too") };
        self.sources.open(holder.peer.addr(), Some(holder.peer), how, !holder.complete);
        in_the_way
    }

    /// Tells a source what to do. It is lost if it is too far behind.
    pub(super) fn say(&mut self, id: SourceId, command: SourceCommand) -> bool {
        let told = self.sources.tell(id, command);
        if !told {
            self.lost(id, "it is too far behind with what it was asked", false);
        }
        told
    }

    pub(super) fn lost(&mut self, id: SourceId, why: &str, blame: bool) {
        if let Some(addr) = self.sources.lose(id, why, blame) {
            self.tell(GetEvent::Lost { addr, why: why.to_owned() });
        }
    }

    pub(super) fn gone(&mut self, id: SourceId, error: &AskError) {
        // Who fetches too may be asked before it has found out itself what the key names.
        let too_early = |source: &Source| source.fetches && source.opened.is_none();
        if let AskError::Refused(refused) = error
            && refused.code == ErrorCode::UnknownKey
            && self.sources.get(id).is_some_and(too_early)
        {
            self.sources.forget(id);
            return;
        }
        // Nobody looked for whoever asked by itself: it may have named a port where nobody is.
        if self.sources.get(id).is_some_and(|source| source.asked_itself && source.opened.is_none()) {
            self.sources.forget(id);
            return;
        }
        self.lost(id, &error.to_string(), matches!(error, AskError::Misbehaved(_)));
    }

    /// Tells whoever asked for the fetch. It may be slow or gone: the fetch goes on.
    pub(super) fn tell(&self, event: GetEvent) {
        let _ = self.events.try_send(event);
    }

    pub(super) fn note(&self, text: String) {
        self.tell(GetEvent::Note { text });
    }

    /// Takes this source, which a search has found before.
    pub(super) fn only_from(&mut self, peer: Contact) {
        self.sources.open(peer.addr(), Some(peer), "it was found before".into(), false);
        self.searches.last = Some(Searched { asked: 1, truncated: false, silent: 0, tracker_failed: None });
    }
}
