//! What tests of a fetch begin with.

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::Description;
use askaround_core::pieces::Root;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{Delivery, DeliveryOptions, GetEvent, GetRequest};
use super::{Fetch, Kind};
use crate::content::Catalogue;
use crate::lock;
use crate::peer::{Orders, PeerHandle};

/// A peer without content, and what its machine is told.
pub(super) fn delivery() -> (Delivery, Orders) {
    let me = Contact::new(PeerId::new(1).unwrap(), "127.0.0.1:7".parse().unwrap());
    let (peer, orders) = PeerHandle::new();
    let catalogue = Catalogue::temporary().unwrap();
    (Delivery::new(me, catalogue, peer, DeliveryOptions::default()).0, orders)
}

/// A fetch that has not looked for anybody, and what it tells.
pub(super) fn fetch(key: &Key) -> (Fetch, mpsc::Receiver<GetEvent>) {
    let delivery = delivery().0;
    let request = GetRequest { key: key.clone(), to: "x".into(), from: vec![], in_place: false };
    let job = lock(&delivery.0.active).begin(key, &request.to, false).unwrap();
    let (events, told) = mpsc::channel(9);
    (Fetch::new(delivery, &request, Kind::Wanted, job, events, CancellationToken::new()), told)
}

/// What a source says of a file.
pub(super) fn file(root: Root, size: u64) -> Description {
    Description { root, size, md5: None, collection: false, sparse: false }
}
