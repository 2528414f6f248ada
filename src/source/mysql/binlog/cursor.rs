//! Reads little-endian fields off the front of an event's bytes. Nothing here panics or allocates; every read past the end
//! is an error that names the part that is cut.

use super::error::BinlogError;

/// Bytes still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, len: usize, part: &'static str) -> Result<&'a [u8], BinlogError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(BinlogError::Short { part })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], BinlogError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(BinlogError::Short { part })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, part: &'static str) -> Result<u8, BinlogError> {
        self.array::<1>(part).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, part: &'static str) -> Result<u16, BinlogError> {
        self.array(part).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, part: &'static str) -> Result<u32, BinlogError> {
        self.array(part).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, part: &'static str) -> Result<u64, BinlogError> {
        self.array(part).map(u64::from_le_bytes)
    }

    /// A table id, 6 bytes.
    pub(super) fn u48(&mut self, part: &'static str) -> Result<u64, BinlogError> {
        let [a, b, c, d, e, f] = self.array(part)?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// A timestamp, 7 bytes.
    pub(super) fn u56(&mut self, part: &'static str) -> Result<u64, BinlogError> {
        let [a, b, c, d, e, f, g] = self.array(part)?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }

    /// The protocol's length-encoded integer.
    pub(super) fn lenenc(&mut self, part: &'static str) -> Result<u64, BinlogError> {
        match self.u8(part)? {
            0xfc => self.u16(part).map(u64::from),
            0xfd => {
                let [a, b, c] = self.array(part)?;
                Ok(u64::from(u32::from_le_bytes([a, b, c, 0])))
            }
            0xfe => self.u64(part),
            // NULL and the error marker: no length.
            0xfb | 0xff => Err(BinlogError::Short { part }),
            small => Ok(u64::from(small)),
        }
    }

    /// A length-encoded integer that counts bytes or columns.
    pub(super) fn len(&mut self, part: &'static str) -> Result<usize, BinlogError> {
        usize::try_from(self.lenenc(part)?).map_err(|_| BinlogError::Short { part })
    }

    /// Bytes behind their length-encoded length.
    pub(super) fn lenenc_bytes(&mut self, part: &'static str) -> Result<&'a [u8], BinlogError> {
        let len = self.len(part)?;
        self.take(len, part)
    }
}
