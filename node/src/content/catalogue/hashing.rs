//! Hashing files on their way into the catalogue: one on all cores, or many at once.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use askaround_core::pieces::{Geometry, Manifest, piece_hash};

use super::addition::{Addition, Look};
use super::{CatalogueError, Kept, open};
use crate::content::collection::CollectionError;
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::hash::{HashError, hash_file, hash_file_alone, start_threads};
use crate::content::md5::{self, Md5};
use crate::content::walk::FoundFile;

/// Files of a folder that are larger are hashed one after the other, each on all cores; smaller
/// ones one on each core.
const LARGE: u64 = 64 << 20;

/// Hashes the file at `path`, which is open: on all cores, or on this one.
pub(super) fn hash_one(
    path: &Path,
    file: &File,
    all_cores: bool,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Addition, CatalogueError> {
    let addition = hash_open(path, file, all_cores, progress, cancel)?;
    // Another may have its name by now.
    if !std::fs::metadata(path).is_ok_and(|data| Stamp::from(&data) == addition.stamp) {
        return Err(CatalogueError::Hash { path: path.to_owned(), error: HashError::Changed });
    }
    Ok(addition)
}

/// Hashes an open file, which need not be at `path`.
pub(super) fn hash_open(
    path: &Path,
    file: &File,
    all_cores: bool,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Addition, CatalogueError> {
    let hash = if all_cores { hash_file } else { hash_file_alone };
    let failed = |error| CatalogueError::Hash { path: path.to_owned(), error };
    wait_until_changes_show(file, cancel).map_err(failed)?;
    let before = Look::at(file).map_err(DiskError::at(path))?;
    let hashed = hash(file, progress, cancel).map_err(failed)?;
    // What is noted is what was looked at before: a later change shows.
    if Stamp::of(file).map_err(DiskError::at(path))? != before.stamp {
        return Err(failed(HashError::Changed));
    }
    Ok(Addition {
        manifest: Arc::new(hashed.manifest),
        md5: Some(hashed.md5),
        path: path.to_owned(),
        kept: Kept::Reference,
        stamp: before.stamp,
        sparse: before.sparse,
        executable: before.executable,
    })
}

/// So long a file that changes may look as it did, where times are in whole seconds: a FAT has even ones
/// only.
const COARSE: Duration = Duration::from_secs(2);

/// Waits until a change to a file would show in its time.
#[expect(clippy::disallowed_methods, reason = "a file's times are of the machine's clock")]
fn wait_until_changes_show(file: &File, cancel: &AtomicBool) -> Result<(), HashError> {
    loop {
        let wait = until_changes_show(Stamp::of(file)?.mtime_ns, SystemTime::now());
        if wait.is_zero() {
            return Ok(());
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(HashError::Cancelled);
        }
        std::thread::sleep(wait.min(Duration::from_millis(50)));
    }
}

/// How long until a file that changes looks otherwise. A time that is not in whole seconds is fine enough.
fn until_changes_show(mtime_ns: i64, now: SystemTime) -> Duration {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match u64::try_from(mtime_ns) {
        Ok(ns) if ns % 1_000_000_000 == 0 => {
            // Of a time to come nothing is known.
            let age = now.checked_sub(Duration::from_nanos(ns)).unwrap_or(COARSE);
            COARSE.saturating_sub(age)
        }
        _ => Duration::ZERO,
    }
}

/// Hashes many files; what comes back is in their order.
pub(super) fn hash_all(
    found: &[FoundFile],
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Vec<Addition>, CatalogueError> {
    let (large, small): (Vec<usize>, Vec<usize>) = (0..found.len()).partition(|i| found[*i].size > LARGE);
    let hash = |at: usize, all_cores: bool, progress: &dyn Fn(u64)| {
        let path = &found[at].path;
        hash_one(path, &open(path)?, all_cores, progress, cancel)
    };
    let mut hashed: Vec<Option<Addition>> = vec![None; found.len()];
    let mut done = 0;
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(small.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (give, come) = mpsc::sync_channel(2 * cores.max(1));
        let started = start_threads(scope, cores, || {
            let (give, next, small, hash) = (give.clone(), &next, &small, &hash);
            move || {
                while let Some(&at) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if give.send((at, hash(at, false, &|_| ()))).is_err() {
                        return;
                    }
                }
            }
        });
        drop(give);
        let alone = if started == 0 { small.as_slice() } else { &[] };
        let hashed_here = alone.iter().map(|&at| (at, hash(at, false, &|_| ())));
        // Returning drops the receiver, and with it the workers end.
        for (at, addition) in hashed_here.chain(come) {
            done += found[at].size;
            hashed[at] = Some(addition?);
            progress(done);
        }
        Ok::<_, CatalogueError>(())
    })?;
    for at in large {
        hashed[at] = Some(hash(at, true, &|bytes| progress(done + bytes))?);
        done += found[at].size;
    }
    Ok(hashed.into_iter().flatten().collect())
}

/// Hashes the list of a collection, which is in memory.
pub(super) fn hash_list(list: &[u8]) -> Result<(Manifest, Md5), CatalogueError> {
    let size = list.len() as u64;
    let geometry = Geometry::new(size).map_err(CollectionError::from)?;
    let hash = |piece| {
        let range = geometry.range(piece);
        piece_hash(&geometry, piece, &list[range.start as usize..range.end as usize])
    };
    let manifest = Manifest::of(size, geometry.pieces().map(hash).collect()).expect("one hash a piece");
    let mut md5 = md5::Hasher::new();
    md5.update(list);
    Ok((manifest, md5.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::file::file_of;

    #[test]
    fn a_list_has_the_names_of_a_file_with_the_same_bytes() {
        for size in [0, 1, 65_536, 65_537, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            let file = hash_file_alone(&file_of(&bytes).unwrap(), &|_| (), &AtomicBool::new(false)).unwrap();
            assert_eq!(hash_list(&bytes).unwrap(), (file.manifest, file.md5), "{size}");
        }
    }

    #[test]
    fn a_file_whose_time_is_in_whole_seconds_is_hashed_when_a_change_would_show() {
        let at = |ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns);
        let second = 1_000_000_000;
        let wait = |mtime: u64, now: u64| until_changes_show(mtime as i64, at(now));
        assert_eq!(wait(7 * second, 7 * second), COARSE);
        assert_eq!(wait(7 * second, 8 * second + second / 2), Duration::from_millis(500));
        assert_eq!(wait(7 * second, 9 * second), Duration::ZERO);
        assert_eq!(wait(7 * second + 1, 7 * second + 2), Duration::ZERO);
        assert_eq!(wait(8 * second, 7 * second), Duration::ZERO, "the clocks differ");
    }
}
