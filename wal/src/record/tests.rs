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
            prop_assert_eq!(frame.position, after.bytes);
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
    assert_eq!(stored_block(BLOCK_BYTES), 128 * 1024);
    assert_eq!(stored_block(2 * PIECE_BYTES), 2 * 128 * 1024 + 120);
    assert_eq!(stored_block(2 * PIECE_BYTES + 5000), 2 * 128 * 1024 + 8192 + 120);
}
