//! MariaDB's `log_bin_compress`: the tail of a `*_COMPRESSED` event in zlib form (MDEV-11065), and the header of MySQL's
//! `TRANSACTION_PAYLOAD` (WL#3549), whose events [`payload`](super::payload) unpacks.
//!
//! | bytes | field of a compressed tail |
//! |---|---|
//! | 1 | bit 7 set; bits 4-6 the algorithm, 0 for zlib; bits 0-2 the bytes of the next field, 1 to 4 |
//! | 1-4 | length of the uncompressed bytes, big-endian |
//! | rest | zlib stream |

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::cursor::Cursor;
use super::error::BinlogError;

/// Most bytes an event unpacks to: the largest packet the protocol allows.
const LIMIT: u64 = 1 << 30;

/// The uncompressed bytes of a compressed tail.
pub(super) fn decompress(tail: &[u8], part: &'static str) -> Result<Vec<u8>, BinlogError> {
    let damaged = || BinlogError::Decompress { part, source: None };
    let mut cursor = Cursor::new(tail);
    let head = cursor.u8(part)?;
    let length_bytes = usize::from(head & 0x07);
    if head & 0xf0 != 0x80 || !(1..=4).contains(&length_bytes) {
        return Err(damaged());
    }
    let length = cursor.take(length_bytes, part)?.iter().fold(0_u64, |length, byte| (length << 8) | u64::from(*byte));
    if length > LIMIT {
        return Err(damaged());
    }
    // The length is not trusted for the allocation: zlib shrinks at most about a thousandfold, the buffer grows as bytes come.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(tail.len().saturating_mul(8)));
    ZlibDecoder::new(cursor.rest())
        .take(length + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| BinlogError::Decompress { part, source: Some(source) })?;
    if u64::try_from(bytes.len()).ok() == Some(length) { Ok(bytes) } else { Err(damaged()) }
}

/// How a `TRANSACTION_PAYLOAD` event is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Zstd,
    /// Its events stand in it as they are.
    None,
}

/// What the header of a `TRANSACTION_PAYLOAD` event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PayloadHeader {
    pub(super) algorithm: Algorithm,
    /// Bytes of events that it unpacks to.
    pub(super) unpacked: u64,
    /// Where in the data the payload begins.
    pub(super) begins: usize,
}

/// The header of a `TRANSACTION_PAYLOAD` event.
pub(super) fn payload(data: &[u8]) -> Result<PayloadHeader, BinlogError> {
    const END: u64 = 0;
    const SIZE: u64 = 1;
    const ALGORITHM: u64 = 2;
    const UNCOMPRESSED_SIZE: u64 = 3;
    const ZSTD: u64 = 0;
    const NONE: u64 = 255;

    let part = "payload header";
    let mut cursor = Cursor::new(data);
    let (mut size, mut uncompressed, mut algorithm) = (None, None, None);
    loop {
        let field = cursor.lenenc(part)?;
        if field == END {
            break;
        }
        let mut value = Cursor::new(cursor.lenenc_bytes(part)?);
        match field {
            SIZE => size = Some(value.lenenc(part)?),
            ALGORITHM => algorithm = Some(value.lenenc(part)?),
            UNCOMPRESSED_SIZE => uncompressed = Some(value.lenenc(part)?),
            // A field of a later version has its length and can be stepped over.
            _ => {}
        }
    }
    let size = size.ok_or(BinlogError::Short { part })?;
    let begins = data.len() - cursor.rest().len();
    let (algorithm, unpacked) = match algorithm {
        Some(ZSTD) => (Algorithm::Zstd, uncompressed.ok_or(BinlogError::Short { part })?),
        Some(NONE) => (Algorithm::None, size),
        _ => return Err(BinlogError::Decompress { part: "transaction payload", source: None }),
    };
    Ok(PayloadHeader { algorithm, unpacked, begins })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn packed(bytes: &[u8], claimed: u32) -> Vec<u8> {
        let mut tail = vec![0x84];
        tail.extend(claimed.to_be_bytes());
        let mut encoder = ZlibEncoder::new(tail, Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_compressed_tail_unpacks_to_its_bytes_and_no_other_length_is_believed() {
        let bytes = b"row row row ".repeat(100);
        let length = u32::try_from(bytes.len()).unwrap();
        assert_eq!(decompress(&packed(&bytes, length), "rows").unwrap(), bytes);
        for claimed in [0, length - 1, length + 1, u32::MAX] {
            assert!(decompress(&packed(&bytes, claimed), "rows").is_err(), "claimed {claimed}");
        }
        assert!(decompress(&[0x94, 0, 0, 0, 1, 0], "rows").is_err(), "another algorithm");
        let whole = packed(&bytes, length);
        for cut in 0..whole.len() - 6 {
            assert!(decompress(&whole[..cut], "rows").is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_payload_header_tells_how_many_bytes_of_events_come() {
        // Algorithm zstd, uncompressed size 300, payload size 5, end mark.
        let header = [2, 1, 0, 3, 3, 0xfc, 0x2c, 0x01, 1, 1, 5, 0, 1, 2, 3, 4, 5];
        let packed = PayloadHeader { algorithm: Algorithm::Zstd, unpacked: 300, begins: 12 };
        assert_eq!(payload(&header).unwrap(), packed);
        let plain = PayloadHeader { algorithm: Algorithm::None, unpacked: 5, begins: 9 };
        assert_eq!(payload(&[2, 3, 0xfc, 0xff, 0x00, 1, 1, 5, 0, 1, 2, 3, 4, 5]).unwrap(), plain);
        assert!(payload(&[2, 1, 7, 1, 1, 5, 0]).is_err());
        for cut in 0..11 {
            assert!(payload(&header[..cut]).is_err(), "cut at {cut}");
        }
    }
}
