//! Compressed bodies: the server's own framing of LZ4 blocks.
//!
//! | bytes | |
//! |---|---|
//! | 16 | checksum of the rest: CityHash 1.0.2 in 128 bits, its halves exchanged, little-endian |
//! | 1 | [`METHOD`] |
//! | 4 | bytes from the method on, little-endian |
//! | 4 | bytes before compression, little-endian |
//! | rest | the LZ4 block |

use bytes::Bytes;

/// Bytes that are compressed as one block at most: a chunk of rows of the usual size is one.
pub(super) const MOST: usize = 2 << 20;

/// LZ4.
const METHOD: u8 = 0x82;
const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;

/// Compresses bytes into a block. They are a chunk of a body, far below the 4 GiB that its lengths can say.
pub(super) fn block(bytes: &[u8]) -> Bytes {
    let compressed = lz4_flex::block::compress(bytes);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut block = Vec::with_capacity(CHECKSUM_BYTES + HEADER_BYTES + compressed.len());
    block.extend_from_slice(&[0; CHECKSUM_BYTES]);
    block.push(METHOD);
    block.extend_from_slice(&length(HEADER_BYTES + compressed.len()));
    block.extend_from_slice(&length(bytes.len()));
    block.extend_from_slice(&compressed);
    if let Some((checksum, rest)) = block.split_first_chunk_mut::<CHECKSUM_BYTES>() {
        *checksum = cityhash_rs::cityhash_102_128(rest).rotate_right(64).to_le_bytes();
    }
    block.into()
}
