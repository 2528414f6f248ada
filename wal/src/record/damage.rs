//! What is wrong with the bytes of a block, and reading fields of bytes that may be anything.

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

pub(super) fn damage(offset: usize, kind: DamageKind) -> Damage {
    Damage { offset, kind }
}

pub(super) fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Damage> {
    at.checked_add(length)
        .and_then(|end| bytes.get(at..end))
        .ok_or_else(|| damage(at.min(bytes.len()), DamageKind::CutShort))
}

pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damage> {
    let field = slice(bytes, at, N)?;
    <[u8; N]>::try_from(field).map_err(|_| damage(at, DamageKind::CutShort))
}
