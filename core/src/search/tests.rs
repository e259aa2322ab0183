//! Searches over small networks, question by question.

use super::*;
use crate::id::PeerId;

fn peer(id: u64) -> Contact {
    Contact {
        id: PeerId::new(id).unwrap(),
        ip: [10, 0, 0, 1].into(),
        port: 9000 + u16::try_from(id).unwrap(),
    }
}

/// What each peer says: the key, a hint, and whom it knows.
#[derive(Default)]
struct Net {
    listed: Vec<u64>,
    have: Vec<u64>,
    fetching: Vec<u64>,
    hints: Vec<(u64, u64)>,
    known: Vec<(u64, Vec<u64>)>,
    dead: Vec<u64>,
}

impl Net {
    /// Runs a search of peer 1 and writes down each question in short.
    fn search(&self, originator: Option<u64>, width: usize) -> (SearchResult, Vec<String>) {
        self.search_as(originator, SearchConfig { width, ..SearchConfig::default() }, Failure::Other)
    }

    /// The same; whoever is dead fails in this way.
    fn search_as(
        &self,
        originator: Option<u64>,
        config: SearchConfig,
        failure: Failure,
    ) -> (SearchResult, Vec<String>) {
        let width = config.width;
        let mut search = Search::new(peer(1), originator.map(peer), config);
        let mut asked = Vec::new();
        loop {
            let batch: Vec<_> = std::iter::from_fn(|| search.next()).collect();
            assert!(batch.len() <= width);
            if let Some(result) = search.result() {
                return (result.clone(), asked);
            }
            assert!(!batch.is_empty(), "a search that neither asks nor ends");
            for question in batch {
                asked.push(match &question.ask {
                    Ask::Tracker(_) => "L".into(),
                    Ask::Have(p) => format!("Q{}", p.id),
                    Ask::Known(p, _) => format!("O{}", p.id),
                    Ask::OwnKnown => "O1".into(),
                });
                match self.reply(&question.ask) {
                    Some(reply) => search.on_answer(question.number, reply),
                    None => _ = search.on_failure(question.number, failure),
                }
            }
        }
    }

    fn reply(&self, ask: &Ask) -> Option<Reply> {
        let peers =
            |ids: &[u64]| Reply::Peers { peers: ids.iter().map(|id| peer(*id)).collect(), next: None };
        let known = |id: u64| self.known.iter().find(|k| k.0 == id).map_or(&[][..], |k| &k.1);
        if ask.peer().is_some_and(|(id, _)| self.dead.contains(&id.as_u64())) {
            return None;
        }
        Some(match ask {
            Ask::Tracker(_) => peers(&self.listed),
            Ask::OwnKnown => peers(known(1)),
            Ask::Known(p, _) => peers(known(p.id.as_u64())),
            Ask::Have(p) => {
                let id = p.id.as_u64();
                let hint = self.hints.iter().find(|h| h.0 == id);
                Reply::Have(match hint {
                    _ if self.have.contains(&id) => HaveAnswer::Have,
                    _ if self.fetching.contains(&id) => HaveAnswer::Fetching(hint.map(|h| peer(h.1))),
                    Some((_, to)) => HaveAnswer::Hint(peer(*to)),
                    None => HaveAnswer::No,
                })
            }
        })
    }
}

fn asked(net: &Net, originator: Option<u64>) -> String {
    net.search(originator, 1).1.join(" ")
}

const NOT_FOUND: SearchResult = SearchResult::NotFound { truncated: false };

#[test]
fn the_list_is_asked_in_order_and_a_hint_before_the_next_of_the_list() {
    let net = Net { listed: vec![1, 2, 3, 4], hints: vec![(2, 9)], have: vec![4], ..Net::default() };
    let (result, asked) = net.search(None, 1);
    assert_eq!(asked.join(" "), "L Q2 Q9 Q3 Q4");
    assert_eq!(result, SearchResult::Found(peer(4), Reason::Listed));
}

#[test]
fn the_own_originator_is_asked_first_and_its_hint_followed_only_at_its_place() {
    let net = Net { listed: vec![2, 3], hints: vec![(3, 9)], have: vec![9], ..Net::default() };
    assert_eq!(asked(&net, Some(3)), "Q3 L Q2 Q9");
}

#[test]
fn two_further_hints_are_followed_and_no_third() {
    let hints = vec![(2, 11), (11, 12), (12, 13), (13, 14)];
    let net = Net { listed: vec![2], hints, have: vec![14], ..Net::default() };
    assert_eq!(asked(&net, None), "L Q2 Q11 Q12 Q13 O2 O1");
    let (result, _) = Net { have: vec![13], ..net }.search(None, 1);
    assert_eq!(result, SearchResult::Found(peer(13), Reason::Hint { by: peer(12), further: 2 }));
}

#[test]
fn hints_in_a_loop_and_hints_to_the_searcher_end() {
    let net = Net { listed: vec![2, 3, 4], hints: vec![(2, 3), (3, 2), (4, 1)], ..Net::default() };
    let (result, asked) = net.search(None, 1);
    assert_eq!(asked.join(" "), "L Q2 Q3 Q4 O2 O3 O4 O1");
    assert_eq!(result, NOT_FOUND);
}

#[test]
fn an_answer_known_from_before_is_reused_and_its_hint_followed() {
    // 14 is first met at the end of a chain, where its hint is not followed; as a listed peer it is.
    let hints = vec![(2, 11), (11, 12), (12, 14), (14, 9)];
    let net = Net { listed: vec![2, 14], hints, have: vec![9], ..Net::default() };
    assert_eq!(asked(&net, None), "L Q2 Q11 Q12 Q14 Q9");
}

#[test]
fn the_longer_list_goes_on_level_by_level() {
    let known = vec![(2, vec![5, 3]), (1, vec![7]), (3, vec![6, 5]), (7, vec![8])];
    let net = Net { listed: vec![1, 2, 3], known, have: vec![8], ..Net::default() };
    let (result, asked) = net.search(None, 1);
    assert_eq!(asked.join(" "), "L Q2 Q3 O1 O2 O3 Q7 Q5 Q6 O7 O5 O6 Q8");
    assert_eq!(result, SearchResult::Found(peer(8), Reason::LongerList(2)));
}

#[test]
fn without_a_tracker_the_peers_known_are_still_asked() {
    let config = SearchConfig::default();
    let mut search = Search::new(peer(1), None, config);
    let question = search.next().unwrap();
    assert_eq!(question.ask, Ask::Tracker(Page::default()));
    let about = search.on_failure(question.number, Failure::TimedOut);
    assert_eq!(about, Some(Unanswered::Listing));
    assert_eq!(search.next().unwrap().ask, Ask::OwnKnown);
}

#[test]
fn dead_peers_count_as_no_and_every_width_finds_the_same_network() {
    let hints = vec![(2, 11), (11, 12), (3, 11)];
    let known = vec![(4, vec![20, 21]), (21, vec![22])];
    let net = Net { listed: vec![1, 2, 3, 4], hints, known, dead: vec![12, 20], ..Net::default() };
    let mut serial = net.search(None, 1).1;
    serial.sort();
    for width in 2..9 {
        let (result, mut asked) = net.search(None, width);
        asked.sort();
        assert_eq!((result, asked), (NOT_FOUND, serial.clone()), "width {width}");
    }
    let net = Net { have: vec![22], ..net };
    for width in 1..9 {
        assert_eq!(net.search(None, width).0, SearchResult::Found(peer(22), Reason::LongerList(2)));
    }
}

#[test]
fn who_is_gone_without_a_word_is_waited_for_once_unless_the_document_rules() {
    for (ask_silent, failure, expected) in [
        (false, Failure::TimedOut, "Q3 L Q2 O2 O1"),
        (false, Failure::Other, "Q3 L Q2 O2 O3 O1"),
        (true, Failure::TimedOut, "Q3 L Q2 O2 O3 O1"),
    ] {
        let net = Net { listed: vec![2, 3], dead: vec![3], ..Net::default() };
        let config = SearchConfig { ask_silent, ..SearchConfig::default() };
        let (result, asked) = net.search_as(Some(3), config, failure);
        assert_eq!((asked.join(" "), result), (expected.into(), NOT_FOUND));
    }
}

#[test]
fn a_peer_that_lists_without_end_is_cut_off() {
    let config = SearchConfig { max_pages: 3, max_peers: 100, ..SearchConfig::default() };
    let mut search = Search::new(peer(1), None, config);
    let mut questions = 0;
    while let Some(question) = search.next() {
        questions += 1;
        let reply = match question.ask {
            Ask::Have(_) => Reply::Have(HaveAnswer::No),
            _ => {
                let base = 1000 + questions * 10;
                Reply::Peers { peers: (base..base + 10).map(peer).collect(), next: Some(questions) }
            }
        };
        search.on_answer(question.number, reply);
        assert!(questions < 2000);
    }
    assert_eq!(search.result(), Some(&SearchResult::NotFound { truncated: true }));
}

/// The holders that a collecting search of peer 1 finds, with the questions in short.
fn collected(net: &Net, width: usize) -> (Vec<(u64, bool)>, SearchResult) {
    let config = SearchConfig { width, collect: true, ..SearchConfig::default() };
    let mut search = Search::new(peer(1), None, config);
    while let Some(question) = search.next() {
        match net.reply(&question.ask) {
            Some(reply) => search.on_answer(question.number, reply),
            None => _ = search.on_failure(question.number, Failure::Other),
        }
    }
    let holders = std::iter::from_fn(|| search.next_holder());
    (holders.map(|h| (h.peer.id.as_u64(), h.complete)).collect(), search.result().unwrap().clone())
}

#[test]
fn a_collecting_search_goes_on_to_every_holder_by_list_hint_and_longer_list() {
    let net = Net {
        listed: vec![2, 3, 4],
        have: vec![2, 9, 7],
        fetching: vec![3],
        hints: vec![(4, 9), (3, 9)],
        known: vec![(3, vec![7])],
        ..Net::default()
    };
    for width in [1, 4] {
        let (mut holders, result) = collected(&net, width);
        holders.sort_unstable();
        assert_eq!(holders, [(2, true), (3, false), (7, true), (9, true)], "width {width}");
        assert_eq!(result, NOT_FOUND);
    }
}

#[test]
fn who_is_fetching_is_no_holder_for_the_document_but_its_hint_counts() {
    let net = Net { listed: vec![2, 3], fetching: vec![2], hints: vec![(2, 9)], ..Net::default() };
    assert_eq!(asked(&net, None), "L Q2 Q9 Q3 O2 O3 O1");
}

#[test]
fn a_holder_that_turns_out_not_to_be_one_is_passed_over() {
    let net = Net { listed: vec![2, 3], have: vec![2, 3], ..Net::default() };
    let mut search = Search::new(peer(1), None, SearchConfig::default());
    let run = |search: &mut Search| {
        while let Some(question) = search.next() {
            search.on_answer(question.number, net.reply(&question.ask).unwrap());
        }
        search.result().unwrap().clone()
    };
    assert_eq!(run(&mut search), SearchResult::Found(peer(2), Reason::Listed));
    search.reject_found();
    assert_eq!(run(&mut search), SearchResult::Found(peer(3), Reason::Listed));
    search.reject_found();
    assert_eq!(run(&mut search), NOT_FOUND);
}

#[test]
fn those_who_are_said_to_be_known_take_no_more_room_than_the_lists_have() {
    let config = SearchConfig { width: 16, max_peers: 50, ..SearchConfig::default() };
    let mut search = Search::new(peer(1), None, config);
    let far = |n: usize| Contact { ip: [10, 1, (n >> 8) as u8, n as u8].into(), ..peer(500) };
    let mut new = 0;
    while let Some(question) = search.next() {
        let peers = match &question.ask {
            Ask::Tracker(_) => (2..=40).map(peer).collect(),
            Ask::Known(..) => {
                new += 20;
                (new..new + 20).map(far).collect()
            }
            Ask::OwnKnown => Vec::new(),
            Ask::Have(_) => {
                search.on_answer(question.number, Reply::Have(HaveAnswer::No));
                continue;
            }
        };
        search.on_answer(question.number, Reply::Peers { peers, next: None });
        if let Stage::Expanding { known, .. } = &search.stage {
            assert!(known.len() + search.seen.len() <= 50, "{} more", known.len());
        }
    }
    assert_eq!(search.result(), Some(&SearchResult::NotFound { truncated: true }));
    assert_eq!(search.level(), 1, "as many as there was room for were asked");
}

#[test]
fn whoever_is_known_to_many_stands_where_the_first_of_them_says() {
    let config = SearchConfig { width: 8, ..SearchConfig::default() };
    let mut search = Search::new(peer(1), None, config);
    let known = |id: u64| if id == 2 { vec![peer(9), peer(8)] } else { vec![peer(7), peer(8), peer(9)] };
    let mut asked = Vec::new();
    loop {
        let mut batch: Vec<_> = std::iter::from_fn(|| search.next()).collect();
        if batch.is_empty() {
            break;
        }
        asked.extend(batch.iter().filter_map(|question| match question.ask {
            Ask::Have(peer) => Some(peer.id.as_u64()),
            _ => None,
        }));
        // The last that is asked answers first.
        batch.reverse();
        for question in batch {
            let reply = match &question.ask {
                Ask::Tracker(_) => Reply::Peers { peers: vec![peer(2), peer(3)], next: None },
                Ask::Known(peer, _) => Reply::Peers { peers: known(peer.id.as_u64()), next: None },
                Ask::OwnKnown => Reply::Peers { peers: Vec::new(), next: None },
                Ask::Have(_) => Reply::Have(HaveAnswer::No),
            };
            search.on_answer(question.number, reply);
        }
    }
    assert_eq!(asked, [2, 3, 9, 8, 7]);
}

#[test]
fn who_does_not_answer_soon_keeps_nobody_from_being_asked_but_not_for_the_document() {
    let listed: Vec<_> = (2..40).map(peer).collect();
    for (ask_silent, width, expected) in [(false, 1, 8), (false, 2, 16), (true, 2, 2)] {
        let config = SearchConfig { width, ask_silent, ..SearchConfig::default() };
        // It was told of one by one who does not answer either.
        let mut search = Search::new(peer(1), Some(peer(9)), config);
        let own = search.next().unwrap();
        assert_eq!((own.ask, search.next()), (Ask::Have(peer(9)), None));
        search.on_slow(own.number);
        let Some(listing) = search.next() else {
            assert!(ask_silent);
            continue;
        };
        search.on_answer(listing.number, Reply::Peers { peers: listed.clone(), next: None });
        let mut asked = vec![own.number];
        while let Some(question) = search.next() {
            asked.push(question.number);
            search.on_slow(question.number);
        }
        assert_eq!(asked.len(), expected, "width {width}");
        // Who answers at last makes room for another.
        search.on_answer(asked[3], Reply::Have(HaveAnswer::No));
        let next = search.next().unwrap();
        assert_eq!(search.next(), None);
        search.on_failure(asked[0], Failure::TimedOut);
        search.on_answer(next.number, Reply::Have(HaveAnswer::Have));
        assert!(matches!(search.result(), Some(SearchResult::Found(_, Reason::Listed))));
    }
}

#[test]
fn many_hints_to_one_who_does_not_answer_keep_nobody_from_being_asked() {
    let config = SearchConfig { width: 2, ask_silent: false, ..SearchConfig::default() };
    let mut search = Search::new(peer(1), None, config);
    let mut asked = Vec::new();
    while let Some(question) = search.next() {
        match question.ask {
            Ask::Tracker(_) => {
                let peers = (2..9).map(peer).collect();
                search.on_answer(question.number, Reply::Peers { peers, next: None });
            }
            Ask::Have(holder) if holder == peer(8) => {
                search.on_answer(question.number, Reply::Have(HaveAnswer::Have));
            }
            Ask::Have(hung) if hung == peer(50) => search.on_slow(question.number),
            Ask::Have(hinting) => {
                asked.push(hinting.id.as_u64());
                search.on_answer(question.number, Reply::Have(HaveAnswer::Hint(peer(50))));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, [2, 3, 4, 5, 6, 7]);
    assert_eq!(search.result(), Some(&SearchResult::Found(peer(8), Reason::Listed)));
}
