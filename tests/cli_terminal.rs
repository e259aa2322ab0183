//! What a person at a terminal sees of a fetch.

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use askaround::live::units;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::content::{bytes, write};
use support::serving::Serving;
use support::{ASKAROUND, Running};

const COLUMNS: u16 = 90;
const CLEAR_LINE: &str = "\x1b[2K";

/// A terminal: the end of the person, and the end of the program.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (ours.into(), theirs)
}

/// A fetch whose user sits at a terminal.
struct Watched {
    getting: Running,
    terminal: File,
    seen: String,
}

impl Watched {
    fn start(words: &[&str], columns: u16) -> Self {
        let (terminal, theirs) = terminal(columns);
        let mut command = Command::new(ASKAROUND);
        command.args(words).env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null());
        command.stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
        Self { getting: Running(command.spawn().unwrap()), terminal, seen: String::new() }
    }

    /// Reads until this has been seen, or the program has closed its end.
    fn read_until(&mut self, enough: impl Fn(&str) -> bool) {
        let mut buffer = [0; 4096];
        while !enough(&self.seen) {
            match self.terminal.read(&mut buffer) {
                Ok(0) => return,
                // That is how a terminal ends.
                Err(error) if error.kind() != ErrorKind::Interrupted => return,
                Err(_) => {}
                Ok(count) => self.seen += &String::from_utf8_lossy(&buffer[..count]),
            }
        }
    }

    /// Its exit status, when it has said everything.
    fn end(&mut self) -> Option<i32> {
        self.read_until(|_| false);
        self.getting.0.wait().unwrap().code()
    }

    /// What stood in the line of the bar, one state after the other.
    fn drawn(&self) -> Vec<&str> {
        let states = self.seen.split(['\r', '\n']).flat_map(|line| line.split(CLEAR_LINE));
        states.filter(|state| state.contains("% ")).collect()
    }
}

/// One that serves 2 MB in some seconds, and where the copy goes.
fn slow_holder(user: &tempfile::TempDir) -> (Serving, String) {
    let source = write(user.path(), "source", &bytes(2_000_000));
    let to = user.path().join("copy").to_str().unwrap().to_owned();
    (Serving::new(&source, &["--up", "700K"]), to)
}

/// 12% is not shown beside 230 kB of 2 MB.
fn assert_percent_is_not_ahead(state: &str) {
    let (before, after) = state.split_once("% ").unwrap();
    let percent: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    let amount = |text: &str| {
        let words: Vec<_> = text.split([' ', ',']).take(2).collect();
        units::parse(&words.concat().replace('B', "")).unwrap_or_else(|| panic!("{state}"))
    };
    let (done, size) = after.split_once(" of ").unwrap();
    assert!(percent * amount(size) <= 100 * amount(done), "{state}");
}

#[test]
fn a_bar_says_how_far_it_is_in_one_line_and_goes_when_it_is_done() {
    let user = tempfile::tempdir().unwrap();
    let (serving, to) = slow_holder(&user);
    let mut watched = Watched::start(&serving.get(&to, &[]), COLUMNS);
    assert_eq!(watched.end(), Some(0), "{:?}", watched.seen);
    let drawn = watched.drawn();
    let says_all = |state: &&str| ["of 2.00 MB", "/s", " left", "from 1"].iter().all(|w| state.contains(w));
    assert!(drawn.iter().any(says_all), "{drawn:?}");
    for state in &drawn {
        assert_percent_is_not_ahead(state);
        let plain = state.replace("\x1b[K", "");
        assert!(plain.chars().count() <= COLUMNS.into(), "wider than the terminal: {plain:?}");
    }
    let last = watched.seen.rfind("% ").unwrap();
    let after = &watched.seen[last..];
    let cleared = after.find(CLEAR_LINE).unwrap_or_else(|| panic!("the bar stays: {after:?}"));
    assert!(after[cleared..].contains("got "), "{after:?}");
    assert_eq!(std::fs::read(to).unwrap(), bytes(2_000_000));
}

#[test]
fn ctrl_c_leaves_a_clean_terminal_that_says_how_to_go_on() {
    let user = tempfile::tempdir().unwrap();
    let (serving, to) = slow_holder(&user);
    let mut watched = Watched::start(&serving.get(&to, &[]), COLUMNS);
    watched.read_until(|seen| seen.contains(" left"));
    watched.getting.signal("-INT");
    assert_eq!(watched.end(), Some(130), "{:?}", watched.seen);
    let after = &watched.seen[watched.seen.rfind("% ").unwrap()..];
    let cleared = after.find(CLEAR_LINE).unwrap_or_else(|| panic!("the bar stays: {after:?}"));
    assert!(after[cleared..].contains("same command"), "{after:?}");
    assert!(!after.contains("\x1b[?25l"), "the cursor is hidden: {after:?}");
}

#[test]
fn in_a_narrow_terminal_there_are_words_instead_of_a_bar() {
    let user = tempfile::tempdir().unwrap();
    let (serving, to) = slow_holder(&user);
    let mut watched = Watched::start(&serving.get(&to, &[]), 24);
    watched.read_until(|seen| seen.contains(" of 2.00 MB"));
    watched.getting.signal("-INT");
    assert_eq!(watched.end(), Some(130), "{:?}", watched.seen);
    for state in watched.drawn() {
        assert!(!state.contains(['█', '░']), "{state:?}");
        assert!(state.chars().count() <= 24, "wider than the terminal: {state:?}");
    }
}
