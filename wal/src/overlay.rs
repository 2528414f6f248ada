//! A log file that is read and never written, whatever redb wants to write.
//!
//! Promises: the file stays as it is, byte for byte; what redb writes (after an unclean stop it repairs its header) is kept in memory
//! and read back from there. Assumes that nobody else writes the file meanwhile, and that redb writes little: all of it stays in
//! memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The unit in which changed bytes are kept. redb writes whole pages of this size, and its header.
const PAGE: usize = 4096;
const PAGE_BYTES: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Overlay {
    file: File,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    length: u64,
    /// Bytes of the file from here on were cut off, and are zero if the length grows again.
    cut: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(crate) fn new(file: File) -> Result<Self, Error> {
        let length = file.metadata()?.len();
        let changed = Changed { length, cut: length, pages: BTreeMap::new() };
        Ok(Self { file, changed: Mutex::new(changed) })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        // Every change is complete before the next can fail.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page at `index` as it is in the file, with zeros behind its end.
    fn original(&self, index: u64, cut: u64) -> Result<Vec<u8>, Error> {
        let mut page = vec![0; PAGE];
        let start = index * PAGE_BYTES;
        let kept = usize::try_from(cut.saturating_sub(start)).unwrap_or(PAGE).min(PAGE);
        if let Some(kept) = page.get_mut(..kept) {
            self.file.read_exact_at(kept, start)?;
        }
        Ok(page)
    }
}

/// The pieces of the range, as page index, offset in the page, and length.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let mut left = length;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let within = usize::try_from(at % PAGE_BYTES).unwrap_or(0);
        let piece = left.min(PAGE - within);
        let index = at / PAGE_BYTES;
        left -= piece;
        at += u64::try_from(piece).unwrap_or(PAGE_BYTES);
        Some((index, within, piece))
    })
}

fn check_range(offset: u64, length: usize, end: u64) -> Result<(), Error> {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    match offset.checked_add(length) {
        Some(last) if last <= end => Ok(()),
        _ => Err(Error::from(ErrorKind::UnexpectedEof)),
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.changed().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let changed = self.changed();
        check_range(offset, out.len(), changed.length)?;
        let mut rest = out;
        for (index, within, piece) in pieces(offset, rest.len()) {
            let Some((to, behind)) = rest.split_at_mut_checked(piece) else {
                break;
            };
            let at = index * PAGE_BYTES + u64::try_from(within).unwrap_or(0);
            match changed.pages.get(&index).and_then(|page| page.get(within..within + piece)) {
                Some(from) => to.copy_from_slice(from),
                None if check_range(at, piece, changed.cut).is_ok() => {
                    self.file.read_exact_at(to, at)?;
                }
                None => {
                    let page = self.original(index, changed.cut)?;
                    to.copy_from_slice(page.get(within..within + piece).unwrap_or_default());
                }
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        let mut changed = self.changed();
        if length < changed.length {
            changed.cut = changed.cut.min(length);
            let mut cut_off = changed.pages.split_off(&length.div_ceil(PAGE_BYTES));
            cut_off.clear();
            let within = usize::try_from(length % PAGE_BYTES).unwrap_or(0);
            if within > 0
                && let Some(page) = changed.pages.get_mut(&(length / PAGE_BYTES))
                && let Some(behind) = page.get_mut(within..)
            {
                behind.fill(0);
            }
        }
        changed.length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut changed = self.changed();
        check_range(offset, data.len(), changed.length)?;
        let mut rest = data;
        for (index, within, piece) in pieces(offset, data.len()) {
            let Some((from, behind)) = rest.split_at_checked(piece) else {
                break;
            };
            if !changed.pages.contains_key(&index) {
                let page = self.original(index, changed.cut)?;
                changed.pages.insert(index, page);
            }
            if let Some(to) = changed.pages.get_mut(&index).and_then(|page| page.get_mut(within..within + piece)) {
                to.copy_from_slice(from);
            }
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(overlay: &Overlay) -> Vec<u8> {
        let mut bytes = vec![0xAA; usize::try_from(overlay.len().unwrap()).unwrap()];
        overlay.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn changes_are_read_back_and_the_file_stays_as_it_was() {
        let original: Vec<u8> = (0..10_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &original).unwrap();
        let overlay = Overlay::new(File::open(file.path()).unwrap()).unwrap();
        let mut expected = original.clone();
        assert_eq!(content(&overlay), expected);

        overlay.write(4090, &[1; 4200]).unwrap();
        expected[4090..8290].fill(1);
        assert_eq!(content(&overlay), expected);

        overlay.set_len(8195).unwrap();
        overlay.set_len(20_000).unwrap();
        expected.truncate(8195);
        expected.resize(20_000, 0);
        assert_eq!(content(&overlay), expected);

        overlay.write(19_999, &[2]).unwrap();
        expected[19_999] = 2;
        assert_eq!(content(&overlay), expected);
        assert!(overlay.write(20_000, &[3]).is_err());
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), original);
    }
}
