//! MySQL's `PREVIOUS_GTIDS` event: every transaction before the file that it stands in.

use super::cursor::Cursor;
use super::error::BinlogError;
use crate::source::mysql::gtid::GtidSet;

/// The set; `None` where it has tags (MySQL 8.3 and later), whose form is not read.
///
/// # Errors
/// [`BinlogError`] where the event ends early.
pub(super) fn parse(data: &[u8]) -> Result<Option<GtidSet>, BinlogError> {
    let mut cursor = Cursor::new(data);
    let mut set = GtidSet::default();
    let sources = cursor.u64("number of sources")?;
    if sources >> 56 != 0 {
        return Ok(None);
    }
    for _ in 0..sources {
        let uuid = cursor.array("server uuid")?;
        for _ in 0..cursor.u64("number of intervals")? {
            let (first, behind) = (cursor.u64("start of an interval")?, cursor.u64("end of an interval")?);
            if let Some(last) = behind.checked_sub(1).filter(|last| first <= *last) {
                set.insert_range(uuid, "", first, last);
            }
        }
    }
    Ok(Some(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(numbers: &[u64]) -> Vec<u8> {
        let [sources, intervals @ ..] = numbers else { return Vec::new() };
        let mut data = sources.to_le_bytes().to_vec();
        data.extend([1; 16]);
        data.extend(intervals.iter().flat_map(|number| number.to_le_bytes()));
        data
    }

    #[test]
    fn the_set_is_that_of_the_event() {
        let expected = GtidSet::parse("01010101-0101-0101-0101-010101010101:1-5:7").unwrap();
        assert_eq!(parse(&event(&[1, 2, 1, 6, 7, 8])).unwrap(), Some(expected));
        assert_eq!(parse(&[0; 8]).unwrap(), Some(GtidSet::default()));
        assert_eq!(parse(&event(&[1 << 56 | 1 << 8 | 1, 0])).unwrap(), None);
    }

    #[test]
    fn an_event_that_ends_early_is_an_error() {
        let whole = event(&[1, 2, 1, 6, 7, 8]);
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_err(), "{len}");
        }
        assert!(parse(&event(&[u64::MAX >> 8, u64::MAX])).is_err());
    }
}
