//! Reading a block: its checksum at once, its frames one after the other.

use super::{
    BlockHeader, CHECKSUM_BYTES, Counters, Damage, DamageKind, ENDS_GROUP, FRAME_FLAGS_AT, FRAME_HEADER_BYTES,
    FRAME_LEN_AT, FRAMES_AT, VERSION_AT, VERSION_IN_PIECES, damage, field, slice,
};
use crate::lsn::Lsn;

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
        if header.in_pieces {
            // Whoever reads one puts it together first.
            return Err(damage(VERSION_AT, DamageKind::Version(VERSION_IN_PIECES)));
        }
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
            position: self.header.before.bytes,
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
    /// Frame bytes in the log before this frame, since the log was created. It grows strictly with the LSN, because no frame is
    /// without bytes, and no two frames that were ever visible share one: only an abandoned group leaves its positions to the next.
    /// It is the base of row versions.
    pub position: u64,
}

/// The frames of a block, in order. After an error it ends.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    block: &'a Block,
    next: Lsn,
    left: u32,
    offset: usize,
    position: u64,
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
        let position = self.position;
        self.next = lsn.next();
        self.position = position.saturating_add(u64::try_from(self.offset - offset).unwrap_or(u64::MAX));
        self.left -= 1;
        if self.left == 0 {
            if self.offset != end {
                return Err(damage(self.offset, DamageKind::FrameCount(self.block.header.frames)));
            }
            if self.ended == self.block.header.open_end {
                return Err(damage(offset + FRAME_FLAGS_AT, DamageKind::GroupEnd));
            }
        }
        Ok(FrameRef { lsn, payload, end_of_group: self.ended, offset, position })
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
