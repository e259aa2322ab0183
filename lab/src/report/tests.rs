//! Pictures of a small run that has everything in it, hostile keys too. Pictures of real runs are
//! tested in `lab/tests/reports.rs`, pages in a real browser in `lab/tests/browser.rs`.

use std::collections::BTreeSet;

use askaround_core::{Key, PeerId};

use super::layout::Layout;
use super::model::{Kind, Report};
use super::searches::Why;
use super::select::{SelectError, Selection};
use super::{html, mermaid, svg};
use crate::trace::tests::everything;

const HOSTILE: &str = "\"</script>\\$é";

fn report() -> Report {
    Report::of(&everything().finish())
}

fn rendered(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_report_puts_both_ends_of_each_message_together() {
    let report = report();
    assert_eq!(
        report.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(),
        ["tracker", "1", "2", "127.0.0.1:1"]
    );
    let kinds: Vec<_> = report.messages.iter().map(|m| m.kind).collect();
    use Kind::{Ask, Clock, Hint};
    assert_eq!(kinds, [Clock, Clock, Ask, Hint, Ask, Ask, Ask]);
    let (question, answer) = (&report.messages[2], &report.messages[3]);
    assert_eq!((question.answer, answer.answers), (Some(3), Some(2)));
    assert_eq!((question.key, answer.key), (Some(0), Some(0)));
    assert_eq!((question.sent_ns, question.received_ns), (3, Some(4)));
    assert_eq!(report.messages[4].received, None);
    assert_eq!(report.messages[4].unanswered.as_deref(), Some("no answer in time"));
    assert_eq!(report.hosts[1].sent[Ask as usize], 4);
    assert_eq!((report.hosts[1].received, report.hosts[2].received), (3, 1));
    assert_eq!(report.troubles, ["tracker, timestep 1: goes on without peer 2"]);
}

#[test]
fn a_search_is_a_tree() {
    let report = report();
    let [search] = report.searches.as_slice() else { panic!("{:?}", report.searches) };
    assert_eq!((search.host, search.time, search.key, search.found), (1, 1, Some(0), Some(2)));
    let steps: Vec<_> = search.steps.iter().map(|s| (s.why, s.level, s.parent)).collect();
    let expected =
        [(Why::Listed, 0, None), (Why::Hint, 1, Some(0)), (Why::Longer, 2, None), (Why::Originator, 0, None)];
    assert_eq!(steps, expected);
    assert_eq!(search.took_ns, 11 - 3);
}

#[test]
fn nothing_in_a_key_gets_out_of_where_it_stands() {
    let report = report();
    assert_eq!(report.keys, [HOSTILE]);
    let page = rendered(|out| html::write(&report, out));
    // The page's own two, and no third.
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(page.contains("\\u003c/script\\u003e") && page.contains("<title>a &quot;name&quot;</title>"));
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["keys"][0], HOSTILE);
    assert_eq!(data["messages"].as_array().unwrap().len(), report.messages.len());

    let all: Vec<usize> = (0..report.messages.len()).collect();
    let picture = rendered(|out| svg::write(&report, &all, out));
    assert!(picture.contains("have you &quot;&lt;/script&gt;\\$é?") && !picture.contains("</script>"));
    let diagram = mermaid::render(&report, &all).unwrap();
    assert!(diagram.contains("h1->>h2: Q: have you #34;#60;/script#62;#92;#36;é?"), "{diagram}");
    assert!(diagram.contains("h2-->>h1: hint: peer 2") && diagram.contains("h1-xh3: Q"), "{diagram}");
    assert!(diagram.contains("Note over h0,h3: timestep 1"), "{diagram}");
    // As many as make it longer than Mermaid reads.
    assert_eq!(mermaid::render(&report, &all.repeat(500)), None);
}

#[test]
fn the_page_needs_nothing_else() {
    let page = rendered(|out| html::write(&report(), out));
    for elsewhere in
        ["http://", "https://", "src=", "@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML"]
    {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn what_comes_after_stands_to_the_right_and_unused_columns_are_left_out() {
    let report = report();
    let all: Vec<usize> = (0..report.messages.len()).collect();
    let layout = Layout::new(&report, &all);
    assert_eq!(layout.rows, [0, 1, 2, 3]);
    for arrow in &layout.arrows {
        assert!(arrow.end.is_none_or(|end| end > arrow.begin));
        let answers = report.messages[arrow.message].answers;
        assert!(answers.is_none_or(|request| layout.arrows[request].end <= Some(arrow.begin)));
    }
    let one = Layout::new(&report, &[2, 3]);
    assert_eq!((one.columns, one.rows.len(), one.bands.len()), (3, 2, 1));
    assert_eq!(one.arrows.iter().map(|a| (a.begin, a.end)).collect::<Vec<_>>(), [(0, Some(1)), (1, Some(2))]);
}

#[test]
fn a_selection_says_what_is_not_there() {
    let report = report();
    let id = |n| PeerId::new(n).unwrap();
    let select = |selection: Selection| selection.messages(&report);
    assert_eq!(select(Selection::default()), Ok(vec![2, 3, 4, 5, 6]));
    assert_eq!(select(Selection { clock: true, ..Selection::default() }), Ok((0..7).collect()));
    let peers = BTreeSet::from([id(2)]);
    assert_eq!(select(Selection { peers, ..Selection::default() }), Ok(vec![2, 3]));
    let key = Some(Key::new(HOSTILE).unwrap());
    assert_eq!(select(Selection { key, ..Selection::default() }), Ok(vec![2, 3, 4, 5, 6]));
    let times = Some(2..=9);
    assert_eq!(select(Selection { times, ..Selection::default() }), Err(SelectError::Nothing));
    let peers = BTreeSet::from([id(9)]);
    assert_eq!(select(Selection { peers, ..Selection::default() }), Err(SelectError::NoSuchPeer(id(9))));
    let key = Key::new("none").unwrap();
    let wanted = Selection { key: Some(key.clone()), ..Selection::default() };
    assert_eq!(select(wanted), Err(SelectError::NoSuchKey(key)));
}
