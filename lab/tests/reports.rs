//! What a report says of real runs, against their logs and what the scenarios were written for.

mod play;

use askaround_core::clock::Turns;
use askaround_core::log::LogEntry;
use askaround_core::script::Action;
use askaround_lab::report::model::{Kind, Report};
use askaround_lab::report::searches::Search;
use play::{play, scenario};

fn report(name: &str) -> Report {
    Report::of(&play(&scenario(name), Turns::ById).0)
}

/// The names of who was asked on the way to whoever has the key.
fn path(report: &Report, search: &Search) -> Vec<String> {
    let steps = search.steps.iter().filter(|step| step.on_path);
    steps.map(|step| report.hosts[report.messages[step.message].to].name.clone()).collect()
}

#[test]
fn every_search_ends_as_its_log_says() {
    let (trace, _out) = play(&scenario("campus-20"), Turns::ById);
    let report = Report::of(&trace);
    let scripts = trace.header.peers.iter().map(|member| &member.script);
    let wanted = scripts.flat_map(|script| &script.actions);
    let wanted = wanted.filter(|(_, action)| matches!(action, Action::Obtain(_))).count();
    assert_eq!(report.searches.len(), wanted);
    for search in &report.searches {
        let log = search.log.as_ref().expect("the run went to its end");
        match search.found {
            Some(found) => {
                let addr = report.hosts[found].addr.replace(':', "#");
                assert!(log.starts_with("Obtained ") && log.ends_with(&addr), "{log}");
                let own = found == search.host;
                assert_eq!(path(&report, search).last(), (!own).then(|| &report.hosts[found].name));
            }
            None => assert!(log.ends_with(" is unavailable"), "{log}"),
        }
    }
}

#[test]
fn hints_lead_from_peer_to_peer() {
    let deep = report("corner-two-hints-deep");
    let found = deep.searches.iter().map(|search| path(&deep, search)).max_by_key(Vec::len).unwrap();
    assert_eq!(found, ["2", "3", "4", "5"]);
    let levels = report("corner-longer-list-second-level");
    let deepest = levels.searches.iter().flat_map(|s| s.steps.iter().map(|step| step.level)).max();
    assert_eq!(deepest, Some(2));
    let own = report("corner-own-key");
    assert!(own.searches.iter().any(|s| s.steps.is_empty() && s.found == Some(s.host)));
}

#[test]
fn every_message_is_counted_once() {
    let report = report("campus-20");
    let sent: u32 = report.hosts.iter().flat_map(|host| host.sent).sum();
    let received: u32 = report.hosts.iter().map(|host| host.received).sum();
    assert_eq!((sent as usize, received as usize), (report.messages.len(), report.messages.len()));
    let of = |kind: Kind| report.hosts.iter().map(|host| host.sent[kind as usize]).sum::<u32>();
    assert_eq!(of(Kind::Ask), of(Kind::Have) + of(Kind::Hint) + of(Kind::No), "each question has its answer");
}

#[test]
fn a_log_that_differs_is_explained() {
    let (mut trace, _out) = play(&scenario("corner-hint-loop"), Turns::ById);
    let report = Report::of(&trace);
    assert!(report.logs.iter().all(|log| log.expected.is_some() && log.divergence.is_none()));
    let log = trace.header.expected.get_mut("client_3.json").unwrap();
    log.push(LogEntry { time: 9, text: "Unregistered".into() });
    let report = Report::of(&trace);
    let differs: Vec<_> = report.logs.iter().filter(|log| log.divergence.is_some()).collect();
    assert_eq!(differs.iter().map(|log| log.name.as_str()).collect::<Vec<_>>(), ["client_3.json"]);
    assert_eq!(differs[0].divergence.as_ref().unwrap().index, differs[0].entries.len());
}
