//! Files and folders that are made to be added, all from one number: awkward sizes, holes, names
//! that need quotes.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use askaround_core::pieces::MIN_PIECE;
use fastrand::Rng;

const NAMES: [&str; 12] = [
    "plain",
    "with space",
    "ünï",
    "日本",
    "-dash",
    "a\"b",
    "q'uote",
    "back\\slash",
    "x\ny",
    ".hidden",
    "CON",
    "longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong",
];

/// Sizes of a file that is a content, and of one of many in a folder.
const ALONE: [u64; 8] = [0, 1, 1000, MIN_PIECE - 1, MIN_PIECE, MIN_PIECE + 1, 300_000, 2_000_000];
const IN_FOLDER: [u64; 8] = [0, 1, 500, MIN_PIECE - 1, MIN_PIECE, MIN_PIECE + 1, 100_000, 1_000_000];
const LARGEST: u64 = 20_000_000;
const MOST_FILES: u32 = 60;

/// One of the names, with the number behind it, so that no two are the same.
pub(super) fn name(which: usize, number: u32) -> String {
    format!("{}{number}", NAMES[which % NAMES.len()])
}

/// Makes a file or a folder in the folder, and says which.
///
/// # Errors
/// If it could not be written.
pub(super) fn make(recipe: u64, folder: &Path) -> io::Result<PathBuf> {
    let random = &mut Rng::with_seed(recipe);
    let path = folder.join(name(random.usize(..), 0));
    if random.u8(0..10) < 6 {
        let size = if random.u8(0..4) == 0 { random.u64(1..LARGEST) } else { choose(&ALONE, random) };
        write(&path, size, random)?;
        return Ok(path);
    }
    for number in 1..=random.u32(1..=MOST_FILES) {
        let mut to = path.clone();
        for _ in 0..random.u8(0..=2) {
            // Without a number, so that files share folders. All files have one, so no file is in the way.
            to.push(NAMES[random.usize(0..NAMES.len())]);
        }
        fs::create_dir_all(&to)?;
        to.push(name(random.usize(..), number));
        if random.u8(0..10) == 0 {
            fs::write(&to, "the same")?;
        } else {
            write(&to, choose(&IN_FOLDER, random), random)?;
        }
        if random.u8(0..5) == 0 {
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(path)
}

fn choose(sizes: &[u64], random: &mut Rng) -> u64 {
    sizes[random.usize(0..sizes.len())]
}

/// Writes so many bytes: by chance, a hole, or a hole and then bytes by chance.
fn write(path: &Path, size: u64, random: &mut Rng) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.set_len(size)?;
    let hole = match random.u8(0..20) {
        0..14 => 0,
        14..17 => size,
        _ => size / 2,
    };
    file.seek(SeekFrom::Start(hole))?;
    // BLAKE3 makes bytes that cannot be compressed as fast as the disk takes them.
    let mut bytes = blake3::Hasher::new().update(&random.u64(..).to_le_bytes()).finalize_xof();
    let mut buffer = vec![0; 1 << 16];
    let mut left = size - hole;
    while left > 0 {
        let part = left.min(buffer.len() as u64) as usize;
        bytes.fill(&mut buffer[..part]);
        file.write_all(&buffer[..part])?;
        left -= part as u64;
    }
    Ok(())
}
