//! [`Collection`]: a folder as content. It is a list of files, in text, of which there is exactly
//! one for the same files; so its own key names all of them.
//!
//! ```text
//! askaround collection 1
//! af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262 0 - "empty"
//! <blake3> <size> <x if it may be run, else -> <relative path, a JSON string>
//! ```
//!
//! Files stand in the order of their paths' bytes. What is not a file is not in it: no empty
//! folder, no link, no owner, no time.

use std::collections::HashMap;
use std::fmt::{self, Write};

use askaround_core::pieces::{Geometry, Root, TooLarge};

use super::part::is_unfinished;
use super::path::{InvalidPath, RelativePath};

/// The most files of a collection.
pub const MAX_FILES: usize = 1 << 18;
/// The longest list, in bytes.
pub const MAX_LIST: usize = 32 << 20;
/// The most pieces of all files of a collection together, so that a set of them is half a
/// megabyte at most.
pub const MAX_TOTAL_PIECES: u64 = 1 << 22;

/// The most components of a path.
pub const MAX_DEPTH: usize = 64;
/// The most folders of a collection for each of its files, and beyond that: a short list must not
/// become millions of folders.
pub const FOLDERS_A_FILE: usize = 16;
/// See [`FOLDERS_A_FILE`].
pub const MORE_FOLDERS: usize = 1024;

/// The files of a folder, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    files: Vec<ListedFile>,
}

/// A file of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is below the folder.
    pub path: RelativePath,
    /// Its BLAKE3 hash.
    pub root: Root,
    /// Its bytes.
    pub size: u64,
    /// Whether it may be run.
    pub executable: bool,
}

/// Why files are no collection, or bytes are no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectionError {
    /// It does not begin as a list does.
    #[error("not the list of a collection: it does not begin with \"{}\"", Collection::FIRST_LINE)]
    NotAList,
    /// A line that is not as it should be.
    #[error("line {number} of the list of a collection: {why}")]
    Line {
        /// Which, from 1 on.
        number: usize,
        /// What is wrong.
        why: LineFault,
    },
    /// The same list, written in another way: files not in order, numbers with zeros in front.
    #[error("the list of a collection is not written in the one way in which it can be")]
    NotCanonical,
    /// The same path twice, or a path that is also a folder of another.
    #[error("the collection has {0} twice, or as a file and as a folder")]
    Twice(RelativePath),
    /// The same content with two sizes.
    #[error("the collection has files of two sizes with the hash {0}")]
    TwoSizes(Root),
    /// A name that fetches under way use for files of their own.
    #[error("{0}: a name that files have only while they are fetched")]
    Reserved(RelativePath),
    /// A path of more than [`MAX_DEPTH`] components, or more than [`FOLDERS_A_FILE`] folders for
    /// each file.
    #[error(
        "{0}: too deep: a path has at most {MAX_DEPTH} parts, and a collection few more folders than files"
    )]
    TooDeep(RelativePath),
    /// More than [`MAX_FILES`].
    #[error("a collection has at most {MAX_FILES} files")]
    TooManyFiles,
    /// More than [`MAX_LIST`] bytes of list.
    #[error("the list of a collection has at most {MAX_LIST} bytes")]
    ListTooLong,
    /// More than [`MAX_TOTAL_PIECES`].
    #[error("the files of a collection have at most {MAX_TOTAL_PIECES} pieces together")]
    TooManyPieces,
    /// A file that is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What is wrong with a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not four fields.
    #[error("expected a hash, a size, x or -, and a path")]
    Fields,
    /// The first field.
    #[error("the hash is not 64 lower-case hexadecimal digits")]
    Root,
    /// The second.
    #[error("the size is no number")]
    Size,
    /// The third.
    #[error("expected x or -")]
    Executable,
    /// The fourth, as JSON.
    #[error("the path is no JSON string")]
    Json,
    /// The fourth, as a path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

impl Collection {
    /// What each list begins with.
    pub const FIRST_LINE: &str = "askaround collection 1";

    /// The collection of `files`, in whatever order.
    ///
    /// # Errors
    /// If there are too many, or two cannot be in one folder.
    pub fn new(files: Vec<ListedFile>) -> Result<Self, CollectionError> {
        let collection = Self::in_order(files)?;
        if collection.length() > MAX_LIST {
            return Err(CollectionError::ListTooLong);
        }
        Ok(collection)
    }

    /// The same, however long its list is.
    fn in_order(mut files: Vec<ListedFile>) -> Result<Self, CollectionError> {
        if files.len() > MAX_FILES {
            return Err(CollectionError::TooManyFiles);
        }
        refuse_sizes(&files)?;
        refuse_clashes(&files)?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files.shrink_to_fit();
        Ok(Self { files })
    }

    /// Reads a list.
    ///
    /// # Errors
    /// If it is none, is too long, or is not written in the one way.
    pub fn parse(bytes: &[u8]) -> Result<Self, CollectionError> {
        if bytes.len() > MAX_LIST {
            return Err(CollectionError::ListTooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| CollectionError::NotAList)?;
        let rest = text.strip_prefix(Self::FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.ok_or(CollectionError::NotAList)?;
        let mut files = Vec::new();
        for (at, line) in rest.lines().enumerate() {
            if files.len() == MAX_FILES {
                return Err(CollectionError::TooManyFiles);
            }
            let file = parse_line(line).map_err(|why| CollectionError::Line { number: at + 2, why })?;
            files.push(file);
        }
        // Its list has to be these bytes, which are not too long.
        let collection = Self::in_order(files)?;
        let mut rest = Expected(bytes);
        match collection.write(&mut rest) {
            Ok(()) if rest.0.is_empty() => Ok(collection),
            _ => Err(CollectionError::NotCanonical),
        }
    }

    /// The list.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.length());
        self.write(&mut text).expect("a string takes all");
        text.into_bytes()
    }

    fn write(&self, to: &mut impl Write) -> fmt::Result {
        writeln!(to, "{}", Self::FIRST_LINE)?;
        for file in &self.files {
            let path = serde_json::Value::from(file.path.as_str());
            let run = if file.executable { 'x' } else { '-' };
            writeln!(to, "{} {} {run} {path}", file.root, file.size)?;
        }
        Ok(())
    }

    /// The bytes of the list.
    fn length(&self) -> usize {
        let mut length = Length(0);
        self.write(&mut length).expect("all is counted");
        length.0
    }

    /// The files, in the order of their paths.
    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// The bytes of all files together.
    pub fn size(&self) -> u64 {
        // At most MAX_TOTAL_PIECES of 4 MiB.
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Counts what is written, of which nothing is kept: a list may be long.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Takes nothing but these bytes.
struct Expected<'b>(&'b [u8]);

impl Write for Expected<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn parse_line(line: &str) -> Result<ListedFile, LineFault> {
    let mut fields = line.splitn(4, ' ');
    let mut field = || fields.next().ok_or(LineFault::Fields);
    let (root, size, run, path) = (field()?, field()?, field()?, field()?);
    let path: String = serde_json::from_str(path).map_err(|_| LineFault::Json)?;
    Ok(ListedFile {
        root: root.parse().map_err(|_| LineFault::Root)?,
        size: size.parse().map_err(|_| LineFault::Size)?,
        executable: match run {
            "x" => true,
            "-" => false,
            _ => return Err(LineFault::Executable),
        },
        path: RelativePath::new(&path)?,
    })
}

fn refuse_sizes(files: &[ListedFile]) -> Result<(), CollectionError> {
    let (mut pieces, mut sizes) = (0, HashMap::with_capacity(files.len()));
    for file in files {
        pieces += u64::from(Geometry::new(file.size)?.count());
        if *sizes.entry(file.root).or_insert(file.size) != file.size {
            return Err(CollectionError::TwoSizes(file.root));
        }
    }
    if pieces > MAX_TOTAL_PIECES { Err(CollectionError::TooManyPieces) } else { Ok(()) }
}

/// In the order of their components, whatever is below a path comes right behind it.
fn refuse_clashes(files: &[ListedFile]) -> Result<(), CollectionError> {
    let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
    paths.sort_by(|a, b| a.as_str().split('/').cmp(b.as_str().split('/')));
    let (mut folders, mut last) = (0, "");
    for path in &paths {
        let components = || path.as_str().split('/');
        if components().any(is_unfinished) {
            return Err(CollectionError::Reserved((*path).clone()));
        }
        let depth = components().count();
        let known = components().zip(last.split('/')).take_while(|(a, b)| a == b).count();
        folders += (depth - 1).saturating_sub(known);
        if depth > MAX_DEPTH || folders > FOLDERS_A_FILE * files.len() + MORE_FOLDERS {
            return Err(CollectionError::TooDeep((*path).clone()));
        }
        last = path.as_str();
    }
    for pair in paths.windows(2) {
        let below = pair[1].as_str().strip_prefix(pair[0].as_str());
        if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            return Err(CollectionError::Twice(pair[0].clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, size: u64) -> ListedFile {
        let root = Root::new(*blake3::hash(path.as_bytes()).as_bytes());
        ListedFile { path: RelativePath::new(path).unwrap(), root, size, executable: size % 2 == 1 }
    }

    #[test]
    fn one_list_for_the_same_files() {
        let files = vec![file("b", 1), file("a/é \" \\ \n.txt", 2), file("a-b", 3), file("a/b/c", 70_000)];
        let mut turned = files.clone();
        turned.reverse();
        let collection = Collection::new(files).unwrap();
        assert_eq!(collection, Collection::new(turned).unwrap());
        let bytes = collection.to_bytes();
        assert_eq!(collection.length(), bytes.len());
        assert_eq!(Collection::parse(&bytes), Ok(collection.clone()));
        let paths: Vec<_> = collection.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a-b", "a/b/c", "a/é \" \\ \n.txt", "b"]);
        assert_eq!(collection.size(), 70_006);
        assert_eq!(String::from_utf8(bytes).unwrap().lines().count(), 5, "a line a file");
        let empty = Collection::new(Vec::new()).unwrap();
        assert_eq!(Collection::parse(b"askaround collection 1\n"), Ok(empty));
    }

    #[test]
    fn files_that_cannot_be_in_one_folder() {
        for (a, b) in [("a", "a"), ("a", "a/b"), ("a/b", "a/b/c/d"), ("a/b", "a")] {
            // Others sort between them.
            let files = vec![file(a, 1), file("a!b", 1), file(b, 1), file("a-b", 1)];
            assert!(matches!(Collection::new(files), Err(CollectionError::Twice(_))), "{a} {b}");
        }
    }

    #[test]
    fn a_list_cannot_name_what_fetches_use_or_make_more_folders_than_files_need() {
        for bad in [".a.askaround-part", ".a.askaround-part/b", "a/.b.askaround-journal"] {
            let files = vec![file("a.askaround-part", 1), file(bad, 1)];
            assert!(matches!(Collection::new(files), Err(CollectionError::Reserved(_))), "{bad}");
        }
        let deep = |of: usize, n: usize| format!("{n}/{}f", "d/".repeat(of - 2));
        let tree = |of: usize, n: usize| (0..n).map(|n| file(&deep(of, n), 1)).collect();
        assert!(Collection::new(tree(18, 1024)).is_ok());
        assert!(matches!(Collection::new(tree(19, 1024)), Err(CollectionError::TooDeep(_))));
        let side_by_side =
            |of: usize| (0..9).map(|n| file(&format!("{}{n}", "d/".repeat(of - 1)), 1)).collect();
        assert!(Collection::new(side_by_side(64)).is_ok());
        assert!(matches!(Collection::new(side_by_side(65)), Err(CollectionError::TooDeep(_))));
    }

    #[test]
    fn says_what_is_wrong_with_a_list() {
        let root = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let line = |line: String| Collection::parse(format!("askaround collection 1\n{line}\n").as_bytes());
        let fault = |text: String| match line(text) {
            Err(CollectionError::Line { number: 2, why }) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(format!("{root} 1 -")), LineFault::Fields);
        assert_eq!(fault(format!("{} 1 - \"a\"", &root[1..])), LineFault::Root);
        assert_eq!(fault(format!("{root} -1 - \"a\"")), LineFault::Size);
        assert_eq!(fault(format!("{root} 1 y \"a\"")), LineFault::Executable);
        assert_eq!(fault(format!("{root} 1 - a")), LineFault::Json);
        for bad in ["/etc/passwd", "../a", "a/../../b", "", "a/", "a\\u0000"] {
            assert!(matches!(fault(format!("{root} 1 - \"{bad}\"")), LineFault::Path(_)), "{bad}");
        }
        assert!(matches!(line(format!("{root} {} - \"a\"", u64::MAX)), Err(CollectionError::TooLarge(_))));
        for odd in ["01 - \"a\"", "1 - \"\\u0061\"", "1 - \"a\" ", "1 - \"b\"\nX 1 - \"a\""] {
            let text = format!("{root} {odd}").replace('X', root);
            assert_eq!(line(text), Err(CollectionError::NotCanonical), "{odd}");
        }
        let two = Err(CollectionError::TwoSizes(root.parse().unwrap()));
        assert_eq!(line(format!("{root} 1 - \"a\"\n{root} 2 - \"b\"")), two);
        let whole = format!("askaround collection 1\n{root} 0 - \"a\"");
        assert_eq!(
            Collection::parse(whole.as_bytes()),
            Err(CollectionError::NotCanonical),
            "no last newline"
        );
        assert_eq!(Collection::parse(b"\xff"), Err(CollectionError::NotAList));
        assert_eq!(Collection::parse(b""), Err(CollectionError::NotAList));
    }

    #[test]
    fn lists_without_end_are_refused() {
        let huge = vec![b'\n'; MAX_LIST + 1];
        assert_eq!(Collection::parse(&huge), Err(CollectionError::ListTooLong));
        let many = (0..5).map(|i| file(&i.to_string(), 4 << 40)).collect();
        assert_eq!(Collection::new(many), Err(CollectionError::TooManyPieces));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in r#"([0-9a-f]{64} [0-9]{1,3} [x-] "[ab/.]{1,3}"\n){0,3}"#) {
            let bytes = format!("{}\n{text}", Collection::FIRST_LINE).into_bytes();
            if let Ok(collection) = Collection::parse(&bytes) {
                prop_assert_eq!(collection.to_bytes(), bytes);
            }
        }
    }
}
