//! The block decoder on any bytes: no panic, and what it accepts is consistent.
//!
//! The input is tried as it is and with a right checksum put behind it, so that the fuzzer gets past the checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::record::BlockHeader;
use wal::{Block, Lsn};

fuzz_target!(|data: &[u8]| {
    walk(data.to_vec());
    walk(wal::record::with_checksum(data.to_vec()));
});

fn walk(bytes: Vec<u8>) {
    let length = bytes.len();
    let header = BlockHeader::decode(&bytes);
    let Ok(block) = Block::decode(bytes) else { return };
    let header = header.expect("a block's header decodes on its own");
    assert_eq!(*block.header(), header);
    assert_eq!(block.bytes(), length);
    let mut next = header.first;
    let mut frames = 0;
    let mut payloads = 0;
    let mut open = header.continues;
    for frame in block.frames() {
        match frame {
            Ok(frame) => {
                assert_eq!(frame.lsn, next);
                assert!(frame.offset < length);
                next = next.next();
                frames += 1;
                payloads += frame.payload.len();
                open = !frame.end_of_group;
            }
            Err(damage) => {
                assert!(damage.offset <= length);
                return;
            }
        }
    }
    assert_eq!(frames, header.frames);
    assert_eq!(next.prev(), block.last_lsn());
    assert!(payloads <= length);
    assert_eq!(open, header.open_end);
    assert!(block.first_lsn() > Lsn::ZERO);
}
