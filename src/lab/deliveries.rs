//! What was delivered in a run, in words and as JSON.

use askaround_core::id::PeerId;
use askaround_node::delivery::stock::Delivered;
use serde_json::{Value, json};

use crate::live::units::bytes;

/// The deliveries of a run, each by whom it was wanted.
pub(super) type Deliveries = Vec<(PeerId, Delivered)>;

/// Those that failed, a line each.
pub(super) fn failed(deliveries: &Deliveries) -> impl Iterator<Item = String> {
    deliveries.iter().filter_map(|(peer, delivered)| {
        let Delivered { key, from, failed, .. } = delivered;
        Some(format!("client {peer}: {key} did not come from client {}: {}", from.id, failed.as_ref()?))
    })
}

/// The sum, in one line.
pub(super) fn summary(deliveries: &Deliveries) -> String {
    let (came, moved, failed) = sums(deliveries);
    let came = match came {
        0 if failed == 0 => return "nothing was to be delivered: no key was found at another peer\n".into(),
        1 => "1 delivery".to_owned(),
        came => format!("{came} deliveries"),
    };
    let failed = match failed {
        0 => String::new(),
        failed => format!("; {failed} more failed, see above"),
    };
    format!("{came} over TCP, {} in all, each verified whole{failed}\n", bytes(moved))
}

/// The sums, and each delivery in its order.
pub(super) fn json(deliveries: &Deliveries) -> Value {
    let (came, moved, failed) = sums(deliveries);
    let each = deliveries.iter().map(|(peer, delivered)| {
        json!({
            "peer": peer,
            "key": delivered.key,
            "from": delivered.from.id,
            "bytes": delivered.bytes,
            "verified": delivered.failed.is_none(),
            "why": delivered.failed,
        })
    });
    json!({ "verified": came, "failed": failed, "bytes": moved, "each": each.collect::<Vec<_>>() })
}

/// How many came, with how many bytes, and how many failed.
fn sums(deliveries: &Deliveries) -> (u64, u64, u64) {
    let came: Vec<_> = deliveries.iter().filter(|(_, delivered)| delivered.failed.is_none()).collect();
    let moved = came.iter().map(|(_, delivered)| delivered.bytes).sum();
    (came.len() as u64, moved, (deliveries.len() - came.len()) as u64)
}
