//! [`Network`]: the peers of the model, their addresses, and what they turn out to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use askaround_core::PeerId;
use askaround_core::id::Contact;
use askaround_core::search::Ask;

/// The searcher; the others are the numbers from 0 on. Its id lies among theirs.
pub(super) const ME: usize = 99;

/// As far as it has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Network {
    pub(super) says: BTreeMap<usize, Says>,
    pub(super) lists: BTreeMap<Whose, Vec<usize>>,
    pub(super) crashed: BTreeSet<Whose>,
    /// Whom the searcher once got the key from.
    pub(super) originator: Option<usize>,
}

/// What a peer answers about the key; a hint may lead to the searcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Says {
    /// It has it.
    Have,
    /// It has not.
    No,
    /// Somebody else had it.
    Hint(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Whose {
    Tracker,
    Own,
    Peer(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Asked {
    Have(usize),
    List(Whose),
}

pub(super) fn contact(peer: usize) -> Contact {
    // The searcher is the second by id.
    let (id, host) = match peer {
        ME => (2, 99),
        0 => (1, 1),
        n => (n as u64 + 2, n as u8 + 1),
    };
    let id = PeerId::new(id).expect("a small number");
    Contact { id, ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), port: 1 }
}

pub(super) fn number(peer: &Contact) -> usize {
    match peer.ip {
        IpAddr::V4(ip) if ip.octets()[3] == 99 => ME,
        IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => unreachable!("the model has none"),
    }
}

/// Who is asked what, and from where on.
pub(super) fn asked(ask: &Ask) -> (Asked, Option<u64>) {
    match ask {
        Ask::Have(peer) => (Asked::Have(number(peer)), None),
        Ask::Tracker(page) => (Asked::List(Whose::Tracker), page.after),
        Ask::Known(peer, page) => (Asked::List(Whose::Peer(number(peer))), page.after),
        Ask::OwnKnown => (Asked::List(Whose::Own), None),
    }
}

pub(super) fn whose(ask: &Ask) -> Whose {
    match asked(ask).0 {
        Asked::Have(peer) => Whose::Peer(peer),
        Asked::List(whose) => whose,
    }
}
