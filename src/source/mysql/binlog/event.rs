//! One event as it comes off the dump: its header's fields and its bytes, checksum verified and removed.

use super::cursor::Cursor;
use super::error::BinlogError;

/// Bytes of an event header in binlog format 4.
pub const HEADER_LEN: u32 = 19;

/// `LOG_EVENT_ARTIFICIAL_F`: made by the dump thread, not from the file.
const ARTIFICIAL: u16 = 0x20;

/// `LOG_EVENT_THREAD_SPECIFIC_F`: the statement, or one before it in the same stored procedure, used a temporary table.
const THREAD_SPECIFIC: u16 = 0x4;

/// Header of an event.
///
/// | bytes | field |
/// |---|---|
/// | 4 | timestamp, seconds since the epoch |
/// | 1 | type |
/// | 4 | server id of the origin |
/// | 4 | size of the event with header and checksum |
/// | 4 | offset of the event's end in its file, modulo 2^32; 0 for events that are not from the file |
/// | 2 | flags |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHeader {
    /// When the statement started, seconds since the epoch; 0 for artificial events.
    pub timestamp: u32,
    /// Type code; see [`kind`](super::kind).
    pub kind: u8,
    /// Server that wrote the change first.
    pub server_id: u32,
    /// Bytes with header and checksum.
    pub size: u32,
    /// End offset in the file, modulo 2^32, or 0.
    pub log_pos: u32,
    /// Flags.
    pub flags: u16,
}

impl EventHeader {
    /// Reads a header off the front of `bytes`.
    ///
    /// # Errors
    /// [`BinlogError::Short`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BinlogError> {
        let mut cursor = Cursor::new(bytes);
        let part = "header";
        Ok(Self {
            timestamp: cursor.u32(part)?,
            kind: cursor.u8(part)?,
            server_id: cursor.u32(part)?,
            size: cursor.u32(part)?,
            log_pos: cursor.u32(part)?,
            flags: cursor.u16(part)?,
        })
    }

    /// The header's bytes, for the checksum.
    pub(super) fn to_bytes(self) -> [u8; 19] {
        let mut bytes = [0; 19];
        let fields = (self.timestamp.to_le_bytes().into_iter())
            .chain([self.kind])
            .chain(self.server_id.to_le_bytes())
            .chain(self.size.to_le_bytes())
            .chain(self.log_pos.to_le_bytes())
            .chain(self.flags.to_le_bytes());
        for (slot, byte) in bytes.iter_mut().zip(fields) {
            *slot = byte;
        }
        bytes
    }

    /// Whether the dump thread made the event, so that it has no place in the file.
    pub fn is_artificial(self) -> bool {
        self.log_pos == 0 || self.flags & ARTIFICIAL != 0
    }

    /// Whether a statement may have used a temporary table.
    pub fn may_use_temporary(self) -> bool {
        self.flags & THREAD_SPECIFIC != 0
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    /// Its header.
    pub header: EventHeader,
    /// What follows the header, without the checksum.
    pub data: &'a [u8],
    /// It was unpacked from a `TRANSACTION_PAYLOAD` event: its offsets mean nothing, and it has no checksum of its own.
    pub unpacked: bool,
}

impl<'a> RawEvent<'a> {
    /// Splits bytes into header and data, as a fuzzer or a test has them: without a checksum.
    ///
    /// # Errors
    /// [`BinlogError::Short`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BinlogError> {
        let header = EventHeader::parse(bytes)?;
        let data = bytes.get(19..).unwrap_or_default();
        Ok(Self { header, data, unpacked: false })
    }
}
