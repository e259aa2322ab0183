//! Content on disk: hashed, fetched into part files, catalogued, collected into folders.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`hash`] | one pass over a file: its root, its piece hashes, its md5 |
//! | [`md5`] | how an [`Md5`], the other name of a content, is computed |
//! | [`part`] | a file while it is fetched, and its journal: what survives a crash |
//! | [`file`](mod@file) | [`ContentFile`]: what a server needs to send pieces |
//! | [`catalogue`] | [`Catalogue`]: which content is here, and in which files |
//! | [`collection`] | the list of a folder's files, itself content |
//! | [`layout`] | how the pieces of those files are numbered |
//! | [`restore`] | what it takes to have a collection in a folder |
//! | [`place`] | a name in an open folder: where files are made and renamed, and how nothing from a peer leaves its folder |
//! | [`path`] | [`RelativePath`]: the path of a file below a folder, which may come from a stranger |
//! | `real_path` | one path for each file and folder, however it is spelt |
//! | [`disk`] | what a disk can say no to, with the path |
//! | `walk` | the files below a folder |
//! | `boot` | which run of the machine this is, and which mount of a disk in it |
//!
//! Everything here blocks: call it from a thread that may (`spawn_blocking`). Nothing here knows
//! of peers. What is on disk is the plain file, under its name only once it is whole.
//!
//! What was verified stays verified while the machine runs, because what a process has written
//! outlives the process. It is lost with the machine, or a disk that is pulled, unless it was synced:
//! journals and catalogue note the boot and the mount, so that a fast transfer need not sync and nothing
//! false is believed afterwards.

mod boot;
pub mod catalogue;
pub mod collection;
pub mod disk;
pub mod file;
pub mod hash;
pub mod layout;
pub mod md5;
pub mod part;
pub mod path;
pub mod place;
mod real_path;
pub mod restore;
mod walk;

pub use boot::BootId;
pub use catalogue::{
    AddedAt, AddedFolder, Addition, Catalogue, CatalogueError, Condition, Entries, Entry, How, Kept, Removed,
    UnknownCopies, Verified,
};
pub use collection::{Collection, CollectionError, ListedFile};
pub use disk::{DiskError, Fault};
pub use file::{ContentFile, Stamp};
pub use hash::{HashError, Hashed, InOrderHash, hash_file};
pub use layout::Layout;
pub use md5::{Md5, md5_of};
pub(crate) use part::remove_old_journal;
pub use part::{Found, Part, PartError, PartOptions, ToRepair, Wanted, is_mostly_zeros};
pub use path::{InvalidPath, RelativePath};
pub(crate) use place::ends_in_slash;
pub use place::{Folder, Place, There};
pub(crate) use real_path::{real_folder, real_path};
pub use restore::{RestoreError, Step, plan};
pub use walk::{Skipped, WhySkipped};

/// A folder in memory where the system has one: tests sync often, and need not wait for a disk.
#[cfg(test)]
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}
