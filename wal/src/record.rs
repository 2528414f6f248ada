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
//! # Frame
//! | offset | bytes | constant              | meaning                                    |
//! |--------|-------|-----------------------|--------------------------------------------|
//! | 0      | 4     | `FRAME_LEN_AT`        | bytes of the payload                       |
//! | 4      | 1     | `FRAME_FLAGS_AT`      | bit 0: the frame ends its group; others 0  |
//! | 5      | n     | `FRAME_HEADER_BYTES`  | the payload                                |

use crate::lsn::Lsn;

const MAGIC: [u8; 4] = *b"WBLK";
const VERSION: u16 = 1;

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
/// The largest payload of a frame. redb keeps values up to 3 GiB; 1 GiB is also the source's own limit on an event.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;

/// What is wrong with the bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at offset {offset}")]
pub struct Damage {
    /// Where in the block.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DamageKind,
}

/// The kinds of [`Damage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// The bytes end before the structure does.
    #[error("the block is cut short")]
    CutShort,
    /// The block does not begin with its magic.
    #[error("the block's magic is wrong")]
    Magic,
    /// The block has a version that this program does not know.
    #[error("the block has unknown version {0}")]
    Version(u16),
    /// A flag that version 1 does not have.
    #[error("unknown flags {0:#x}")]
    Flags(u16),
    /// The checksum does not fit the bytes.
    #[error("the checksum is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// What the block says.
        found: u32,
        /// What its bytes give.
        expected: u32,
    },
    /// The length of the frames does not fit the length of the block.
    #[error("the frames should take {0} bytes and do not")]
    Length(u32),
    /// The block holds no frames, or fewer or more than its header says.
    #[error("the block should hold {0} frames and does not")]
    FrameCount(u32),
    /// The first LSN is 0, or so large that no LSN follows the last one.
    #[error("the first lsn {0} is impossible")]
    FirstLsn(u64),
    /// The block's flags and its last frame disagree about the end of the group.
    #[error("the flags of the block and its last frame disagree about the end of the group")]
    GroupEnd,
    /// The counters of the block overflow.
    #[error("the cumulative counters of the block are impossible")]
    Counters,
}

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
        if version != VERSION {
            return Err(damage(VERSION_AT, DamageKind::Version(version)));
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
        if !fits {
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
        })
    }
}

/// A block whose header and checksum are right. Its frames are read through [`Block::frames`].
#[derive(Clone, Debug)]
pub struct Block {
    header: BlockHeader,
    bytes: Vec<u8>,
    /// Frames up to here were not asked for, and are not handed out.
    after: Lsn,
}

impl Block {
    /// Takes the bytes of a block.
    ///
    /// # Errors
    /// [`Damage`] if header, length or checksum are wrong.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Damage> {
        let header = BlockHeader::decode(&bytes)?;
        let checksum_at = bytes.len() - CHECKSUM_BYTES;
        let found = u32::from_le_bytes(field(&bytes, checksum_at)?);
        let expected = crc32fast::hash(slice(&bytes, 0, checksum_at)?);
        if found != expected {
            return Err(damage(checksum_at, DamageKind::Checksum { found, expected }));
        }
        Ok(Self { header, bytes, after: Lsn::ZERO })
    }

    #[must_use]
    pub(crate) fn starting_after(mut self, after: Lsn) -> Self {
        self.after = after;
        self
    }

    /// What the header says about the whole block.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// LSN of the first frame that [`Block::frames`] gives.
    pub fn first_lsn(&self) -> Lsn {
        self.header.first.max(self.after.next())
    }

    /// LSN of the last frame.
    pub fn last_lsn(&self) -> Lsn {
        self.header.last
    }

    /// The encoded length of the whole block.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The frames, in order. A block that came from [`Reader::read`](crate::Reader::read) begins with the first frame that
    /// was asked for, even if the block holds earlier ones.
    pub fn frames(&self) -> Frames<'_> {
        Frames {
            block: self,
            next: self.header.first,
            left: self.header.frames,
            offset: FRAMES_AT,
            skip: self.after,
            ended: !self.header.continues,
            failed: false,
        }
    }

    /// The counters right after the frame at `lsn`, and whether that frame ends its group; `None` if it is not here.
    pub(crate) fn counters_at(&self, lsn: Lsn) -> Result<Option<(Counters, bool)>, Damage> {
        if lsn < self.header.first || lsn > self.header.last {
            return Ok(None);
        }
        let mut counters = self.header.before;
        let mut frames = self.frames();
        frames.skip = Lsn::ZERO;
        for frame in frames {
            let frame = frame?;
            counters.add(frame.payload.len(), frame.end_of_group);
            if frame.lsn == lsn {
                return Ok(Some((counters, frame.end_of_group)));
            }
        }
        Ok(None)
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

/// One frame of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// Its place in the log.
    pub lsn: Lsn,
    /// Its bytes.
    pub payload: &'a [u8],
    /// Whether it ends its group.
    pub end_of_group: bool,
    /// Where its header begins in the block.
    pub offset: usize,
}

/// The frames of a block, in order. After an error it ends.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    block: &'a Block,
    next: Lsn,
    left: u32,
    offset: usize,
    skip: Lsn,
    ended: bool,
    failed: bool,
}

impl<'a> Frames<'a> {
    fn frame(&mut self) -> Result<FrameRef<'a>, Damage> {
        let bytes = self.block.bytes.as_slice();
        let end = bytes.len() - CHECKSUM_BYTES;
        let frames = bytes.get(..end).unwrap_or_default();
        let offset = self.offset;
        let length = u32::from_le_bytes(field(frames, offset + FRAME_LEN_AT)?);
        let [flags] = field(frames, offset + FRAME_FLAGS_AT)?;
        if flags & !ENDS_GROUP != 0 {
            return Err(damage(offset + FRAME_FLAGS_AT, DamageKind::Flags(u16::from(flags))));
        }
        let payload_at = offset + FRAME_HEADER_BYTES;
        let length = usize::try_from(length).map_err(|_| damage(offset, DamageKind::CutShort))?;
        let payload = slice(frames, payload_at, length)?;
        self.offset = payload_at + length;
        self.ended = flags & ENDS_GROUP != 0;
        let lsn = self.next;
        self.next = lsn.next();
        self.left -= 1;
        if self.left == 0 {
            if self.offset != end {
                return Err(damage(self.offset, DamageKind::FrameCount(self.block.header.frames)));
            }
            if self.ended == self.block.header.open_end {
                return Err(damage(offset + FRAME_FLAGS_AT, DamageKind::GroupEnd));
            }
        }
        Ok(FrameRef { lsn, payload, end_of_group: self.ended, offset })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<FrameRef<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 && !self.failed {
            let frame = self.frame();
            match frame {
                Ok(frame) if frame.lsn <= self.skip => {}
                Ok(_) => return Some(frame),
                Err(_) => {
                    self.failed = true;
                    return Some(frame);
                }
            }
        }
        None
    }
}

/// Packs frames into the bytes of one block, in a buffer that is used again.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    bytes: Vec<u8>,
    first: Lsn,
    frames: u32,
    before: Counters,
    counters: Counters,
    continues: bool,
    open_end: bool,
}

impl BlockWriter {
    /// An empty block in `buffer`. `continues`: the group of its first frame began in an earlier block.
    pub(crate) fn new(mut buffer: Vec<u8>, first: Lsn, before: Counters, continues: bool) -> Self {
        buffer.clear();
        buffer.resize(FRAMES_AT, 0);
        Self { bytes: buffer, first, frames: 0, before, counters: before, continues, open_end: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The counters after the last frame.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Encoded bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + CHECKSUM_BYTES
    }

    /// Whether a frame with this payload keeps the block within its size, or is its only one.
    pub(crate) fn has_room(&self, payload: usize) -> bool {
        self.frames == 0 || self.len().saturating_add(FRAME_HEADER_BYTES).saturating_add(payload) <= BLOCK_BYTES
    }

    /// Appends a frame. The caller has checked [`MAX_PAYLOAD`] and [`BlockWriter::has_room`]; `length` is the payload's.
    pub(crate) fn push(&mut self, parts: &[&[u8]], length: u32, ends: bool) {
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(if ends { ENDS_GROUP } else { 0 });
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.frames += 1;
        self.open_end = !ends;
        self.counters.bytes += u64::from(length) + FRAME_HEADER_LENGTH;
        self.counters.groups += u64::from(ends);
    }

    /// Writes header and checksum. The block has at least one frame.
    pub(crate) fn seal(mut self) -> SealedBlock {
        let frame_bytes = u32::try_from(self.bytes.len() - FRAMES_AT)
            .expect("a block holds one frame of at most 1 GiB, or 128 KiB in all");
        let mut flags = 0;
        if self.continues {
            flags |= CONTINUES;
        }
        if self.open_end {
            flags |= OPEN_END;
        }
        let header =
            HeaderBytes { flags, first: self.first.raw(), frames: self.frames, frame_bytes, before: self.before }
                .encode();
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        SealedBlock { first: self.first, bytes: with_checksum(self.bytes) }
    }

    /// Gives the buffer back, forgetting its frames.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

const FRAME_HEADER_LENGTH: u64 = 5;

struct HeaderBytes {
    flags: u16,
    first: u64,
    frames: u32,
    frame_bytes: u32,
    before: Counters,
}

impl HeaderBytes {
    /// The fields in the order of the table above, which has no gaps.
    fn encode(self) -> impl Iterator<Item = u8> {
        MAGIC
            .into_iter()
            .chain(VERSION.to_le_bytes())
            .chain(self.flags.to_le_bytes())
            .chain(self.first.to_le_bytes())
            .chain(self.frames.to_le_bytes())
            .chain(self.frame_bytes.to_le_bytes())
            .chain(self.before.bytes.to_le_bytes())
            .chain(self.before.groups.to_le_bytes())
    }
}

/// A finished block, ready to be stored under its first LSN.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) first: Lsn,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of storage that a block of this length takes: a page of its own rounded up to a power of two, or, if it shares
/// a page, twice its length, because a page that was split is half empty.
pub(crate) fn stored_bytes(length: usize) -> u64 {
    let length = u64::try_from(length.saturating_add(PAGE_OVERHEAD)).unwrap_or(u64::MAX);
    if length <= PAGE { length.saturating_mul(2) } else { length.checked_next_power_of_two().unwrap_or(u64::MAX) }
}

/// `bytes` and the checksum that makes them a block, if they are one otherwise. For the fuzzer, which cannot guess it.
#[doc(hidden)]
pub fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn damage(offset: usize, kind: DamageKind) -> Damage {
    Damage { offset, kind }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Damage> {
    at.checked_add(length)
        .and_then(|end| bytes.get(at..end))
        .ok_or_else(|| damage(at.min(bytes.len()), DamageKind::CutShort))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damage> {
    let field = slice(bytes, at, N)?;
    <[u8; N]>::try_from(field).map_err(|_| damage(at, DamageKind::CutShort))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pack(first: u64, before: Counters, continues: bool, frames: &[(Vec<u8>, bool)]) -> Vec<u8> {
        let mut writer = BlockWriter::new(Vec::new(), Lsn::new(first), before, continues);
        for (payload, ends) in frames {
            let (head, rest) = payload.split_at(payload.len() / 2);
            writer.push(&[head, rest], u32::try_from(payload.len()).unwrap(), *ends);
        }
        writer.seal().bytes
    }

    /// Reads everything there is to read, without caring what it is.
    fn read(bytes: Vec<u8>) -> Result<usize, Damage> {
        let block = Block::decode(bytes)?;
        let mut payloads = 0;
        for frame in block.frames() {
            payloads += frame?.payload.len();
        }
        Ok(payloads)
    }

    proptest! {
        #[test]
        fn a_block_gives_back_what_was_packed(
            first in 1..u64::MAX / 2,
            bytes in 0..u64::MAX / 2,
            groups in 0..u64::MAX / 2,
            continues: bool,
            frames in vec((vec(any::<u8>(), 0..40), any::<bool>()), 1..20),
        ) {
            let before = Counters { bytes, groups };
            let block = Block::decode(pack(first, before, continues, &frames)).unwrap();
            prop_assert_eq!(block.header().before, before);
            prop_assert_eq!(block.header().continues, continues);
            prop_assert_eq!(block.header().open_end, !frames.last().unwrap().1);
            let mut after = before;
            for (frame, (payload, ends)) in block.frames().zip(&frames) {
                let frame = frame.unwrap();
                after.add(payload.len(), *ends);
                prop_assert_eq!((frame.payload, frame.end_of_group), (payload.as_slice(), *ends));
                prop_assert_eq!(block.counters_at(frame.lsn).unwrap(), Some((after, *ends)));
            }
            prop_assert_eq!(block.frames().count(), frames.len());
            prop_assert_eq!(block.counters_at(block.last_lsn().next()).unwrap(), None);
        }

        #[test]
        fn any_bytes_under_a_right_checksum_are_read_or_refused_without_a_panic(
            mut bytes in vec(any::<u8>(), 0..120),
            changes in vec((0..100_usize, any::<u8>()), 0..4),
            from_a_block: bool,
        ) {
            if from_a_block {
                bytes = pack(1, Counters::default(), false, &[(bytes, true), (vec![1; 9], false)]);
                bytes.truncate(bytes.len() - CHECKSUM_BYTES);
            }
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let length = bytes.len() + CHECKSUM_BYTES;
            match read(with_checksum(bytes)) {
                Ok(payloads) => prop_assert!(payloads < length),
                Err(damage) => prop_assert!(damage.offset <= length),
            }
        }
    }

    #[test]
    fn a_block_at_the_end_of_all_lsns_is_refused() {
        let two = [(vec![1], true), (vec![2], true)];
        let last = Block::decode(pack(u64::MAX - 2, Counters::default(), false, &two)).unwrap();
        assert_eq!(last.last_lsn().next(), Lsn::new(u64::MAX));
        let damage = Block::decode(pack(u64::MAX - 1, Counters::default(), false, &two)).unwrap_err();
        assert_eq!(damage, Damage { offset: FIRST_LSN_AT, kind: DamageKind::FirstLsn(u64::MAX - 1) });
    }

    #[test]
    fn a_full_block_takes_exactly_a_power_of_two() {
        assert_eq!(stored_bytes(BLOCK_BYTES), 128 * 1024);
        assert_eq!(stored_bytes(BLOCK_BYTES + 1), 256 * 1024);
        assert_eq!(stored_bytes(4096), 8192);
        assert_eq!(stored_bytes(100), 232);
    }
}
