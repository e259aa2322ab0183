//! Fetches, and what must be at their destination when they have ended.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::operation::Wanted;
use super::process::End;
use super::recipe;
use super::server::Server;
use super::tree::Tree;
use super::worker::{Call, Finished, NOTHING_YET, Worker};
use super::world::Added;

/// What may be at the name of something that was not fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    /// No file; of a folder, files that are whole.
    Nothing,
    /// The same, or all of it: nobody was there to tell of the end, or nothing could be stored of it.
    Whole,
    /// Anything: it is written in place.
    Anything,
}

/// Where a content is fetched to.
struct Destination {
    added: Arc<Added>,
    folder: PathBuf,
    to: PathBuf,
    /// The words that have it fetched there.
    words: Vec<OsString>,
}

impl Destination {
    fn call(
        &self,
        name: &'static str,
        words: &[OsString],
        interrupted: Option<(Duration, Signal)>,
    ) -> Call<'_> {
        Call { name, words: words.to_vec(), folder: &self.folder, interrupted }
    }
}

impl Worker<'_> {
    /// A peer fetches to a place where nothing is. If it fails, perhaps again.
    pub(super) fn get(
        &self,
        peer: &Server,
        what: &Wanted,
        in_place: bool,
        again: bool,
    ) -> Result<String, String> {
        let Some(place) = self.destination(what)? else { return Ok(NOTHING_YET.into()) };
        let mut words = place.words.clone();
        words.extend(in_place.then(|| "--in-place".into()));
        words.extend(self.of(peer));
        // What a peer that was ended has left is there at the second fetch too.
        let ends = peer.ends();
        let fetch = || {
            let got = self.run(place.call("get", &words, None))?;
            let unfinished = match (in_place, peer.ends() == ends) {
                (true, _) => Unfinished::Anything,
                (false, true) if !self.world.place.is_small() => Unfinished::Nothing,
                (false, _) => Unfinished::Whole,
            };
            self.check(&got, &place, unfinished);
            Ok::<_, String>(got.end)
        };
        let first = fetch()?;
        let mut how = first.to_string();
        if again && first == End::Status(1) && !self.world.is_over() {
            how = format!("{how}, again: {}", fetch()?);
        }
        self.world.done_with(place.folder);
        Ok(how)
    }

    /// A peer of its own fetches; perhaps it is ended, and the command given again.
    pub(super) fn one_shot(
        &self,
        what: &Wanted,
        from: Option<&Server>,
        interrupted: Option<(Duration, Signal)>,
    ) -> Result<String, String> {
        let Some(place) = self.destination(what)? else { return Ok(NOTHING_YET.into()) };
        let mut words = place.words.clone();
        let address = self.world.tracker.address();
        let own = ["--tracker", &address, "--listen", "127.0.0.1:0", "--holder-timeout", "5", "--stay", "1"];
        words.extend(own.map(OsString::from));
        words.extend(from.iter().flat_map(|peer| ["--from".into(), peer.address().into()]));
        let fetch = |interrupted: Option<_>| {
            let got = self.run(place.call("get --tracker", &words, interrupted))?;
            let unfinished = if interrupted.is_some() { Unfinished::Whole } else { Unfinished::Nothing };
            self.check(&got, &place, unfinished);
            Ok::<_, String>(got.end)
        };
        let mut how = String::new();
        if let Some((_, signal)) = interrupted {
            how = format!("{signal}: {}, again: ", fetch(interrupted)?);
        }
        if !self.world.is_cut_short() {
            how.push_str(&fetch(None)?.to_string());
        }
        self.world.done_with(place.folder);
        Ok(how)
    }

    /// Where one of the contents that were added is fetched to, if there is one: nothing is there.
    fn destination(&self, what: &Wanted) -> Result<Option<Destination>, String> {
        let Some(added) = self.world.pick(what.pick) else { return Ok(None) };
        let folder = self.world.fresh(self.world.place.of_peers(), "got")?;
        let to = folder.join(recipe::name(what.name, 0));
        let key = added.md5.as_ref().filter(|_| what.by_md5).unwrap_or(&added.key);
        let words = vec!["get".into(), key.into(), "-q".into(), "-o".into(), (&to).into()];
        Ok(Some(Destination { added, folder, to, words }))
    }

    /// Compares what is at the destination with what was added.
    fn check(&self, got: &Finished, Destination { added, to, .. }: &Destination, unfinished: Unfinished) {
        let made = match Tree::read(to) {
            Ok(made) => Some(made),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return self.fault(&format!("what was fetched cannot be read: {error}"), got),
        };
        let done = got.end == End::Status(0);
        let wrong = match made {
            None if done => vec!["there is nothing".into()],
            None => Vec::new(),
            Some(made) if done => added.tree.differences(&made),
            Some(_) if unfinished == Unfinished::Anything => Vec::new(),
            Some(made) => {
                let mut wrong = added.tree.differences_so_far(&made);
                if unfinished == Unfinished::Nothing && matches!(made, Tree::File(_)) {
                    wrong.insert(0, "there is a file".into());
                }
                wrong
            }
        };
        if !wrong.is_empty() {
            let kind = if done { "fetched" } else { "not fetched" };
            self.fault(&format!("{kind}, but: {} ({})", wrong.join("; "), added.source.display()), got);
        }
        if done && let Some(left) = left_beside(to) {
            self.fault(&format!("fetched, and beside it was left {left}"), got);
        }
    }
}

/// Something in the folder of a fetch that is not what was fetched.
fn left_beside(to: &Path) -> Option<String> {
    let entries = std::fs::read_dir(to.parent()?).into_iter().flatten().flatten();
    let mut others = entries.filter(|entry| Some(entry.file_name().as_os_str()) != to.file_name());
    others.next().map(|entry| format!("{:?}", entry.file_name()))
}
