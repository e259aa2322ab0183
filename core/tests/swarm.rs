//! Flash crowds in virtual time: one holder and many who fetch, each with an uplink of its own,
//! all played by the machines that ship. How close the last comes to the lower bound of Kurose and
//! Ross (Computer Networking, §2.5), and that every swarm ends.

mod support;

use std::time::Duration;

use support::{Crowd, Swarm};

/// The lower bound, in seconds: nobody has all before the holder has sent all once, the slowest
/// has received all, and the uplinks together have sent everybody's share.
fn bound(crowd: &Crowd) -> f64 {
    let bits = crowd.size() as f64 * 8.0;
    let n = crowd.fetchers as f64;
    let together = n * bits / (crowd.seed_up + n * crowd.up);
    (bits / crowd.seed_up).max(bits / crowd.down).max(together)
}

/// Plays a crowd to its end and gives the time of the last as a multiple of the bound.
fn play(crowd: &Crowd) -> f64 {
    let report = Swarm::new(crowd).run();
    let ratio = report.last_seconds / bound(crowd);
    assert_eq!(report.finished, crowd.fetchers, "{crowd:?}: {report:?}");
    ratio
}

#[test]
fn small_crowds_finish_close_to_the_bound() {
    for crowd in [
        Crowd::default(),
        Crowd { fetchers: 32, ..Crowd::default() },
        Crowd { seed_up: 200e6, ..Crowd::default() },
    ] {
        let ratio = play(&crowd);
        assert!(ratio < 1.06, "{ratio:.3} for {crowd:?}");
    }
    // With so few pieces the first and the last of them cost more.
    let slow = Crowd { fetchers: 24, up: 10e6, seed_up: 10e6, pieces: 256, ..Crowd::default() };
    assert!(play(&slow) < 1.10);
}

/// What comes twice is paid for with an uplink.
#[test]
fn hardly_any_piece_comes_twice() {
    for latency in [1, 20].map(Duration::from_millis) {
        for (fetchers, up, pieces) in [(8, 40e6, 512), (24, 10e6, 256), (32, 40e6, 512)] {
            let crowd = Crowd { fetchers, up, seed_up: up, pieces, latency, ..Crowd::default() };
            let report = Swarm::new(&crowd).run();
            let all = fetchers as u64 * u64::from(pieces);
            assert!(report.duplicates * 100 < all, "{crowd:?}: {report:?}");
        }
    }
}

/// There a turn is waited for longer than a source may be silent elsewhere: nobody is dropped for that (the
/// swarm would end with a panic), and hardly anything is asked of others too.
#[test]
fn behind_slow_uplinks_everybody_waits_for_its_turn() {
    for (pieces, most, twice) in [(64, 1.16, 7), (512, 1.02, 2)] {
        for seed in 1..=5 {
            let (fetchers, up) = (12, 0.5e6);
            let crowd = Crowd { fetchers, up, seed_up: up, pieces, seed, ..Crowd::default() };
            let report = Swarm::new(&crowd).run();
            let ratio = report.last_seconds / bound(&crowd);
            assert!(ratio < most, "{ratio:.3} for {crowd:?}");
            let all = fetchers as u64 * u64::from(pieces);
            assert!(report.duplicates * 100 < all * twice, "{crowd:?}: {report:?}");
        }
    }
}

/// Requests have to be under way for as long as the path takes, and not only one after the other.
#[test]
fn a_long_path_is_filled_too() {
    let far = Crowd { pieces: 512, latency: Duration::from_millis(100), ..Crowd::default() };
    for fetchers in [1, 8] {
        let ratio = play(&Crowd { fetchers, ..far.clone() });
        assert!(ratio < 1.25, "{ratio:.3} for {fetchers}");
    }
}

#[test]
fn a_holder_that_has_sent_everything_once_may_leave() {
    let crowd = Crowd { seed_leaves: true, ..Crowd::default() };
    play(&crowd);
}

/// Also when all who are complete leave as soon as they may, and the content is with nobody else.
#[test]
fn whoever_is_complete_leaves_and_nobody_is_left_behind() {
    let longest_stay = Some(Duration::from_secs(30));
    for seed in 1..=10 {
        for fetchers in [2, 3, 8, 24] {
            let crowd = Crowd {
                fetchers,
                pieces: 64,
                seed_leaves: true,
                longest_stay,
                up: if seed % 2 == 0 { 40e6 } else { 10e6 },
                seed,
                ..Crowd::default()
            };
            play(&crowd);
        }
    }
    for seed_leaves in [false, true] {
        let crowd = Crowd {
            fetchers: 200,
            pieces: 256,
            neighbours: 16,
            seed_leaves,
            longest_stay,
            ..Crowd::default()
        };
        play(&crowd);
    }
}

#[test]
fn a_thousand_finish_within_a_twentieth_of_the_bound() {
    let crowd = Crowd { fetchers: 1000, neighbours: 16, ..Crowd::default() };
    let ratio = play(&crowd);
    assert!(ratio < 1.05, "{ratio:.3}");
}
