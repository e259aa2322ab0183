//! The content of a run that delivers: bytes behind each key of a scenario, laid out in a scratch
//! folder, and what became of them.
//!
//! A scenario's key is any text, and no bytes have it as their hash. So each key of a run stands
//! for generated content, and everybody is told for which: the table is `keys.json` in the scratch
//! folder, a JSON object of key to BLAKE3 hash. The search is for the key; what is asked of whoever
//! was found is the content, by its hash (PROTOCOL.md §7), and what comes has to have that hash.
//!
//! The folder of client `n` is `n/` in the scratch folder. At the start it has a file for each key
//! that the client holds, with the content's hash as its name; at the end also `deliveries.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::peer::PeerConfig;
use askaround_core::pieces::{MIN_PIECE, Root};
use askaround_core::script::Script;
use askaround_node::delivery::stock::{Delivered, Names, Stock};
use askaround_node::peer::PeerOptions;

use super::scratch::Folder;
use super::{RunError, blocking};
use crate::scenario::Scenario;

/// How long a delivery may take before its sender counts as not having the key. Two in a row fit
/// into the time that a peer has for its turn.
const DELIVERY: Duration = Duration::from_secs(20);
const KEYS: &str = "keys.json";
const DELIVERIES: &str = "deliveries.json";
/// What makes the bytes ours: BLAKE3's context string.
const CONTEXT: &str = "askaround lab run --deliver, the content of a key";
/// Sizes of content in bytes: several pieces, one and a byte, exactly one, and less.
const SIZES: [usize; 4] =
    [2 * MIN_PIECE as usize + 20_000, MIN_PIECE as usize + 1, MIN_PIECE as usize, 1_000];

/// The content that each key of a scenario stands for: those that somebody holds at the start,
/// since no others can be found.
///
/// The bytes are what BLAKE3 derives from the key. The fourth key in order has one byte and the
/// fifth none; no two have the same.
pub fn contents(scripts: &[Script]) -> BTreeMap<Key, Vec<u8>> {
    let keys: BTreeSet<&Key> = scripts.iter().flat_map(|script| &script.content).collect();
    let content = |(number, key): (usize, &Key)| {
        let size = match number {
            3 => 1,
            4 => 0,
            n => SIZES[n % SIZES.len()],
        };
        let mut bytes = vec![0; size];
        let seed = blake3::Hasher::new_derive_key(CONTEXT).update(key.as_str().as_bytes()).finalize_xof();
        { seed }.fill(&mut bytes);
        (key.clone(), bytes)
    };
    keys.into_iter().enumerate().map(content).collect()
}

/// The scratch folder of a run, which goes with the value.
#[derive(Debug)]
pub struct Scratch(Folder);

impl Scratch {
    /// Lays out what everybody holds at the start, in a new folder among the system's temporary
    /// ones. What runs that were killed have left there is removed.
    ///
    /// # Errors
    /// If the disk says no.
    pub async fn make(scenario: &Scenario) -> Result<Self, RunError> {
        let scripts: Vec<Script> = scenario.scripts.iter().map(|(_, script)| script.clone()).collect();
        let parent = std::env::temp_dir();
        let what = format!("lay out content for the peers in {}", parent.display());
        let laid = blocking(move || {
            let folder = Folder::make(&parent)?;
            lay_out(&scripts, folder.path())?;
            Ok(Self(folder))
        });
        laid.await.map_err(RunError::system(what))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Removes it. What was delivered, as those say who ended by themselves.
    ///
    /// # Errors
    /// If that cannot be read, or the folder not removed.
    pub async fn end(self, scenario: &Scenario) -> Result<Vec<(PeerId, Delivered)>, RunError> {
        let ids: Vec<PeerId> = scenario.scripts.iter().map(|(_, script)| script.id).collect();
        let ended = blocking(move || {
            let mut all = Vec::new();
            for id in ids {
                let noted = match std::fs::read(folder_of(self.path(), id).join(DELIVERIES)) {
                    Ok(noted) => noted,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let noted: Vec<Delivered> = serde_json::from_slice(&noted)?;
                all.extend(noted.into_iter().map(|delivered| (id, delivered)));
            }
            self.0.close()?;
            Ok(all)
        });
        ended.await.map_err(RunError::system("end the deliveries"))
    }
}

/// Writes what everybody holds at the start into `folder`. Blocks.
///
/// # Errors
/// If the disk says no.
pub fn lay_out(scripts: &[Script], folder: &Path) -> io::Result<()> {
    let contents = contents(scripts);
    let roots: Names = contents
        .iter()
        .map(|(key, bytes)| (key.clone(), Root::new(*blake3::hash(bytes).as_bytes())))
        .collect();
    let table: BTreeMap<&Key, String> = roots.iter().map(|(key, root)| (key, root.to_string())).collect();
    std::fs::write(folder.join(KEYS), serde_json::to_vec_pretty(&table)?)?;
    for script in scripts {
        let own = folder_of(folder, script.id);
        std::fs::create_dir(&own)?;
        for key in &script.content {
            std::fs::write(own.join(roots[key].to_string()), &contents[key])?;
        }
    }
    Ok(())
}

/// Where a client hands out its content and takes in what it obtains, until it is closed.
#[derive(Debug)]
pub struct Desk {
    folder: PathBuf,
    stock: Arc<Stock>,
}

impl Desk {
    /// Makes the peer `me` deliver, out of the scratch folder of its run.
    ///
    /// # Errors
    /// If what it should hold at the start is not there, or not what its keys stand for.
    pub async fn open(
        scratch: &Path,
        me: Contact,
        script: &Script,
        options: &mut PeerOptions,
        config: &mut PeerConfig,
    ) -> Result<Self, RunError> {
        let folder = folder_of(scratch, me.id);
        let table = scratch.join(KEYS);
        let what = format!("use the table of keys {}", table.display());
        let names = blocking(move || names(&std::fs::read(table)?)).await.map_err(RunError::system(what))?;
        let (held, network, own) = (script.content.clone(), options.network, folder.clone());
        let opened = blocking(move || Ok(Stock::open(me, &own, Arc::new(names), &held, network)));
        let opened = opened.await.map_err(RunError::system("open the content"))?;
        let (stock, server) = opened.map_err(|error| RunError::Content { id: me.id, error })?;
        let stock = Arc::new(stock);
        (options.content, options.stock) = (Some(server), Some(stock.clone()));
        config.delivery_timeout = Some(DELIVERY);
        Ok(Self { folder, stock })
    }

    /// Notes what was delivered, once the peer has ended.
    ///
    /// # Errors
    /// If the disk says no.
    pub async fn close(self) -> io::Result<()> {
        blocking(move || {
            let deliveries = serde_json::to_vec_pretty(&self.stock.deliveries())?;
            std::fs::write(self.folder.join(DELIVERIES), deliveries)
        })
        .await
    }
}

fn folder_of(scratch: &Path, id: PeerId) -> PathBuf {
    scratch.join(id.to_string())
}

fn names(table: &[u8]) -> io::Result<Names> {
    let table: BTreeMap<Key, String> = serde_json::from_slice(table)?;
    let parse = |(key, root): (Key, String)| Ok((key, root.parse::<Root>().map_err(io::Error::other)?));
    table.into_iter().map(parse).collect()
}
