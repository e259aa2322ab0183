//! What `/proc` tells: which processes there are, what they use, where they listen. Where there is
//! no `/proc`, all of this is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    /// `R`, `S`, `D`, `Z`, …
    pub(super) state: char,
    /// Processor time, in ticks.
    pub(super) ticks: u64,
    /// Memory in use, in bytes.
    pub(super) memory: u64,
}

impl Process {
    /// From the text of `/proc/<pid>/stat` (proc_pid_stat(5)).
    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, can hold anything, parentheses too.
        let (head, rest) = text.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            memory: number(21)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }

    /// Has ended, and waits to be reaped.
    pub(super) fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// Whether there is a `/proc` to read.
pub(super) fn available() -> bool {
    fs::metadata("/proc/self/stat").is_ok() && fs::metadata("/proc/self/net/tcp").is_ok()
}

/// All that descend from `ancestor`, which is not among them.
pub(super) fn descendants(ancestor: i32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let is_number = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_number)) {
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some(process) = Process::parse(&String::from_utf8_lossy(&stat)) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(pid) = open.pop() {
        for process in children.remove(&pid).unwrap_or_default() {
            open.push(process.pid);
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

/// How many bytes a process and those of its children that it has waited for have written with
/// `write` (proc_pid_io(5)): to files and streams, not with `send`.
pub(super) fn written(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let bytes = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    bytes.unwrap_or(0)
}

/// The command line, for people.
pub(super) fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|b| *b == 0).filter(|word| !word.is_empty()).collect();
    let line = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    line.chars().take(200).collect()
}

/// The TCP sockets of this network namespace.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Listening: the port, by inode.
    listening: BTreeMap<u64, u16>,
    /// Connected: the remote port, by inode.
    connected: BTreeMap<u64, u16>,
}

impl Sockets {
    pub(super) fn read() -> Self {
        let mut sockets = Self::default();
        for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().skip(1).for_each(|line| sockets.add(line));
        }
        sockets
    }

    /// A line of `/proc/net/tcp` (proc_net(5)).
    fn add(&mut self, line: &str) {
        const ESTABLISHED: &str = "01";
        const LISTEN: &str = "0A";
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { return };
        let port = |address: &str| address.rsplit(':').next().and_then(|p| u16::from_str_radix(p, 16).ok());
        let Ok(inode) = inode.parse() else { return };
        match (state, port(local), port(remote)) {
            (LISTEN, Some(port), _) => drop(self.listening.insert(inode, port)),
            (ESTABLISHED, _, Some(port)) => drop(self.connected.insert(inode, port)),
            _ => {}
        }
    }

    /// What one of `pids` does with its sockets.
    pub(super) fn of(&self, pids: &[i32]) -> SocketsOf {
        let mut of = SocketsOf::default();
        for inode in pids.iter().flat_map(|pid| inodes(*pid)) {
            of.listening.extend(self.listening.get(&inode));
            of.connected.extend(self.connected.get(&inode));
        }
        of
    }
}

/// The sockets of some processes.
#[derive(Debug, Default)]
pub(super) struct SocketsOf {
    /// Ports listened on.
    pub(super) listening: BTreeSet<u16>,
    /// Ports connected to.
    pub(super) connected: BTreeSet<u16>,
}

fn inodes(pid: i32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.flatten().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trouble() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 11 5 0 0 20 0 1 0 12345 1000 3 18446744073709551615";
        let process = Process::parse(line).unwrap();
        assert_eq!((process.pid, process.parent, process.state, process.ticks), (42, 7, 'S', 16));
        assert_eq!(process.memory, 3 * rustix::param::page_size() as u64);
    }

    #[test]
    fn listeners_are_told_from_connections() {
        let mut sockets = Sockets::default();
        let line = |local, remote, state, inode| {
            format!("0: 0100007F:{local} 0100007F:{remote} {state} 0:0 0:0 0 0 0 {inode} 1 0 20")
        };
        sockets.add(&line("22B8", "0000", "0A", 5));
        sockets.add(&line("A000", "22B8", "01", 6));
        sockets.add(&line("A000", "22B8", "06", 7));
        assert_eq!(sockets.listening, BTreeMap::from([(5, 8888)]));
        assert_eq!(sockets.connected, BTreeMap::from([(6, 8888)]));
    }
}
