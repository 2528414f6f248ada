//! The events of a compressed transaction of MySQL (`binlog_transaction_compression`, WL#3549), one by one.
//!
//! A `TRANSACTION_PAYLOAD` event has all events of a transaction, as one zstd stream. It is unpacked as it is read: in memory are the event
//! as it came, what zstd looks back on (its window: 2 MiB at the server's own level, and at most 128 MiB), and one of the events in it,
//! whatever they unpack to together.

use std::io::{BufReader, Cursor as Bytes, Error, ErrorKind, Read};

use super::compressed::{Algorithm, payload};
use super::error::BinlogError;
use super::event::{EventHeader, HEADER_LEN};

/// Room that is kept from one event to the next.
const KEPT: usize = 1 << 20;
/// Bytes that are unpacked at once.
const AT_ONCE: usize = 64 << 10;
/// Most bytes of an event: as many as a server sends.
const LARGEST: u64 = 1 << 30;

type Unpacked = BufReader<Box<dyn Read + Send>>;

/// A payload whose events come out.
pub(super) struct Payload {
    unpacked: Unpacked,
    header: EventHeader,
    /// What follows the header of the last event.
    data: Vec<u8>,
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Payload {
    /// Of a `TRANSACTION_PAYLOAD` event, whose data begins at `at` of `packet` and is `length` bytes long.
    pub(super) fn new(packet: Vec<u8>, at: usize, length: usize) -> Result<Self, BinlogError> {
        let part = "payload";
        let data = packet.get(at..at + length).ok_or(BinlogError::Short { part })?;
        let found = payload(data)?;
        let begins = at + found.begins;
        let size = u64::try_from(length - found.begins).unwrap_or(u64::MAX);
        let mut bytes = Bytes::new(packet);
        bytes.set_position(u64::try_from(begins).unwrap_or(u64::MAX));
        let compressed = bytes.take(size);
        let unpacked: Box<dyn Read + Send> = match found.algorithm {
            Algorithm::None => Box::new(compressed),
            Algorithm::Zstd => Box::new(
                zstd::Decoder::with_buffer(compressed)
                    .map_err(|source| BinlogError::Decompress { part: "transaction payload", source: Some(source) })?,
            ),
        };
        Ok(Self {
            unpacked: BufReader::with_capacity(AT_ONCE, unpacked),
            header: EventHeader::default(),
            data: Vec::new(),
        })
    }

    /// Unpacks the next event. False: there was none.
    pub(super) fn advance(&mut self) -> Result<bool, BinlogError> {
        self.data.clear();
        self.data.shrink_to(KEPT);
        let cut = |source| BinlogError::Decompress { part: "transaction payload", source: Some(source) };
        let mut header = Vec::new();
        self.unpacked.by_ref().take(u64::from(HEADER_LEN)).read_to_end(&mut header).map_err(cut)?;
        if header.is_empty() {
            return Ok(false);
        }
        self.header = EventHeader::parse(&header)?;
        let length = u64::from(self.header.size).checked_sub(u64::from(HEADER_LEN)).filter(|size| *size <= LARGEST);
        let length = length.ok_or(BinlogError::Damaged { part: "size" })?;
        // The room grows as bytes come.
        let read = self.unpacked.by_ref().take(length).read_to_end(&mut self.data).map_err(cut)?;
        if u64::try_from(read).ok() != Some(length) {
            return Err(cut(Error::from(ErrorKind::UnexpectedEof)));
        }
        Ok(true)
    }

    pub(super) fn header(&self) -> EventHeader {
        self.header
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Gives back the room of the last event, if it is large.
    pub(super) fn release(&mut self) {
        if self.data.capacity() > KEPT {
            self.data = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of this type, with these bytes.
    fn event(kind: u8, data: &[u8]) -> Vec<u8> {
        let size = HEADER_LEN + u32::try_from(data.len()).unwrap();
        let header = EventHeader { timestamp: 7, kind, server_id: 1, size, log_pos: 0, flags: 0 };
        [&header.to_bytes()[..], data].concat()
    }

    /// A payload's data, as the server writes it.
    fn packed(events: &[u8], compress: bool) -> Vec<u8> {
        let body = if compress { zstd::encode_all(events, 3).unwrap() } else { events.to_vec() };
        let number = |value: usize| [&[0xfe][..], &u64::try_from(value).unwrap().to_le_bytes()].concat();
        let mut data = vec![2];
        data.extend_from_slice(if compress { &[1, 0] } else { &[3, 0xfc, 0xff, 0x00] });
        for (field, value) in [(3, events.len()), (1, body.len())] {
            data.extend_from_slice(&[field, 9]);
            data.extend(number(value));
        }
        data.push(0);
        data.extend(body);
        data
    }

    #[test]
    fn events_come_out_one_by_one_and_a_large_one_leaves_no_room_taken() {
        let large = vec![9; 3 << 20];
        let all = [event(2, b"BEGIN"), event(30, &large), event(16, &[0; 8])].concat();
        for compress in [true, false] {
            let data = packed(&all, compress);
            let mut packet = vec![0xee; 20];
            packet.extend_from_slice(&data);
            packet.extend_from_slice(b"sum!");
            let mut payload = Payload::new(packet, 20, data.len()).unwrap();
            let mut found = Vec::new();
            while payload.advance().unwrap() {
                found.push((payload.header().kind, payload.data().len()));
            }
            assert_eq!(found, [(2, 5), (30, 3 << 20), (16, 8)]);
            assert!(payload.data.capacity() <= KEPT);
        }
    }

    #[test]
    fn a_payload_that_is_cut_or_damaged_is_an_error_and_no_end() {
        let whole = [event(2, b"BEGIN"), event(30, &[7; 5000])].concat();
        let data = packed(&whole, true);
        for cut in 0..data.len() {
            let opened = Payload::new(data[..cut].to_vec(), 0, cut);
            let read = opened.and_then(|mut payload| {
                while payload.advance()? {}
                Ok(())
            });
            assert!(read.is_err(), "cut at {cut}");
        }
        let short = packed(&whole[..whole.len() - 1], true);
        let length = short.len();
        let mut payload = Payload::new(short, 0, length).unwrap();
        assert!(payload.advance().unwrap());
        assert!(payload.advance().is_err());
    }
}
