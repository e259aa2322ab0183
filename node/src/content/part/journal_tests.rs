//! Journals that are cut, damaged, or of another run of the machine.

use super::*;
use crate::content::hash::hash_file;

const A: Setting = Setting { boot: Some(BootId::from_number(1)), inode: 7 };
const B: Setting = Setting { boot: Some(BootId::from_number(2)), inode: 7 };

/// After a write: the length of the journal, and the pieces that are sure from there on, in the
/// same run of the machine and in another.
type Step = (usize, Vec<u32>, Vec<u32>);

/// A journal of 5 pieces, and its writes.
fn journal() -> (Vec<u8>, Vec<Step>) {
    let content = tempfile::tempfile().unwrap();
    content.write_all_at(&vec![7; 300_000], 0).unwrap();
    let manifest = hash_file(&content, &|_| (), &false.into()).unwrap().manifest;
    let header = Header { manifest, md5: Some(crate::content::md5_of(b"x")), in_place: true, setting: A };
    let file = tempfile::tempfile().unwrap();
    let mut journal = Journal::begin(file.try_clone().unwrap(), &header).unwrap();
    let mut steps = vec![(journal.end() as usize, vec![], vec![])];
    journal.pieces([3, 1].into_iter()).unwrap();
    steps.push((journal.end() as usize, vec![1, 3], vec![]));
    let recorded = journal.end();
    journal.pieces([4].into_iter()).unwrap();
    steps.push((journal.end() as usize, vec![1, 3, 4], vec![]));
    journal.on_disk(recorded).unwrap();
    steps.push((journal.end() as usize, vec![1, 3, 4], vec![1, 3]));
    journal.pieces([0].into_iter()).unwrap();
    steps.push((journal.end() as usize, vec![0, 1, 3, 4], vec![1, 3]));
    let mut bytes = vec![0; journal.end() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    (bytes, steps)
}

fn sure(bytes: &[u8], now: Setting) -> Option<Vec<u32>> {
    Replay::parse(bytes, now).map(|replay| replay.sure.iter().collect())
}

#[test]
fn a_cut_journal_says_what_its_whole_records_say() {
    let (bytes, steps) = journal();
    for cut in 0..=bytes.len() {
        let whole = steps.iter().rev().find(|(end, ..)| *end <= cut);
        assert_eq!(sure(&bytes[..cut], A), whole.map(|step| step.1.clone()), "cut at {cut}");
        assert_eq!(sure(&bytes[..cut], B), whole.map(|step| step.2.clone()), "cut at {cut}, rebooted");
    }
}

#[test]
fn a_flipped_bit_takes_nothing_but_what_follows() {
    let (bytes, steps) = journal();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let before = steps.iter().rev().find(|(end, ..)| *end <= at / 8);
        assert_eq!(sure(&flipped, A), before.map(|step| step.1.clone()), "bit {at}");
    }
}

#[test]
fn what_follows_a_record_that_does_not_fit_never_counts() {
    let (bytes, steps) = journal();
    // A record of this very journal, in another place.
    let moved = [&bytes[..steps[0].0], &bytes[steps[1].0..]].concat();
    assert_eq!(sure(&moved, A), Some(vec![]));
    // A record written over half a record.
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes[..steps[1].0 + 5], 0).unwrap();
    let replay = Replay::read(&file, A).unwrap().unwrap();
    Journal::go_on(file.try_clone().unwrap(), &replay, A).unwrap().pieces([2].into_iter()).unwrap();
    assert_eq!(Replay::read(&file, A).unwrap().unwrap().sure.iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn doubts_after_a_reboot_and_about_another_file() {
    let (bytes, _) = journal();
    let doubtful = |now| Replay::parse(&bytes, now).unwrap().doubtful.iter().collect::<Vec<_>>();
    assert!(doubtful(A).is_empty());
    assert_eq!(doubtful(B), [0, 4]);
    assert_eq!(doubtful(Setting { inode: 8, ..A }), [0, 1, 3, 4]);
    assert_eq!(doubtful(Setting { boot: None, ..A }), [0, 4]);
    // Two reboots, of which the first went on: what the second run wrote is in doubt in the third.
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let replay = Replay::read(&file, B).unwrap().unwrap();
    let mut journal = Journal::go_on(file.try_clone().unwrap(), &replay, B).unwrap();
    journal.pieces([2].into_iter()).unwrap();
    let in_b = Replay::read(&file, B).unwrap().unwrap();
    assert_eq!(in_b.sure.iter().collect::<Vec<_>>(), [1, 2, 3]);
    let in_a = Replay::read(&file, A).unwrap().unwrap();
    assert_eq!(in_a.sure.iter().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(in_a.doubtful.iter().collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(in_a.header.md5, Some(crate::content::md5_of(b"x")));
}

#[test]
fn what_the_disk_failed_to_take_is_in_doubt() {
    let (bytes, _) = journal();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let read = |now| {
        let replay = Replay::read(&file, now).unwrap().unwrap();
        let [sure, doubtful] = [&replay.sure, &replay.doubtful].map(|set| set.iter().collect::<Vec<_>>());
        (sure, doubtful, replay.failed)
    };
    let go_on = || Journal::go_on(file.try_clone().unwrap(), &Replay::read(&file, A).unwrap().unwrap(), A);
    let mut journal = go_on().unwrap();
    journal.failed().unwrap();
    assert!(journal.pieces([2].into_iter()).is_err(), "it may have been written before");
    assert_eq!(read(A), (vec![1, 3], vec![0, 4], true));
    assert_eq!(read(B), (vec![1, 3], vec![0, 4], true), "it may be another mount in the same run");
    go_on().unwrap().pieces([4].into_iter()).unwrap();
    assert_eq!(read(A), (vec![1, 3, 4], vec![0], true));
}

#[test]
fn garbage_is_no_journal() {
    for garbage in
        [vec![], vec![0; 4096], b"askpart\x01".to_vec(), [&b"askpart\x01"[..], &[0xff; 500]].concat()]
    {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&garbage, 0).unwrap();
        assert_eq!(Replay::read(&file, A).unwrap(), None);
    }
}
