//! Files of a folder, piece by piece.

use super::*;
use crate::content::{How, Stamp};

static GO: AtomicBool = AtomicBool::new(false);

/// Two files of two pieces, of which nothing is here, and their bytes; one may be open at once.
fn two(to: &std::path::Path) -> (Vec<Arc<FolderFile>>, Vec<Vec<u8>>) {
    two_of(to, [100_000; 2])
}

/// Two files of these sizes.
fn two_of(to: &std::path::Path, sizes: [usize; 2]) -> (Vec<Arc<FolderFile>>, Vec<Vec<u8>>) {
    let theirs = tempfile::tempdir().unwrap();
    let bytes = vec![vec![1; sizes[0]], vec![2; sizes[1]]];
    for (name, bytes) in ["a", "b"].iter().zip(&bytes) {
        std::fs::write(theirs.path().join(name), bytes).unwrap();
    }
    let seed = Catalogue::temporary().unwrap();
    let added = seed.add_folder(theirs.path(), How::Reference, &|_, _| (), &GO).unwrap();
    let (folder, open) = (Folder::open(to).unwrap(), OpenFiles::new(0));
    let shared = Arc::new(Shared::new(folder, added.collection, open).unwrap());
    let (mine, mut files) = (Catalogue::temporary().unwrap(), Vec::new());
    for (index, file) in shared.collection.files().iter().enumerate() {
        let begun = FolderFile::begin(&shared, index, Step::Fetch, &mine, &GO).unwrap();
        let entry = seed.get(&file.root.key()).unwrap().unwrap();
        begun.learn(&Arc::new(seed.manifest(&entry).unwrap()));
        files.push(begun);
    }
    (files, bytes)
}

fn take(file: &Arc<FolderFile>, bytes: &[u8], piece: u32) -> Result<(), Rejected> {
    let geometry = Geometry::new(bytes.len() as u64).unwrap();
    let piece = geometry.piece(piece).unwrap();
    let range = geometry.range(piece);
    file.accept(piece, &bytes[range.start as usize..range.end as usize])
}

fn is_open(file: &FolderFile) -> bool {
    matches!(*lock(&file.state), State::Open { .. })
}

#[test]
fn what_was_closed_goes_on_where_it_was_and_is_served_and_synced() {
    let to = tempfile::tempdir().unwrap();
    let (files, bytes) = two(to.path());
    for piece in 0..2 {
        take(&files[0], &bytes[0], piece).unwrap();
        assert!(piece == 1 || is_open(&files[0]));
        take(&files[1], &bytes[1], piece).unwrap();
        assert!(!is_open(&files[0]), "one may be open");
        if piece == 0 {
            assert_eq!(files[0].pieces().unwrap().len(), 1);
            let served = files[0].content().unwrap().unwrap();
            assert_eq!(served.pieces().iter().collect::<Vec<_>>(), [0]);
            files.iter().for_each(|file| file.sync().unwrap());
            assert!(is_open(&files[1]), "it was closed when the other was opened, and has to be synced");
        }
    }
    for (name, bytes) in ["a", "b"].iter().zip(&bytes) {
        assert!(std::fs::read(to.path().join(name)).unwrap() == *bytes);
    }
    assert!(files.iter().all(|file| file.addition().is_some()));
}

/// Keeps its file open, and says when it is asked to close it.
#[derive(Debug)]
struct InUse(std::sync::mpsc::Sender<()>);

impl Closes for InUse {
    fn close(&self) -> bool {
        self.0.send(()).unwrap();
        false
    }
}

#[test]
fn what_is_here_is_known_while_its_file_waits_to_be_opened() {
    let to = tempfile::tempdir().unwrap();
    let (files, bytes) = two(to.path());
    let (file, bytes) = (&files[0], &bytes[0]);
    take(file, bytes, 0).unwrap();
    let (asked, is_asked) = std::sync::mpsc::channel();
    let other: Arc<dyn Closes> = Arc::new(InUse(asked));
    let leave = file.shared.open.leave(Arc::downgrade(&other));
    assert!(!is_open(file));
    let (tell, told) = std::sync::mpsc::channel();
    let here = std::thread::scope(|scope| {
        scope.spawn(|| take(file, bytes, 1).unwrap());
        is_asked.recv().unwrap();
        let pieces = Geometry::new(bytes.len() as u64).unwrap().pieces();
        scope.spawn(move || tell.send(pieces.map(|piece| file.has(piece)).collect::<Vec<_>>()));
        // Only if it is not known does this take any time.
        let here = told.recv_timeout(std::time::Duration::from_secs(10));
        drop(leave);
        here
    });
    assert_eq!(here, Ok(vec![true, false]));
    assert!(file.is_done() && file.pieces().unwrap().is_full());
}

#[test]
fn what_is_noted_of_a_file_is_what_came_however_many_pieces_it_has() {
    let to = tempfile::tempdir().unwrap();
    let (files, bytes) = two_of(to.path(), [65_536, 65_537]);
    for (file, (name, bytes)) in files.iter().zip(["a", "b"].iter().zip(&bytes)) {
        let root = *blake3::hash(bytes).as_bytes();
        let known = file.manifest().unwrap();
        assert_eq!(*known.root().as_bytes(), root, "before any of it has come");
        (0..known.geometry().count()).for_each(|piece| take(file, bytes, piece).unwrap());
        let path = std::path::absolute(to.path().join(name)).unwrap();
        let added = file.addition().unwrap();
        assert_eq!((added.manifest, added.path.as_path()), (known, path.as_path()));
        assert_eq!(added.stamp, Stamp::from(&std::fs::metadata(&path).unwrap()));
        assert_eq!(file.pieces().unwrap(), PieceSet::full(bytes.len().div_ceil(65_536) as u32));
        let served = file.content().unwrap().unwrap();
        assert_eq!((served.is_whole(), *served.manifest().root().as_bytes()), (true, root));
    }
}

#[test]
fn what_another_program_does_to_a_closed_file_is_noticed() {
    let to = tempfile::tempdir().unwrap();
    let (files, bytes) = two(to.path());
    take(&files[0], &bytes[0], 0).unwrap();
    take(&files[1], &bytes[1], 0).unwrap();
    std::fs::remove_file(to.path().join(".a.askaround-part")).unwrap();
    let error = take(&files[0], &bytes[0], 1).unwrap_err();
    assert!(matches!(&error, Rejected::Disk(error) if error.to_string().contains("a: another program")));
}
