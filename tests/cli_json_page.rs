//! docs/json.md has every line and field that `--json` prints, and no other.

mod support;

use askaround::live::json::{ErrorLine, ServeEvent, ServeResult};
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_node::api::{ApiEvent, ApiReply, ApiSearch, ApiStep};
use askaround_node::content::{Condition, Kept};
use askaround_node::delivery::conditions::ConditionChange;
use askaround_node::delivery::keep::{Added, KeepEvent, Listed, Purged};
use askaround_node::delivery::types::{
    AskedReport, FetchReport, FetchState, GetEvent, Got, SourceReport, Status, TrackerStatus,
};
use askaround_node::delivery::verify::{Checked, Verdict, VerifySummary};
use serde_json::json;
use support::json_doc::JsonDoc;

fn key() -> Key {
    Key::new("0b").unwrap()
}

fn contact() -> Contact {
    Contact::new(PeerId::MIN, "127.0.0.1:1".parse().unwrap())
}

/// What may be unknown, both ways.
fn known<T: Clone>(value: T) -> [Option<T>; 2] {
    [Some(value), None]
}

fn source((peer, lost): (Option<Contact>, Option<String>)) -> SourceReport {
    let addr = contact().addr();
    SourceReport { addr, peer, how: "how".into(), bytes: 1, rate: 1, complete: true, lost }
}

fn sources() -> Vec<SourceReport> {
    known(contact()).into_iter().zip(known("why".to_owned())).map(source).collect()
}

fn added(files: Option<u64>) -> Added {
    Added { blake3: key(), md5: files.map(|_| key()), size: 1, files, path: "path".into() }
}

fn fetch(size: Option<u64>) -> FetchReport {
    FetchReport {
        key: key(),
        to: "to".into(),
        here: 1,
        size,
        seconds: 1.0,
        rate: 1,
        ended: false,
        state: FetchState::Searching,
        copied_from: size.map(|_| "from".into()),
        sources: sources(),
        asked: vec![AskedReport { who: "who".into(), why: "why".into(), answer: "answer".into() }],
        because: vec!["because".into()],
    }
}

fn search(found: Option<Contact>) -> ApiSearch {
    let step = |asked: Option<Contact>| ApiStep {
        asked,
        what: "have".into(),
        why: "why".into(),
        answer: "answer".into(),
        seconds: asked.map(|_| 1.0),
    };
    ApiSearch {
        key: key(),
        found,
        how: found.map(|_| "how".into()),
        truncated: false,
        silent: 1,
        tracker_failed: found.is_none().then(|| "why".into()),
        questions: 1,
        seconds: 1.0,
        trace: found.map_or(Vec::new(), |_| known(contact()).map(step).into()),
    }
}

fn status(limit: Option<u64>) -> Status {
    let tracker = |again_in: Option<f64>| TrackerStatus {
        addr: contact().addr(),
        registered: true,
        seconds: 1.0,
        why: again_in.map(|_| "why".into()),
        again_in,
    };
    Status {
        me: contact(),
        tracker: limit.map(|limit| tracker((limit > 1).then_some(1.0))),
        contents: 1,
        bytes: 1,
        fetches: known(1).map(fetch).into(),
        sent: 1,
        received: 1,
        up_limit: limit,
        down_limit: limit,
    }
}

fn listed(files: Option<u64>) -> Listed {
    Listed {
        blake3: key(),
        md5: files.map(|_| key()),
        size: 1,
        files,
        kept: Kept::Copy,
        condition: Condition::Good,
        own: true,
        path: "path".into(),
        also: vec!["also".into()],
    }
}

/// Every event that a peer tells, with everything that may be in it. No variant may be missing: a
/// new one does not compile.
fn events() -> Vec<ApiEvent> {
    let (size, rate, done, here, sources, path) = (1, 1, 1, 1, 1, String::from("path"));
    let addr = contact().addr();
    let checked = |verdict| Checked { blake3: key(), path: "path".into(), size: 1, verdict };
    let why = || String::from("why");
    let verdicts = [
        Verdict::Good,
        Verdict::Bad { pieces: 1, of: 1, too_long: true },
        Verdict::Unreadable { why: why() },
        Verdict::Forgotten { also: "also".into() },
        Verdict::Repaired,
        Verdict::NotRepaired { why: why() },
    ];
    let mut kept: Vec<_> = verdicts.map(|verdict| KeepEvent::Checked(checked(verdict))).into();
    kept.extend([
        KeepEvent::Reading { path: path.clone(), done, size },
        KeepEvent::LeftOut { text: "text".into() },
        KeepEvent::Replaced { blake3: key(), path: path.clone() },
        KeepEvent::Repairing { path, done, size, rate, sources },
    ]);
    kept.extend(known(1).map(|files| KeepEvent::Added(added(files))));
    for event in &kept {
        match event {
            KeepEvent::Reading { .. }
            | KeepEvent::LeftOut { .. }
            | KeepEvent::Replaced { .. }
            | KeepEvent::Repairing { .. }
            | KeepEvent::Added(_)
            | KeepEvent::Checked(_) => {}
        }
    }
    let mut got = vec![
        GetEvent::Reading { path: "path".into(), done, size },
        GetEvent::Progress { here, size, rate, sources, waiting: true },
        GetEvent::Lost { addr, why: why() },
        GetEvent::Note { text: "text".into() },
    ];
    got.extend(known(1).map(|files| GetEvent::Found { size, pieces: 1, files, here }));
    got.extend(known(contact()).map(|peer| GetEvent::Source { addr, peer, how: "how".into() }));
    for event in &got {
        match event {
            GetEvent::Reading { .. }
            | GetEvent::Progress { .. }
            | GetEvent::Lost { .. }
            | GetEvent::Note { .. }
            | GetEvent::Found { .. }
            | GetEvent::Source { .. } => {}
        }
    }
    kept.into_iter().map(ApiEvent::Keep).chain(got.into_iter().map(ApiEvent::Get)).collect()
}

/// Every reply of a peer that is printed, in the same way.
fn results() -> Vec<ApiReply> {
    let got = |files| Got {
        key: key(),
        blake3: "0b".into(),
        size: 1,
        path: "path".into(),
        files,
        here_before: 1,
        copied_from: files.map(|_| "from".into()),
        seconds: 1.0,
        sources: sources(),
    };
    let purged = |path: Option<String>| Purged {
        key: Some(key()),
        held: true,
        contents: 1,
        in_folder: false,
        stays: path.clone(),
        also_stay: 1,
        fetching: path.clone(),
        given_up: path,
    };
    let mut results = vec![
        ApiReply::Registered(contact()),
        ApiReply::Unregistered(PeerId::MIN),
        ApiReply::Peers(vec![contact()]),
        ApiReply::Keys(vec![key()]),
        ApiReply::Held { key: key(), new: true },
        ApiReply::Added(known(1).map(added).into()),
        ApiReply::Contents(known(1).map(listed).into()),
        ApiReply::Verified(VerifySummary::default()),
        ApiReply::Fetches(known(1).map(fetch).into()),
    ];
    results.extend(known(contact()).map(search).map(ApiReply::Search));
    results.extend(known("path".to_owned()).map(purged).map(ApiReply::Purged));
    results.extend(known(1).map(got).map(ApiReply::Got));
    results.extend([Some(2), Some(1), None].map(status).map(ApiReply::Status));
    for result in &results {
        match result {
            ApiReply::Registered(_)
            | ApiReply::Unregistered(_)
            | ApiReply::Peers(_)
            | ApiReply::Keys(_)
            | ApiReply::Search(_)
            | ApiReply::Purged(_)
            | ApiReply::Held { .. }
            | ApiReply::Added(_)
            | ApiReply::Got(_)
            | ApiReply::Contents(_)
            | ApiReply::Verified(_)
            | ApiReply::Fetches(_)
            | ApiReply::Status(_) => {}
            // Printed as the error.
            ApiReply::Error(_) | ApiReply::Unusable(_) | ApiReply::Stopped => panic!("{result:?}"),
        }
    }
    results
}

#[test]
fn the_page_has_every_line_and_field_and_no_other() {
    let doc = JsonDoc::read();
    for event in events() {
        assert_eq!(doc.check(&json!(event)), "event");
    }
    for result in results() {
        assert_eq!(doc.check(&json!(result)), "result");
    }
    assert_eq!(doc.check(&json!(ServeEvent::Serving { sent: 1, rate: 1 })), "event");
    let change = ConditionChange { blake3: key(), path: "path".into(), condition: Condition::Changed };
    assert_eq!(doc.check(&json!(ServeEvent::Condition(change))), "event");
    assert_eq!(doc.check(&json!(ServeResult::Served { sent: 1, seconds: 1.0 })), "result");
    assert_eq!(doc.check(&json!(ErrorLine { error: "why", exit: 1 })), "error");
    doc.assert_all_seen();
}
