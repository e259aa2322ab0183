//! A worker: one operation after the other, each with what must hold whenever it is done.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;

use super::operation::Operation;
use super::process::{End, Process, printed};
use super::server::Server;
use super::tree::Tree;
use super::world::{Added, World};
use super::{message, recipe};
use crate::release::askaround;

/// The longest that a command may take, and one that reads everything.
const LIMIT: Duration = Duration::from_secs(120);
const LIMIT_OF_VERIFY: Duration = Duration::from_secs(300);
/// How an operation ends that needs content when none was added yet.
pub(super) const NOTHING_YET: &str = "nothing was added yet";

/// One of those who work at the same time.
pub(super) struct Worker<'a> {
    pub(super) world: &'a World,
    pub(super) number: usize,
}

/// A command that is run.
pub(super) struct Call<'a> {
    /// What it counts as.
    pub(super) name: &'static str,
    pub(super) words: Vec<OsString>,
    pub(super) folder: &'a Path,
    /// After that time it is sent the signal.
    pub(super) interrupted: Option<(Duration, Signal)>,
}

/// A command that was run.
pub(super) struct Finished {
    pub(super) end: End,
    pub(super) stdout: String,
    /// The command, and what it printed, for a fault.
    pub(super) command: String,
    pub(super) output: String,
}

impl<'a> Worker<'a> {
    /// Works until the run is over.
    pub(super) fn work(&self, mut random: Rng) {
        while !self.world.is_over() {
            let operation = Operation::draw(&mut random, self.world.peers.len());
            let at = self.world.elapsed();
            let how = self.perform(&operation).unwrap_or_else(|problem| {
                self.world.record.fault("the run itself failed", &format!("{operation:?}"), &problem);
                "not done".into()
            });
            let times = (at, self.world.elapsed());
            self.world.record.operation(self.number, &operation, times, how);
        }
    }

    /// Does it, and says how it ended.
    fn perform(&self, operation: &Operation) -> Result<String, String> {
        let peer = |number: &usize| &self.world.peers[*number];
        match operation {
            Operation::Add { peer: number, copy, recipe } => self.add(peer(number), *copy, *recipe),
            Operation::Get { peer: number, what, in_place, again } => {
                self.get(peer(number), what, *in_place, *again)
            }
            Operation::OneShot { what, from, interrupted } => {
                self.one_shot(what, from.as_ref().map(peer), *interrupted)
            }
            Operation::Restart { peer: number, signal, pause } => {
                Ok(self.restart(peer(number), *signal, *pause))
            }
            Operation::Tracker { pause } => Ok(self.restart(&self.world.tracker, Signal::SIGKILL, *pause)),
            Operation::Stop { peer: number, time } => {
                let mut state = peer(number).take();
                peer(number).signal(&mut state, Signal::SIGSTOP);
                self.world.pause(*time);
                peer(number).signal(&mut state, Signal::SIGCONT);
                Ok("done".into())
            }
            Operation::Purge { peer: number, pick } => {
                let Some(added) = self.world.pick(*pick) else { return Ok(NOTHING_YET.into()) };
                self.verb(operation, peer(number), &["purge", &added.key])
            }
            Operation::Change { pick, file, at } => Ok(self.change(*pick, *file, *at)),
            Operation::Verify { peer: number, repair, one } => {
                let one = one.and_then(|pick| self.world.pick(pick));
                let mut words = vec!["verify", "-q"];
                words.extend(repair.then_some("--repair"));
                words.extend(one.as_ref().map(|added| added.key.as_str()));
                self.verb(operation, peer(number), &words)
            }
            Operation::Ask { peer: number, words } => self.verb(operation, peer(number), words),
            Operation::Remove { folders } => {
                self.world.remove(*folders);
                Ok("done".into())
            }
        }
    }

    /// A command for a peer of which nothing more is known than how it may end.
    fn verb(&self, operation: &Operation, peer: &Server, words: &[&str]) -> Result<String, String> {
        let words = words.iter().map(OsString::from).chain(self.of(peer)).collect();
        let folder = self.world.place.root();
        let call = Call { name: operation.name(), words, folder, interrupted: None };
        Ok(self.run(call)?.end.to_string())
    }

    /// The words that have a command ask this peer.
    pub(super) fn of(&self, peer: &Server) -> [OsString; 2] {
        ["--dir".into(), self.world.folder_of(peer).into()]
    }

    fn add(&self, peer: &Server, copy: bool, recipe: u64) -> Result<String, String> {
        let folder = self.world.fresh(self.world.place.root(), "source")?;
        let source = recipe::make(recipe, &folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let tree = Tree::read(&source).map_err(|e| format!("{}: {e}", source.display()))?;
        let mut words: Vec<OsString> = vec!["add".into(), "--json".into()];
        words.extend(copy.then(|| "--copy".into()));
        words.extend(self.of(peer));
        // As it is called where it lies: a name may begin with a dash.
        words.extend(["--".into(), source.file_name().unwrap_or_default().into()]);
        let added = self.run(Call { name: "add", words, folder: &folder, interrupted: None })?;
        if added.end == End::Status(0) {
            let last = added.stdout.lines().last().unwrap_or_default();
            let result: serde_json::Value = serde_json::from_str(last).unwrap_or_default();
            let key = |name| result["added"][0][name].as_str().map(str::to_owned);
            let md5 = key("md5");
            match key("blake3") {
                Some(_) if md5.is_some() != tree.key().is_some() => {
                    self.fault("a file has an md5, a folder none", &added);
                }
                Some(key) if tree.key().is_none_or(|expected| key == expected) => {
                    self.world.added(Added { key, md5, source, tree });
                }
                Some(_) => self.fault("a key that is not the file's hash", &added),
                None => self.fault("no key", &added),
            }
        }
        self.world.done_with(folder);
        Ok(added.end.to_string())
    }

    fn restart(&self, server: &Server, signal: Signal, pause: Duration) -> String {
        let mut state = server.take();
        let how = match server.end(&mut state, signal) {
            None => "it was not running".into(),
            Some(end) if end.is_by(signal) => format!("{signal}"),
            Some(end) => {
                let what = format!("{} was sent {signal} and ended with {end}", server.name);
                self.world.record.fault(&what, "", &printed(&server.stderr()));
                end.to_string()
            }
        };
        self.world.pause(pause);
        if let Err(why) = server.start(&mut state) {
            self.world.record.fault(&why, "", &printed(&server.stderr()));
        }
        how
    }

    /// A few bytes of a file that was added are other ones from now on.
    fn change(&self, pick: usize, file: usize, at: f64) -> String {
        let Some(added) = self.world.pick(pick) else { return NOTHING_YET.into() };
        let changed = || {
            let below = added.tree.file(file).unwrap_or(Path::new(""));
            // A path that ends in a slash is a folder's.
            let path: PathBuf = added.source.components().chain(below.components()).collect();
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.seek(SeekFrom::Start((file.metadata()?.len() as f64 * at) as u64))?;
            file.write_all(b"changed")
        };
        match changed() {
            Ok(()) => "done".into(),
            Err(error) => error.kind().to_string(),
        }
    }

    /// Runs a command, and looks at what must hold for each.
    pub(super) fn run(&self, call: Call<'_>) -> Result<Finished, String> {
        let at = |what| self.world.place.root().join(format!("worker-{}.{what}", self.number));
        let (stdout, stderr) = (at("out"), at("err"));
        let create = |path| File::create(path).map_err(|e| e.to_string());
        let mut command = Command::new(askaround());
        command.current_dir(call.folder).args(&call.words);
        let mut process = Process::start(&mut command, create(&stdout)?, create(&stderr)?)?;
        if let Some((after, signal)) = call.interrupted {
            self.world.pause(after);
            process.signal(signal);
        }
        let limit = if call.name.starts_with("verify") { LIMIT_OF_VERIFY } else { LIMIT };
        let end = process.wait(limit, || self.world.is_cut_short());
        let (stdout, stderr) = (printed(&stdout), printed(&stderr));
        let output = format!("{stdout}{stderr}");
        let finished = Finished { end, stdout, command: format!("{command:?}"), output };
        let may_end = matches!(end, End::Status(0 | 1) | End::CutShort)
            || call.interrupted.is_some_and(|(_, signal)| end.is_by(signal));
        if finished.output.contains("panicked") {
            self.fault("a panic", &finished);
        } else if end == End::TooLong {
            self.fault(&format!("no end after {} s", limit.as_secs()), &finished);
        } else if !may_end {
            self.fault(&format!("an end that is not documented for it, {end}"), &finished);
        }
        if !matches!(end, End::Status(0) | End::CutShort) && call.interrupted.is_none() {
            self.world
                .record
                .message(&format!("{}, {end}", call.name), message::reason(&finished.stdout, &stderr));
        }
        Ok(finished)
    }

    /// Something is wrong with what a command did.
    pub(super) fn fault(&self, what: &str, finished: &Finished) {
        let output = format!("{}\n{}", finished.end, finished.output);
        self.world.record.fault(what, &finished.command, &output);
    }
}
