//! The bytes of a block: header, frames, checksum.
//!
//! Promises: [`Block::decode`] and [`Frames`] take any bytes at all, never panic, allocate nothing by a length they read,
//! and name the offset of what is wrong. What [`BlockWriter`] makes, they read back. Does not know where blocks are kept,
//! which groups are visible, or what a payload means.
//!
//! # Block, version 1
//! All integers are little-endian. A block is stored under its first LSN.
//!
//! | offset | bytes | constant         | meaning                                                                  |
//! |--------|-------|------------------|--------------------------------------------------------------------------|
//! | 0      | 4     | `MAGIC_AT`       | `WBLK`                                                                   |
//! | 4      | 2     | `VERSION_AT`     | 1                                                                        |
//! | 6      | 2     | `FLAGS_AT`       | bit 0: the first frame continues a group; bit 1: the last frame ends none |
//! | 8      | 8     | `FIRST_LSN_AT`   | LSN of the first frame, at least 1; the others follow without a gap      |
//! | 16     | 4     | `FRAME_COUNT_AT` | frames in the block, at least 1                                          |
//! | 20     | 4     | `FRAME_BYTES_AT` | bytes of all frames, headers included                                    |
//! | 24     | 8     | `BYTES_BEFORE_AT`| frame bytes in the log before this block, since the log was created      |
//! | 32     | 8     | `GROUPS_BEFORE_AT`| groups ended in the log before this block, since the log was created    |
//! | 40     | n     | `FRAMES_AT`      | the frames                                                               |
//! | 40 + n | 4     | `CHECKSUM_BYTES` | CRC-32 (IEEE) of everything before it                                    |
//!
//! # Block, version 2: a block of more than 128 KiB
//! | offset | bytes | constant         | meaning                                                                  |
//! |--------|-------|------------------|--------------------------------------------------------------------------|
//! | 0      | 40    |                  | the header of the block, with 2 at `VERSION_AT`                          |
//! | 40     | 4     | `CHECKSUM_BYTES` | CRC-32 (IEEE) of everything before it                                    |
//!
//! The block itself, of version 1, is what its pieces ([`pieces`](crate::pieces)) are together. Version 1 of this length was written
//! as it is, and is still read.
//!
//! # Frame
//! | offset | bytes | constant              | meaning                                    |
//! |--------|-------|-----------------------|--------------------------------------------|
//! | 0      | 4     | `FRAME_LEN_AT`        | bytes of the payload                       |
//! | 4      | 1     | `FRAME_FLAGS_AT`      | bit 0: the frame ends its group; others 0  |
//! | 5      | n     | `FRAME_HEADER_BYTES`  | the payload                                |

mod damage;
mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::lsn::Lsn;

pub use damage::{Damage, DamageKind};
pub use read::{Block, FrameRef, Frames};
pub(crate) use write::{BlockWriter, SealedBlock, in_pieces, stored_block, stored_bytes};
pub use write::{stored_frame, with_checksum};

use damage::{damage, field, slice};

const MAGIC: [u8; 4] = *b"WBLK";
const VERSION: u16 = 1;
/// Of the header of a block that lies in pieces.
const VERSION_IN_PIECES: u16 = 2;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 4;
const FLAGS_AT: usize = 6;
const FIRST_LSN_AT: usize = 8;
const FRAME_COUNT_AT: usize = 16;
const FRAME_BYTES_AT: usize = 20;
const BYTES_BEFORE_AT: usize = 24;
const GROUPS_BEFORE_AT: usize = 32;
const FRAMES_AT: usize = 40;
const CHECKSUM_BYTES: usize = 4;

const FRAME_LEN_AT: usize = 0;
const FRAME_FLAGS_AT: usize = 4;
const FRAME_HEADER_BYTES: usize = 5;

/// The first frame belongs to a group that began in an earlier block.
const CONTINUES: u16 = 1;
/// The last frame does not end its group.
const OPEN_END: u16 = 2;
const ENDS_GROUP: u8 = 1;

/// Bytes of a page of redb, the unit in which storage is taken.
const PAGE: u64 = 4096;
/// What redb adds to a block that has a page of its own: page header, one value offset, the key.
const PAGE_OVERHEAD: usize = 16;
/// A block is at most this long, unless it holds a single larger frame. redb rounds a value up to a power of two of
/// pages: this is exactly what fills 128 KiB. Smaller blocks cost more tree per byte; larger ones cost memory and make
/// every read of a single frame slower.
pub(crate) const BLOCK_BYTES: usize = 128 * 1024 - PAGE_OVERHEAD;
/// Bytes of a piece of a larger block. Its key takes 4 bytes more than a block's.
pub(crate) const PIECE_BYTES: usize = BLOCK_BYTES - 4;
/// The largest payload of a frame: 1 GiB is also the source's own limit on an event.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;
/// Frame bytes and ended groups from the creation of the log up to some position. The difference of two is exactly what
/// lies between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frame bytes, headers included.
    pub bytes: u64,
    /// Ended groups.
    pub groups: u64,
}

/// What the header of a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// LSN of the first frame.
    pub first: Lsn,
    /// LSN of the last frame.
    pub last: Lsn,
    /// Frames in the block.
    pub frames: u32,
    /// Bytes of the frames.
    pub frame_bytes: u32,
    /// What was in the log before this block.
    pub before: Counters,
    /// Whether the first frame continues a group.
    pub continues: bool,
    /// Whether the last frame leaves its group open.
    pub open_end: bool,
    /// Whether this is all that lies in the place of the block, and its bytes lie in pieces.
    pub in_pieces: bool,
}

impl BlockHeader {
    /// Reads the header of `bytes` without looking at frames and checksum.
    ///
    /// # Errors
    /// [`Damage`] if the header contradicts itself or the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        if field::<4>(bytes, MAGIC_AT)? != MAGIC {
            return Err(damage(MAGIC_AT, DamageKind::Magic));
        }
        let version = u16::from_le_bytes(field(bytes, VERSION_AT)?);
        if version != VERSION && version != VERSION_IN_PIECES {
            return Err(damage(VERSION_AT, DamageKind::Version(version)));
        }
        let in_pieces = version == VERSION_IN_PIECES;
        if in_pieces {
            let found = u32::from_le_bytes(field(bytes, FRAMES_AT)?);
            let expected = crc32fast::hash(slice(bytes, 0, FRAMES_AT)?);
            if found != expected || bytes.len() != FRAMES_AT + CHECKSUM_BYTES {
                return Err(damage(FRAMES_AT, DamageKind::Checksum { found, expected }));
            }
        }
        let flags = u16::from_le_bytes(field(bytes, FLAGS_AT)?);
        if flags & !(CONTINUES | OPEN_END) != 0 {
            return Err(damage(FLAGS_AT, DamageKind::Flags(flags)));
        }
        let first = u64::from_le_bytes(field(bytes, FIRST_LSN_AT)?);
        let frames = u32::from_le_bytes(field(bytes, FRAME_COUNT_AT)?);
        let frame_bytes = u32::from_le_bytes(field(bytes, FRAME_BYTES_AT)?);
        let before = Counters {
            bytes: u64::from_le_bytes(field(bytes, BYTES_BEFORE_AT)?),
            groups: u64::from_le_bytes(field(bytes, GROUPS_BEFORE_AT)?),
        };
        let Some(following) = frames.checked_sub(1) else {
            return Err(damage(FRAME_COUNT_AT, DamageKind::FrameCount(frames)));
        };
        let last = match first.checked_add(u64::from(following)) {
            Some(last) if first > 0 && last < u64::MAX => last,
            _ => return Err(damage(FIRST_LSN_AT, DamageKind::FirstLsn(first))),
        };
        let fits = usize::try_from(frame_bytes).ok().and_then(|n| n.checked_add(FRAMES_AT + CHECKSUM_BYTES))
            == Some(bytes.len());
        if !fits && !in_pieces {
            return Err(damage(FRAME_BYTES_AT, DamageKind::Length(frame_bytes)));
        }
        let countable = before.bytes.checked_add(u64::from(frame_bytes)).is_some()
            && before.groups.checked_add(u64::from(frames)).is_some();
        if !countable {
            return Err(damage(BYTES_BEFORE_AT, DamageKind::Counters));
        }
        Ok(Self {
            first: Lsn::new(first),
            last: Lsn::new(last),
            frames,
            frame_bytes,
            before,
            continues: flags & CONTINUES != 0,
            open_end: flags & OPEN_END != 0,
            in_pieces,
        })
    }

    /// Bytes of the whole block.
    pub(crate) fn block_bytes(&self) -> usize {
        // A block was made on a machine with as large a memory.
        usize::try_from(self.frame_bytes).unwrap_or(usize::MAX).saturating_add(FRAMES_AT + CHECKSUM_BYTES)
    }

    /// What it takes of storage, where so many bytes lie in its place.
    pub(crate) fn stored(&self, lie: usize) -> u64 {
        if self.in_pieces { stored_block(self.block_bytes()) } else { stored_bytes(lie) }
    }
}

impl Counters {
    /// Counts one more frame. The sums cannot overflow: the header was checked to have room for all frames, and a log of
    /// 2^64 bytes does not exist.
    fn add(&mut self, payload: usize, ends: bool) {
        let bytes = u64::try_from(payload.saturating_add(FRAME_HEADER_BYTES)).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.groups = self.groups.saturating_add(u64::from(ends));
    }
}
