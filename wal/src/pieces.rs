//! Blocks that are larger than others, in pieces.
//!
//! A block of more than 128 KiB holds a single frame. redb keeps a value in one run of pages, whose size is a power of two, and reads and
//! writes it as a whole: such a block would take up to twice its size on disk and in memory, beside the block itself. So it is stored in
//! pieces that each fill what a block fills, and in its place lies its header alone ([`record`], version 2).
//!
//! Promises: what is in memory is the block and one piece. A piece that is missing, or too many, is damage with its block's key.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableError, WriteTransaction};

use crate::error::{Error, storage};
use crate::lsn::Lsn;
use crate::open::not_a_log;
use crate::record::{self, BlockHeader, Damage, PIECE_BYTES};
use crate::tables::PIECES;

type Key = (u64, u32);

/// Stores the bytes of a block in pieces. Returns what lies in its place.
pub(crate) fn store(transaction: &WriteTransaction, key: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
    let mut pieces = transaction.open_table(PIECES).map_err(storage("open the pieces of blocks"))?;
    for (number, piece) in (0..).zip(block.chunks(PIECE_BYTES)) {
        pieces.insert((key, number), piece).map_err(storage("append a piece of a block"))?;
    }
    record::in_pieces(block).map_err(|source| Error::Damaged { block: Lsn::new(key), source })
}

/// Removes the pieces of a block.
pub(crate) fn remove(transaction: &WriteTransaction, key: u64) -> Result<(), Error> {
    let mut pieces = transaction.open_table(PIECES).map_err(storage("open the pieces of blocks"))?;
    pieces.retain_in((key, 0)..=(key, u32::MAX), |_, _| false).map_err(storage("remove the pieces of a block"))
}

/// The table of pieces as of a transaction; `None` in a log that never had any.
pub(crate) fn table(transaction: &ReadTransaction) -> Result<Option<ReadOnlyTable<Key, &'static [u8]>>, Error> {
    match transaction.open_table(PIECES) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(not_a_log(error)),
    }
}

/// The bytes of a block, of which `value` lies in its place.
pub(crate) fn whole(
    pieces: Option<&ReadOnlyTable<Key, &'static [u8]>>,
    key: u64,
    value: &[u8],
) -> Result<Vec<u8>, Error> {
    let Ok(header) = BlockHeader::decode(value) else { return Ok(value.to_vec()) };
    if !header.in_pieces {
        return Ok(value.to_vec());
    }
    match pieces {
        Some(pieces) => gather(pieces, key, &header),
        None => Err(cut(key, 0)),
    }
}

/// As [`whole`], of a block that a transaction is about to change.
pub(crate) fn whole_in(transaction: &WriteTransaction, key: u64, value: &[u8]) -> Result<Vec<u8>, Error> {
    match BlockHeader::decode(value) {
        Ok(header) if header.in_pieces => {
            let pieces: Table<'_, Key, &[u8]> =
                transaction.open_table(PIECES).map_err(storage("open the pieces of blocks"))?;
            gather(&pieces, key, &header)
        }
        _ => Ok(value.to_vec()),
    }
}

fn gather(pieces: &impl ReadableTable<Key, &'static [u8]>, key: u64, header: &BlockHeader) -> Result<Vec<u8>, Error> {
    let length = header.block_bytes();
    // The header has a checksum, and what it says is not believed for more than there is.
    let mut bytes = Vec::new();
    for (number, entry) in (0_u32..).zip(pieces.range((key, 0)..=(key, u32::MAX)).map_err(storage("read a block"))?) {
        let (at, piece) = entry.map_err(storage("read a block"))?;
        if at.value() != (key, number) || bytes.len() + piece.value().len() > length {
            return Err(cut(key, bytes.len()));
        }
        if number == 0 && piece.value().len() == PIECE_BYTES {
            bytes.reserve_exact(length);
        }
        bytes.extend_from_slice(piece.value());
    }
    if bytes.len() == length { Ok(bytes) } else { Err(cut(key, bytes.len())) }
}

fn cut(key: u64, offset: usize) -> Error {
    Error::Damaged { block: Lsn::new(key), source: Damage { offset, kind: record::DamageKind::CutShort } }
}
