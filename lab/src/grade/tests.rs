//! Small runs with one mistake each.

use super::*;
use askaround_core::Key;
use askaround_core::script::Action;

fn entry(time: u32, text: &str) -> LogEntry {
    LogEntry { time, text: text.into() }
}

/// Peers 1 to 4 on ports 10 to 40. 4 holds k, 2 gets it from 4 and purges it; 1 finds it by the
/// hint of 2, though 3, which comes before 4, got it too.
fn expected() -> Logs {
    let registered = "Clients registered: <1, h, 10>, <2, h, 20>, <3, h, 30>, <4, h, 40>";
    let mut clients = BTreeMap::new();
    let id = |n| PeerId::new(n).unwrap();
    let joined = |n: u64| entry(0, &format!("Client ID {n} registered"));
    clients.insert(
        id(1),
        vec![joined(1), entry(4, "Obtained k from h#40"), entry(5, "Client 2: x, y"), entry(6, "Client 3: ")],
    );
    clients.insert(id(2), vec![joined(2), entry(1, "Obtained k from h#40"), entry(2, "Removed k")]);
    clients.insert(
        id(3),
        vec![joined(3), entry(3, "Obtained k from h#40"), entry(5, "Bootstrapper: <1, h, 10>, <2, h, 20>")],
    );
    clients.insert(id(4), vec![joined(4)]);
    let tracker = (0..=6).map(|t| entry(t, registered)).collect();
    Logs { clients, tracker: Some(tracker), ..Logs::default() }
}

fn scripts() -> Vec<Script> {
    let id = PeerId::new(4).unwrap();
    vec![Script { id, content: vec![Key::new("k").unwrap()], actions: Vec::new() }]
}

fn cause(client: u64, change: impl FnOnce(&mut Vec<LogEntry>)) -> Cause {
    let mut got = expected();
    change(got.clients.get_mut(&PeerId::new(client).unwrap()).unwrap());
    let grade = grade(&expected(), &got, &scripts());
    assert!(!grade.equal);
    let mut causes = grade.logs.iter().filter_map(|log| log.differences.first());
    causes.next().unwrap().cause
}

#[test]
fn equal_logs_earn_everything_that_is_exercised() {
    let grade = grade(&expected(), &expected(), &scripts());
    assert!(grade.equal);
    let exercised: Vec<_> = grade.rubric.iter().filter(|l| l.earned.is_some()).map(|l| l.item).collect();
    assert_eq!(exercised, [1, 2, 3, 4, 5, 6, 7, 9]);
    assert_eq!((grade.earned, grade.possible), (65, 65));
}

#[test]
fn mistakes_are_told_apart() {
    let text =
        |index: usize, text: &'static str| move |log: &mut Vec<LogEntry>| log[index].text = text.into();
    assert_eq!(cause(1, text(1, "Obtained k from h#30")), Cause::HintTooLate);
    assert_eq!(cause(1, text(1, "Content k is unavailable")), Cause::HintLost);
    assert_eq!(cause(1, text(1, "Obtained k from h#20")), Cause::HintingPeerNamed);
    assert_eq!(cause(1, text(1, "Obtained k from h#99")), Cause::AnotherAddress);
    assert_eq!(cause(1, text(1, "Obtained j from h#30")), Cause::Other);
    assert_eq!(cause(1, text(1, "Removed k")), Cause::Other);
    assert_eq!(cause(1, text(2, "Client 2: y, x")), Cause::ListOrder);
    assert_eq!(cause(1, text(2, "Client 2: x, y, k")), Cause::PurgeNotDone);
    assert_eq!(cause(1, text(2, "client 2:x,y")), Cause::Spelling);
    assert_eq!(cause(1, text(3, "Client 3: <>")), Cause::AngleBracketsForEmpty);
    assert_eq!(cause(1, text(2, "Client 2: xy")), Cause::ListContent);
    assert_eq!(cause(1, text(2, "client2: X Y.")), Cause::Spelling);
    assert_eq!(cause(2, text(1, "Content k is unavailable")), Cause::ListNotAsked);
    assert_eq!(cause(2, text(2, "Obtained k from h#20")), Cause::Other);
    assert_eq!(cause(3, text(2, "Bootstrapper: <2, h, 20>, <1, h, 10>")), Cause::ListOrder);
    assert_eq!(cause(3, text(2, "Bootstrapper: <1, h, 10>")), Cause::NotListed);
    assert_eq!(cause(3, text(2, "Bootstrapper: <1, h, 10>, <2, h, 20>, <9, h, 90>")), Cause::StillListed);
    assert_eq!(cause(2, |log| log[1].time = 3), Cause::AnotherTime);
    assert_eq!(cause(2, |log| drop(log.remove(1))), Cause::EntryMissing);
    assert_eq!(cause(2, |log| drop(log.pop())), Cause::LogEnds);
    assert_eq!(cause(2, |log| log.push(entry(7, "Unregistered"))), Cause::ExtraEntry);
    assert_eq!(cause(2, |log| log.swap(1, 2)), Cause::AnotherOrder);
}

#[test]
fn a_missing_entry_costs_itself_and_not_what_follows() {
    let mut got = expected();
    got.clients.get_mut(&PeerId::new(2).unwrap()).unwrap().remove(1);
    let grade = grade(&expected(), &got, &scripts());
    let log = grade.logs.iter().find(|log| log.name == "client_2.json").unwrap();
    assert_eq!((log.matching, log.expected), (2, 3));
    assert_eq!(grade.rubric[2].earned, Some(0), "the only key from a listed peer");
    assert_eq!(grade.rubric[3].earned, Some(10), "hints are right");
    assert_eq!(grade.rubric[5].earned, Some(5), "the purge is there");
}

#[test]
fn folders_and_files_that_are_no_logs_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Logs::read(folder.path()).unwrap_err().to_string().contains("no log here"));
    fs::write(folder.path().join("client_1.json"), "[{\"time\": -1}]").unwrap();
    let got = Logs::read(folder.path()).unwrap();
    let grade = grade(&expected(), &got, &scripts());
    assert_eq!(grade.logs[0].differences[0].cause, Cause::NotALog);
    assert_eq!(grade.logs[1].differences[0].cause, Cause::LogMissing);
    assert_eq!(grade.earned, 0);
    assert!(grade.render().contains("client_1.json: 0 of 4 entries are right"));
}

#[test]
fn several_answers_to_one_action_and_a_log_written_twice_earn_nothing() {
    let mut got = expected();
    for log in got.clients.values_mut() {
        let guesses = |entry: &LogEntry| match entry.text.strip_prefix("Obtained k from ") {
            Some(_) => (1..=4).map(|n| self::entry(entry.time, &format!("Obtained k from h#{n}0"))).collect(),
            None => vec![entry.clone()],
        };
        *log = log.iter().flat_map(guesses).collect();
    }
    let guessed = grade(&expected(), &got, &scripts());
    assert_eq!(guessed.rubric[2].earned, Some(0), "from listed clients");
    assert_eq!((guessed.rubric[3].earned, guessed.rubric[4].earned), (Some(0), Some(0)), "hints");
    assert_eq!(guessed.surplus, 9);
    let text = guessed.render();
    assert!(
        text.contains("client_1.json: 4 of 4 entries are right; 3 are too many, so 3 of those"),
        "{text}"
    );
    assert!(text.contains("9 entries are too many: an action has one entry"), "{text}");

    let mut got = expected();
    let logs = got.clients.values_mut().chain(&mut got.tracker);
    logs.for_each(|log| log.extend_from_within(..));
    let twice = grade(&expected(), &got, &scripts());
    assert_eq!((twice.equal, twice.earned, twice.possible), (false, 0, 65));
}

#[test]
fn what_no_item_asks_for_is_said_to_carry_no_points() {
    let known = |text: &str| {
        let mut logs = expected();
        logs.clients.get_mut(&PeerId::new(4).unwrap()).unwrap().push(entry(6, text));
        logs
    };
    let (wanted, got) = (known("Client 1: <4, h, 40>"), known("Client 1: "));
    let grade = grade(&wanted, &got, &scripts());
    assert_eq!((grade.equal, grade.unscored, grade.earned), (false, 1, grade.possible));
    assert!(grade.render().contains("1 entry that differs carries no points"), "{}", grade.render());
}

#[test]
fn what_a_log_says_is_shown_on_its_line_and_not_without_end() {
    let forged = "x\r\n    likely    nothing\u{1b}[2J\u{9b}31m\u{202e}";
    let long = "y".repeat(3 << 20);
    let mut got = expected();
    for (id, text) in [(1, forged), (2, long.as_str())] {
        let log = got.clients.get_mut(&PeerId::new(id).unwrap()).unwrap();
        log[1].text = text.into();
        log[2].text = format!("Client 2: {text}");
        log.push(entry(7, text));
    }
    let text = grade(&expected(), &got, &scripts()).render();
    let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(acts), "{text:?}");
    assert!(text.contains(r"x\r\n    likely    nothing\u{1b}[2J\u{9b}31m\u{202e}"), "{text}");
    assert!(!text.lines().any(|line| line == "    likely    nothing"), "{text}");
    assert!(text.len() < 20_000, "{}", text.len());
}

/// 2 holds j and k and purges both; before, 3 gets k from it. 1 finds k at 3, and j nowhere; 4 finds
/// nothing.
fn purged() -> Logs {
    let id = |n| PeerId::new(n).unwrap();
    let clients = BTreeMap::from([
        (id(1), vec![entry(3, "Obtained k from h#30"), entry(4, "Content j is unavailable")]),
        (id(2), vec![entry(2, "Removed j"), entry(2, "Removed k"), entry(8, "Removed z")]),
        (id(3), vec![entry(1, "Obtained k from h#20"), entry(5, "Removed k")]),
        (id(4), vec![entry(6, "Content k is unavailable"), entry(7, "Content z is unavailable")]),
    ]);
    let tracker = vec![entry(0, "Clients registered: <1, h, 10>, <2, h, 20>, <3, h, 30>, <4, h, 40>")];
    Logs { clients, tracker: Some(tracker), ..Logs::default() }
}

#[test]
fn a_purge_that_was_not_done_shows_in_searches() {
    let causes = |changes: &[(u64, usize, &str)]| {
        let mut got = purged();
        for (client, index, text) in changes {
            let log = got.clients.get_mut(&PeerId::new(*client).unwrap()).unwrap();
            log[*index].text = (*text).into();
        }
        let grade = grade(&purged(), &got, &[]);
        let differences = grade.logs.iter().flat_map(|log| &log.differences);
        differences.map(|difference| difference.cause).collect::<Vec<_>>()
    };
    assert_eq!(causes(&[(1, 0, "Obtained k from h#20")]), [Cause::PurgeNotDone], "3 is next");
    assert_eq!(causes(&[(1, 1, "Obtained j from h#20")]), [Cause::PurgeNotDone], "nobody has it");
    assert_eq!(causes(&[(1, 1, "Obtained j from h#30")]), [Cause::FoundTooMuch], "3 never had it");
    assert_eq!(causes(&[(4, 0, "Obtained k from h#20")]), [Cause::PurgeNotDone]);
    assert_eq!(causes(&[(4, 0, "Obtained k from h#30")]), [Cause::PurgeNotDone]);
    assert_eq!(causes(&[(4, 1, "Obtained z from h#20")]), [Cause::FoundTooMuch], "purged later only");
}

#[test]
fn whoever_names_itself_for_what_it_has_purged_has_not_purged_it() {
    let with = |text: &str| {
        let mut logs = expected();
        logs.clients.get_mut(&PeerId::new(2).unwrap()).unwrap().push(entry(2, text));
        logs
    };
    let grade = grade(&with("Obtained k from h#40"), &with("Obtained k from h#20"), &scripts());
    assert_eq!(grade.logs[1].differences[0].cause, Cause::PurgeNotDone);
}

#[test]
fn whoever_hints_and_is_named_may_still_have_what_it_purged() {
    let mut got = expected();
    let log = got.clients.get_mut(&PeerId::new(1).unwrap()).unwrap();
    log[1].text = "Obtained k from h#20".into();
    log[2].text = "Client 2: x, y, k".into();
    let grade = grade(&expected(), &got, &scripts());
    let causes: Vec<_> = grade.logs[0].differences.iter().map(|difference| difference.cause).collect();
    assert_eq!(causes, [Cause::PurgeNotDone; 2]);
}

#[test]
fn a_hint_to_the_searcher_itself_leads_nowhere() {
    let id = |n| PeerId::new(n).unwrap();
    // k goes from 6 to 5, to 3, to 2; all but 6 purge it. 3 is told of itself by 2, and drops that, for
    // all that it knows 5, which would hint at 6: 6 is next on the list.
    let clients = [
        (2, &[(3, "Obtained k from h#30"), (4, "Removed k")][..]),
        (3, &[(2, "Obtained k from h#50"), (4, "Removed k"), (6, "Obtained k from h#60")]),
        (5, &[(1, "Obtained k from h#60"), (4, "Removed k"), (5, "Unregistered")]),
        (6, &[]),
    ];
    let log = |(n, entries): (u64, &[(u32, &str)])| {
        let joined = entry(0, &format!("Client ID {n} registered"));
        let entries = entries.iter().map(|(time, text)| entry(*time, text));
        (id(n), std::iter::once(joined).chain(entries).collect())
    };
    let clients = clients.into_iter().map(log).collect();
    let registered = "Clients registered: <2, h, 20>, <3, h, 30>, <5, h, 50>, <6, h, 60>";
    let logs = Logs { clients, tracker: Some(vec![entry(0, registered)]), ..Logs::default() };
    let content = vec![Key::new("k").unwrap()];
    let grade = grade(&logs, &logs, &[Script { id: id(6), content, actions: Vec::new() }]);
    let entries = |item: usize| grade.rubric[item - 1].entries;
    assert_eq!((entries(3), entries(4), entries(5), entries(7)), (4, 0, 0, 0));
}

/// How many entries exercise item 6, for each client, beside `Removed`.
fn show_purges(logs: &Logs, scripts: &[Script]) -> BTreeMap<u64, usize> {
    let counts = |id: &PeerId| {
        let changed = |of: Option<PeerId>| {
            let mut got = logs.clone();
            if let Some(id) = of {
                let log = got.clients.get_mut(&id).unwrap();
                log.iter_mut().filter(|e| !e.text.starts_with("Removed")).for_each(|e| e.text.push('!'));
            }
            grade(logs, &got, scripts).rubric[5].matching
        };
        (id.as_u64(), changed(None) - changed(Some(*id)))
    };
    logs.clients.keys().map(counts).collect()
}

#[test]
fn what_depends_on_a_purge_shows_that_it_was_done() {
    let id = |n| PeerId::new(n).unwrap();
    let mut logs = purged();
    for (id, log) in &mut logs.clients {
        log.insert(0, entry(0, &format!("Client ID {id} registered")));
    }
    // 2 comes before 3 on the list, and would have j; for 4 both would have k, and 2 has z still.
    assert_eq!(show_purges(&logs, &[]), BTreeMap::from([(1, 2), (2, 0), (3, 0), (4, 1)]));
    let log = logs.clients.get_mut(&id(4)).unwrap();
    log.extend([entry(7, "Client 2: a<b"), entry(7, "Client 1: a<b"), entry(7, "Client 3: ")]);
    assert_eq!(show_purges(&logs, &[])[&4], 2, "keys of 2; the last may be whom 3 knows");
    let key = Key::new("k").unwrap();
    let actions = vec![
        (6, Action::Purge(key)),
        (7, Action::Obtain(Key::new("z").unwrap())),
        (7, Action::Contents(id(2))),
        (7, Action::Contents(id(1))),
        (7, Action::Contents(id(3))),
    ];
    let script = Script { id: id(4), content: Vec::new(), actions };
    assert_eq!(show_purges(&logs, &[script])[&4], 2, "the keys of 2 and of 3; its own purge shows nothing");
    // Whoever finds a key again that it has purged.
    let logs = expected();
    assert_eq!(show_purges(&logs, &scripts())[&1], 1, "the keys of 2");
    let mut again = logs;
    again.clients.get_mut(&id(2)).unwrap().push(entry(4, "Obtained k from h#40"));
    let counts = show_purges(&again, &scripts());
    assert_eq!((counts[&1], counts[&2]), (0, 1), "2 has it again when it is asked");
}
