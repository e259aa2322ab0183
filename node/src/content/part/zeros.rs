//! Pieces of nothing but zeros: their hashes tell, so that nobody has to be asked for them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use askaround_core::pieces::{MAX_PIECE, Manifest, PieceIndex, piece_hash};

use super::{Part, PartError};
use crate::content::hash::{cores, start_threads};
use crate::lock;

/// Of so many pieces it is seen whether content is mostly zeros.
const SAMPLE: u32 = 8;

/// Zeros of a piece's length. Memory that was never written to takes no room.
struct Zeros(Vec<u8>);

impl Zeros {
    fn new() -> Self {
        Self(vec![0; MAX_PIECE as usize])
    }

    /// Whether a piece is nothing but zeros. As much work as to check it.
    fn are(&self, manifest: &Manifest, piece: PieceIndex) -> bool {
        let geometry = manifest.geometry();
        let zeros = &self.0[..geometry.length(piece)];
        piece_hash(&geometry, piece, zeros) == *manifest.hash(piece)
    }
}

/// Whether at least half of some pieces all over the content are nothing but zeros. False where there are
/// few.
pub fn is_mostly_zeros(manifest: &Manifest) -> bool {
    manifest.geometry().count() >= SAMPLE && zeros_in_sample(manifest) >= SAMPLE as usize / 2
}

/// How many of some pieces all over the content are nothing but zeros.
fn zeros_in_sample(manifest: &Manifest) -> usize {
    let (geometry, zeros) = (manifest.geometry(), Zeros::new());
    let sample = geometry.pieces().step_by((geometry.count() / SAMPLE).max(1) as usize).take(SAMPLE as usize);
    sample.filter(|piece| zeros.are(manifest, *piece)).count()
}

impl Part {
    /// Has pieces of nothing but zeros, if what was not written is a hole, and some pieces all over the
    /// content say that there are more than a few. How many bytes they are. `progress` is told how many
    /// bytes are looked at. Blocks for as long as it takes to hash all that is missing.
    ///
    /// # Errors
    /// If the disk says no, or `cancel` becomes true.
    pub fn fill_with_zeros(&self, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<u64, PartError> {
        if !self.holes || zeros_in_sample(&self.wanted.manifest) == 0 {
            return Ok(0);
        }
        let (zeros, manifest) = (Zeros::new(), &self.wanted.manifest);
        let (geometry, next) = (manifest.geometry(), AtomicU32::new(0));
        let found = Mutex::new(Vec::new());
        // Each thread looks at the next piece that none has looked at; how far that is.
        let look_at_next = || {
            let piece = geometry.piece(next.fetch_add(1, Ordering::Relaxed))?;
            if !self.has(piece.get()) && zeros.are(manifest, piece) {
                lock(&found).push(piece);
            }
            (!cancel.load(Ordering::Relaxed)).then_some(geometry.range(piece).end)
        };
        std::thread::scope(|scope| {
            start_threads(scope, cores() - 1, || || while look_at_next().is_some() {});
            while let Some(far) = look_at_next() {
                progress(far);
            }
        });
        if cancel.load(Ordering::Relaxed) {
            return Err(PartError::Cancelled);
        }
        progress(geometry.size());
        let found = std::mem::take(&mut *lock(&found));
        {
            let _writes = lock(&self.writes);
            let mut have = self.have_mut();
            found.iter().for_each(|piece| _ = have.insert(piece.get()));
        }
        self.record(&found)?;
        Ok(found.iter().map(|piece| geometry.length(*piece) as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use askaround_core::pieces::Geometry;

    use super::*;
    use crate::content::part::{PartOptions, Wanted};
    use crate::content::{Found, Place};

    /// A piece of zeros for each `true`, of others for each `false`.
    fn manifest(are_zeros: &[bool]) -> Arc<Manifest> {
        let size = are_zeros.len() as u64 * 65_536;
        let geometry = Geometry::new(size).unwrap();
        let bytes = |zeros: bool| vec![u8::from(!zeros); 65_536];
        let hash = |(piece, zeros): (_, &bool)| piece_hash(&geometry, piece, &bytes(*zeros));
        Arc::new(Manifest::of(size, geometry.pieces().zip(are_zeros).map(hash).collect()).unwrap())
    }

    #[test]
    fn content_is_mostly_zeros_if_half_of_some_pieces_are() {
        let half = [[true; 8], [false; 8]].concat();
        assert!(is_mostly_zeros(&manifest(&half)));
        let less = [[true; 6].as_slice(), &[false; 10]].concat();
        assert!(!is_mostly_zeros(&manifest(&less)));
        assert!(!is_mostly_zeros(&manifest(&[true; 7])), "too few");
    }

    #[test]
    fn zeros_are_there_without_being_asked_for_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = || Place::new(&folder.path().join("out")).unwrap();
        let are_zeros: Vec<_> = (0..40).map(|piece| piece % 4 != 1).collect();
        let wanted = Wanted { manifest: manifest(&are_zeros), md5: None };
        let sparse = PartOptions { sparse: true, ..PartOptions::default() };
        let go = AtomicBool::new(false);
        let part = Part::create(place(), wanted.clone(), sparse).unwrap();
        let far = std::cell::Cell::new(0);
        assert_eq!(part.fill_with_zeros(&|to| far.set(to), &go).unwrap(), 30 * 65_536);
        assert_eq!(far.get(), 40 * 65_536);
        let here = |part: &Part| (0..40).map(|piece| part.has(piece)).collect::<Vec<_>>();
        assert_eq!(here(&part), are_zeros);
        drop(part);
        let Found::Part(part) = Part::resume(place(), &wanted.manifest.root().key(), sparse).unwrap() else {
            panic!("it was recorded");
        };
        part.check_doubtful(&go).unwrap();
        assert_eq!(here(&part), are_zeros);
        // There is no telling what others have written there meanwhile.
        assert_eq!(part.fill_with_zeros(&|_| (), &go).unwrap(), 0);
        drop(part);

        let part = Part::create(place(), wanted.clone(), PartOptions::default()).unwrap();
        assert_eq!(part.fill_with_zeros(&|_| (), &go).unwrap(), 0, "room was set aside for them");
        drop(part);
        let part = Part::create(place(), wanted, sparse).unwrap();
        let cancelled = part.fill_with_zeros(&|_| (), &AtomicBool::new(true));
        assert!(matches!(cancelled, Err(PartError::Cancelled)), "{cancelled:?}");
        assert!(part.pieces().is_empty());
    }
}
