//! [`Queue`]: what is to happen, in order. Events go by time, those of one time in the order in
//! which they were put in; a timer comes after the events of its time, the tracker's before the
//! peers', and those by number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use askaround_core::Instant;

use super::rule::Place;

/// What is to happen next.
#[derive(Debug)]
pub(super) enum Next<E> {
    Event(E),
    /// This machine may want to be called.
    Timer(Place),
}

/// Entries are small and sorted; the events themselves stay where they are.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    /// The number of an event, or [`TIMER`] and a place.
    order: u64,
    slot: u32,
}

/// Set in the order of a timer, so that it comes after every event.
const TIMER: u64 = 1 << 63;

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), sent: 0 }
    }

    pub(super) fn push(&mut self, at: Instant, event: E) {
        self.sent += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            u32::try_from(self.events.len() - 1).expect("fewer than 2³² events are under way")
        });
        self.events[slot as usize] = Some(event);
        self.heap.push(Reverse(Entry { at, order: self.sent, slot }));
    }

    /// Timers are not taken out again: whoever pops one looks whether it still counts.
    pub(super) fn push_timer(&mut self, at: Instant, place: Place) {
        let number = match place {
            Place::Tracker => 0,
            Place::Peer(peer) => u64::from(peer) + 1,
        };
        self.heap.push(Reverse(Entry { at, order: TIMER | number, slot: u32::MAX }));
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, Next<E>)> {
        let Reverse(entry) = self.heap.pop()?;
        if entry.order & TIMER != 0 {
            let place = match u32::try_from(entry.order & !TIMER) {
                Ok(number @ 1..) => Place::Peer(number - 1),
                _ => Place::Tracker,
            };
            return Some((entry.at, Next::Timer(place)));
        }
        let event = self.events[entry.slot as usize].take()?;
        self.free.push(entry.slot);
        Some((entry.at, Next::Event(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_time_then_in_order_and_timers_come_last() {
        let at = Instant::from_nanos;
        let mut queue = Queue::new();
        queue.push_timer(at(1), Place::Peer(3));
        queue.push_timer(at(1), Place::Tracker);
        queue.push(at(2), "c");
        queue.push(at(1), "a");
        queue.push(at(1), "b");
        queue.push(at(0), "z");
        let mut seen = Vec::new();
        while let Some((at, next)) = queue.pop() {
            seen.push(format!("{} {next:?}", at.as_nanos()));
        }
        let expected = [
            "0 Event(\"z\")",
            "1 Event(\"a\")",
            "1 Event(\"b\")",
            "1 Timer(Tracker)",
            "1 Timer(Peer(3))",
            "2 Event(\"c\")",
        ];
        assert_eq!(seen, expected);
    }
}
