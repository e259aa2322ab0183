//! Whose turn it is, input by input.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;

const CONTENT: Served = Served { root: Root::new([7; 32]), files: false };
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn want(piece: u32, any: bool) -> Want {
    let wishes = vec![Wish { piece: Some(piece), any }];
    Want { from: HOST, served: CONTENT, count: 4, complete: true, wishes, copies: 0, has: 0 }
}

/// Of wants of one piece each.
fn grants(upload: &mut Upload) -> Vec<(ConnectionId, Option<u32>)> {
    let one = |grant: Grant| {
        assert_eq!(grant.pieces.len(), 1);
        (grant.connection, grant.pieces[0])
    };
    std::iter::from_fn(|| upload.poll_output()).map(one).collect()
}

/// Has each connection want a piece and be sent it at once.
fn sent(upload: &mut Upload, wants: &[(ConnectionId, u32, bool)]) -> Vec<u32> {
    wants
        .iter()
        .map(|(connection, piece, any)| {
            upload.handle(UploadInput::Wants(*connection, want(*piece, *any)));
            let granted = grants(upload);
            upload.handle(UploadInput::Sent { connection: *connection, bytes: 0, at: Instant::ZERO });
            assert_eq!((granted.len(), granted[0].0), (1, *connection));
            granted[0].1.unwrap()
        })
        .collect()
}

#[test]
fn a_holder_sends_each_piece_once_before_it_sends_one_twice() {
    let mut upload = Upload::default();
    let round = [(1, 2, true), (2, 2, true), (3, 2, true), (4, 0, true)];
    let mut pieces = sent(&mut upload, &round);
    assert_eq!(pieces[0], 2, "what was wanted, as long as it was not sent");
    pieces.sort_unstable();
    assert_eq!(pieces, [0, 1, 2, 3]);
    assert_eq!(sent(&mut upload, &[(1, 3, true), (2, 3, true)]), [3, 3], "then as wanted");
}

#[test]
fn who_does_not_leave_the_choice_gets_what_it_wants() {
    let mut upload = Upload::default();
    assert_eq!(sent(&mut upload, &[(1, 2, false), (2, 2, false)]), [2, 2]);
}

#[test]
fn nobody_is_sent_what_it_is_known_to_have() {
    let mut upload = Upload::default();
    let pieces = vec![0, 1];
    upload.handle(UploadInput::Knows { connection: 2, served: CONTENT, count: 4, pieces });
    assert_eq!(sent(&mut upload, &[(1, 2, true), (2, 2, true), (2, 2, true)]), [2, 3, 2]);
}

#[test]
fn what_may_not_have_arrived_counts_as_unsent() {
    let mut upload = Upload::default();
    assert_eq!(sent(&mut upload, &[(1, 0, true)]), [0]);
    upload.handle(UploadInput::Wants(2, want(1, true)));
    assert_eq!(grants(&mut upload), [(2, Some(1))]);
    upload.handle(UploadInput::Gone(2));
    let mut rest = sent(&mut upload, &[(1, 0, true), (1, 0, true), (1, 0, true)]);
    rest.sort_unstable();
    assert_eq!(rest, [1, 2, 3]);
}

#[test]
fn connections_take_turns_and_who_stalls_lends_its_slot() {
    let mut upload = Upload::new(UploadConfig { slots: Some(1), seed: 0 });
    for connection in 1..=3 {
        upload.handle(UploadInput::Wants(connection, want(0, false)));
    }
    assert_eq!(grants(&mut upload), [(1, Some(0))]);
    upload.handle(UploadInput::Stalled(1));
    assert_eq!(grants(&mut upload), [(2, Some(0))]);
    upload.handle(UploadInput::Sent { connection: 1, bytes: 0, at: Instant::ZERO });
    upload.handle(UploadInput::Wants(1, want(1, false)));
    assert_eq!(grants(&mut upload), []);
    upload.handle(UploadInput::Unwanted(3));
    upload.handle(UploadInput::Sent { connection: 2, bytes: 0, at: Instant::ZERO });
    assert_eq!(grants(&mut upload), [(1, Some(1))]);
}

#[test]
fn who_has_least_comes_first_then_the_rarest_piece_and_nobody_waits_for_ever() {
    let mut upload = Upload::new(UploadConfig { slots: Some(1), seed: 0 });
    let want = |has, copies| Want { has, copies, complete: false, ..want(0, false) };
    upload.handle(UploadInput::Wants(9, want(4, 9)));
    for (connection, has, copies) in [(1, 3, 5), (2, 3, 2), (3, 0, 5)] {
        upload.handle(UploadInput::Wants(connection, want(has, copies)));
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let Grant { connection, .. } = upload.poll_output().unwrap();
        order.push(connection);
        upload.handle(UploadInput::Sent { connection, bytes: 0, at: Instant::ZERO });
    }
    assert_eq!(order, [9, 3, 2, 1]);
    // One that is always passed over.
    upload.handle(UploadInput::Wants(1, want(1, 1)));
    upload.handle(UploadInput::Wants(2, want(4, 9)));
    let mut granted = 0;
    for connection in 10..20 {
        upload.handle(UploadInput::Wants(connection, want(1, 1)));
        let grant = upload.poll_output().unwrap();
        upload.handle(UploadInput::Sent { connection: grant.connection, bytes: 0, at: Instant::ZERO });
        granted += 1;
        if grant.connection == 2 {
            break;
        }
    }
    assert!(granted < 10, "{granted}");
}

#[test]
fn who_never_says_what_its_pieces_are_of_gets_no_more_than_others() {
    let mut upload = Upload::new(UploadConfig { slots: Some(1), seed: 0 });
    let mut granted = [0; 11];
    let wants = |connection: ConnectionId, piece| {
        let piece = (connection > 0).then_some(piece);
        let wishes = vec![Wish { piece, any: false }];
        UploadInput::Wants(connection, Want { count: 100, wishes, ..want(0, false) })
    };
    (0..11).for_each(|connection| upload.handle(wants(connection, 0)));
    for _ in 0..220 {
        let Grant { connection, .. } = upload.poll_output().unwrap();
        granted[connection as usize] += 1;
        upload.handle(UploadInput::Sent { connection, bytes: 0, at: Instant::ZERO });
        upload.handle(wants(connection, granted[connection as usize]));
    }
    assert!((1..=20).contains(&granted[0]), "{granted:?}");
}

#[test]
fn nothing_is_kept_of_those_who_are_gone() {
    let mut upload = Upload::default();
    sent(&mut upload, &[(1, 0, true), (2, 1, true)]);
    upload.handle(UploadInput::Gone(1));
    upload.handle(UploadInput::Gone(2));
    assert!(upload.rounds.is_empty() && upload.known.0.is_empty() && upload.sending.is_empty());
}

#[test]
fn ranges_that_are_no_piece_and_partial_content_are_granted_as_they_are() {
    let mut upload = Upload::default();
    let part = Want { wishes: vec![Wish { piece: None, any: true }], ..want(0, true) };
    upload.handle(UploadInput::Wants(1, part));
    upload.handle(UploadInput::Wants(2, Want { complete: false, ..want(3, true) }));
    assert_eq!(grants(&mut upload), [(1, None), (2, None)]);
}

#[test]
fn several_are_chosen_in_one_turn_and_what_is_not_sent_is_chosen_again() {
    let mut upload = Upload::default();
    let wishes = vec![Wish { piece: Some(1), any: true }; 3];
    upload.handle(UploadInput::Wants(1, Want { wishes, ..want(0, true) }));
    let Grant { pieces, .. } = upload.poll_output().unwrap();
    assert_eq!(pieces, [Some(1), Some(0), Some(2)]);
    upload.handle(UploadInput::NotSent(1, 0));
    upload.handle(UploadInput::Sent { connection: 1, bytes: 0, at: Instant::ZERO });
    let mut rest = sent(&mut upload, &[(2, 1, true), (2, 1, true)]);
    rest.sort_unstable();
    assert_eq!(rest, [0, 3]);
}

#[test]
fn a_list_and_its_files_are_two_things() {
    let mut upload = Upload::default();
    assert_eq!(sent(&mut upload, &[(1, 0, true)]), [0]);
    let files = Served { files: true, ..CONTENT };
    upload.handle(UploadInput::Wants(2, Want { served: files, ..want(0, true) }));
    assert_eq!(grants(&mut upload), [(2, Some(0))]);
}

#[test]
fn more_are_sent_to_at_a_time_over_a_faster_link() {
    let ms = |ms: u64| Instant::from_nanos(ms * 1_000_000);
    // 250 ms at 10, 30, 100 and again 10 Mbit/s.
    for (mbits, slots) in [(vec![], 2), (vec![10], 2), (vec![30], 3), (vec![100], 4), (vec![100, 10], 2)] {
        let mut upload = Upload::default();
        for (i, mbit) in mbits.iter().enumerate() {
            let at = ms(250 * (i as u64 + 1));
            upload.handle(UploadInput::Sent { connection: 9, bytes: mbit * 125_000 / 4, at });
        }
        for connection in 1..=6 {
            upload.handle(UploadInput::Wants(connection, want(0, false)));
        }
        assert_eq!(grants(&mut upload).len(), slots, "{mbits:?} Mbit/s");
    }
}

/// Has a connection be sent a piece, and take it well.
fn proves(upload: &mut Upload, connection: ConnectionId) {
    upload.handle(UploadInput::Wants(connection, want(0, false)));
    assert_eq!(grants(upload), [(connection, Some(0))]);
    upload.handle(UploadInput::Sent { connection, bytes: 1, at: Instant::ZERO });
}

#[test]
fn who_takes_what_it_is_sent_never_waits_for_those_who_have_not() {
    let mut upload = Upload::new(UploadConfig { slots: Some(2), seed: 0 });
    proves(&mut upload, 9);
    for connection in 11..=40 {
        upload.handle(UploadInput::Wants(connection, want(0, false)));
    }
    assert_eq!(grants(&mut upload).len(), 2, "the turns that there are");
    for _ in 0..100 {
        upload.handle(UploadInput::Wants(9, Want { has: 3, ..want(0, false) }));
        assert_eq!(grants(&mut upload), [(9, Some(0))], "and one more");
        upload.handle(UploadInput::Sent { connection: 9, bytes: 1, at: Instant::ZERO });
        assert_eq!(grants(&mut upload), []);
    }
    // Whoever has been too slow has to show it again.
    upload.handle(UploadInput::Wants(9, want(0, false)));
    upload.handle(UploadInput::Stalled(9));
    upload.handle(UploadInput::Sent { connection: 9, bytes: 1, at: Instant::ZERO });
    assert_eq!(grants(&mut upload), [(9, Some(0))]);
    upload.handle(UploadInput::Wants(9, want(0, false)));
    assert_eq!(grants(&mut upload), []);
}

#[test]
fn who_comes_new_need_not_wait_for_all_of_a_host_with_many_connections() {
    let mut upload = Upload::new(UploadConfig { slots: Some(1), seed: 0 });
    for connection in 1..=30 {
        upload.handle(UploadInput::Wants(connection, want(0, false)));
    }
    let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    upload.handle(UploadInput::Wants(99, Want { from, has: 3, ..want(0, false) }));
    assert_eq!(grants(&mut upload), [(1, Some(0))]);
    upload.handle(UploadInput::Stalled(1));
    assert_eq!(grants(&mut upload), [(99, Some(0))]);
    // Those that are gone do not count.
    for connection in 1..=29 {
        upload.handle(UploadInput::Gone(connection));
    }
    upload.handle(UploadInput::Wants(98, Want { from, has: 3, ..want(0, false) }));
    upload.handle(UploadInput::Sent { connection: 99, bytes: 1, at: Instant::ZERO });
    assert_eq!(grants(&mut upload), [(30, Some(0))]);
}

#[test]
fn what_must_be_taken_to_keep_a_turn_grows_with_the_uplink() {
    let mut upload = Upload::new(UploadConfig { slots: Some(2), seed: 0 });
    let little = upload.least_pace();
    let mut at = Instant::ZERO;
    for _ in 0..8 {
        at = at + Duration::from_millis(250);
        upload.handle(UploadInput::Sent { connection: 1, bytes: 250_000_000, at });
    }
    let much = upload.least_pace();
    assert!(little < much && much < 1_000_000_000 / 2, "{little}, {much}");
}
