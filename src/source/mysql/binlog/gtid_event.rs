//! The events that open a group and name it: MySQL's `GTID`, `ANONYMOUS_GTID` and `GTID_TAGGED`, MariaDB's `GTID`.

use super::cursor::Cursor;
use super::error::BinlogError;
use crate::model::{Gtid, Xid};

/// What the opening event of a group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupStart {
    pub(super) gtid: Gtid,
    /// Microseconds since the epoch.
    pub(super) commit_micros: i64,
    /// A transaction is open from here on, without a BEGIN of its own (MariaDB).
    pub(super) begins: bool,
    /// The group's statement has no effect of its own: it is the start or the taking back of an ALTER in two phases (MariaDB).
    pub(super) without_effect: bool,
    /// The two-phase transaction that the group prepares (MariaDB).
    pub(super) prepares: Option<Xid>,
}

/// Post-header flag of the logical clock; always written since MySQL 5.7.
const LOGICAL_CLOCK: u8 = 2;

/// Set in the 7-byte commit timestamp when the original one follows (the transaction came from another server).
const ORIGINAL_FOLLOWS: u64 = 1 << 55;

/// MariaDB: the group is one event, with no COMMIT or XID behind it.
const FL_STANDALONE: u8 = 1;

/// MariaDB: the number of the group commit follows (8 bytes).
const FL_GROUP_COMMIT_ID: u8 = 2;

/// MariaDB: the name of a two-phase transaction follows, which is prepared here.
const FL_PREPARED_XA: u8 = 64;

/// MariaDB: the name of a two-phase transaction follows, which is committed or rolled back here.
const FL_COMPLETED_XA: u8 = 128;

/// MariaDB 10.8 (MDEV-11675, `binlog_alter_two_phase`), in the second byte of flags: the group only says that an ALTER has
/// begun, or that it has failed. Its statement stands there whole, and again in the group that commits it.
const FL_START_ALTER: u8 = 2;
const FL_ROLLBACK_ALTER: u8 = 8;

fn whole_seconds(timestamp: u32) -> i64 {
    i64::from(timestamp) * 1_000_000
}

/// `GTID` and `ANONYMOUS_GTID`.
///
/// | bytes | field |
/// |---|---|
/// | 1 | flags |
/// | 16 | source uuid |
/// | 8 | number, from 1 |
/// | 1 | 2: the logical clock follows |
/// | 16 | logical clock (last committed, sequence number) |
/// | 7 | commit time on the server that was asked, microseconds since the epoch |
/// | rest | original commit time, length, versions |
pub(super) fn mysql(data: &[u8], anonymous: bool, timestamp: u32) -> Result<GroupStart, BinlogError> {
    let mut cursor = Cursor::new(data);
    let part = "GTID";
    cursor.u8(part)?;
    let uuid = cursor.array::<16>(part)?;
    let number = cursor.u64(part)?;
    let mut commit_micros = whole_seconds(timestamp);
    if !cursor.is_empty() && cursor.u8(part)? == LOGICAL_CLOCK {
        cursor.take(16, part)?;
        if cursor.rest().len() >= 7 {
            let micros = cursor.u56(part)? & !ORIGINAL_FOLLOWS;
            commit_micros = i64::try_from(micros).map_err(|_| BinlogError::Damaged { part: "commit time" })?;
        }
    }
    let gtid = if anonymous { Gtid::Anonymous } else { numbered(uuid, String::new(), number)? };
    Ok(GroupStart { gtid, commit_micros, begins: false, without_effect: false, prepares: None })
}

fn numbered(uuid: [u8; 16], tag: String, number: u64) -> Result<Gtid, BinlogError> {
    // The server counts from 1 and below 2^63 - 1.
    if number == 0 || i64::try_from(number).is_err() {
        return Err(BinlogError::Damaged { part: "GTID number" });
    }
    Ok(Gtid::MySql { uuid, tag, number })
}

/// `GTID_TAGGED` (WL#15294), in the format of MySQL's serialization library: version, size, last field that a reader
/// must know, then fields as number and value. Integers take one byte and one more for each low one bit.
pub(super) fn mysql_tagged(data: &[u8], timestamp: u32) -> Result<GroupStart, BinlogError> {
    const UUID: u64 = 1;
    const NUMBER: u64 = 2;
    const TAG: u64 = 3;
    const LAST_COMMITTED: u64 = 4;
    const SEQUENCE_NUMBER: u64 = 5;
    const COMMIT_TIME: u64 = 6;
    const COMMIT_GROUP_TICKET: u64 = 11;

    let part = "tagged GTID";
    let mut cursor = Cursor::new(data);
    let _format = varlen(&mut cursor)?;
    let size = usize::try_from(varlen(&mut cursor)?).map_err(|_| BinlogError::Short { part })?;
    let last_required = varlen(&mut cursor)?;
    // The size counts from the first byte of the message, format and size included.
    let read = data.len() - cursor.rest().len();
    let fields = size.checked_sub(read).ok_or(BinlogError::Damaged { part })?;
    let mut fields = Cursor::new(cursor.take(fields, part)?);

    let (mut uuid, mut number, mut tag) = (None, None, String::new());
    let mut commit_micros = whole_seconds(timestamp);
    while !fields.is_empty() {
        match varlen(&mut fields)? {
            UUID => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    *byte = u8::try_from(varlen(&mut fields)?).map_err(|_| BinlogError::Damaged { part })?;
                }
                uuid = Some(bytes);
            }
            NUMBER => {
                let value = varlen(&mut fields)?;
                // Signed numbers have their sign in the lowest bit.
                if value & 1 == 1 {
                    return Err(BinlogError::Damaged { part: "GTID number" });
                }
                number = Some(value >> 1);
            }
            TAG => {
                let len = usize::try_from(varlen(&mut fields)?).map_err(|_| BinlogError::Short { part })?;
                let text = std::str::from_utf8(fields.take(len, part)?);
                text.map_err(|_| BinlogError::Damaged { part: "GTID tag" })?.clone_into(&mut tag);
            }
            COMMIT_TIME => {
                let micros = varlen(&mut fields)?;
                commit_micros = i64::try_from(micros).map_err(|_| BinlogError::Damaged { part: "commit time" })?;
            }
            // Flags, the logical clock, lengths, versions, the group ticket: one integer each, not needed here.
            0 | LAST_COMMITTED | SEQUENCE_NUMBER | 7..=COMMIT_GROUP_TICKET => {
                varlen(&mut fields)?;
            }
            // A later version's fields come last and are ignorable by their number; they cannot be stepped over singly.
            unknown if unknown > last_required => break,
            _ => return Err(BinlogError::Damaged { part }),
        }
    }
    let (Some(uuid), Some(number)) = (uuid, number) else { return Err(BinlogError::Short { part }) };
    let gtid = numbered(uuid, tag, number)?;
    Ok(GroupStart { gtid, commit_micros, begins: false, without_effect: false, prepares: None })
}

fn varlen(cursor: &mut Cursor<'_>) -> Result<u64, BinlogError> {
    let part = "tagged GTID";
    let first = cursor.u8(part)?;
    let more = usize::try_from(first.trailing_ones()).unwrap_or(8);
    if more == 8 {
        return cursor.u64(part);
    }
    let mut bytes = [0; 8];
    let tail = cursor.take(more, part)?;
    for (slot, byte) in bytes.iter_mut().zip(std::iter::once(&first).chain(tail)) {
        *slot = *byte;
    }
    Ok(u64::from_le_bytes(bytes) >> (more + 1))
}

/// MariaDB's `GTID`: sequence number (8), domain (4), flags (1), then what the flags announce, then a second byte of flags;
/// filled up with zeros to 19 bytes.
pub(super) fn mariadb(data: &[u8], server_id: u32, timestamp: u32) -> Result<GroupStart, BinlogError> {
    let mut cursor = Cursor::new(data);
    let part = "GTID";
    let sequence = cursor.u64(part)?;
    let domain = cursor.u32(part)?;
    let flags = cursor.u8(part)?;
    if flags & FL_GROUP_COMMIT_ID != 0 {
        cursor.u64(part)?;
    }
    let mut prepares = None;
    if flags & (FL_PREPARED_XA | FL_COMPLETED_XA) != 0 {
        // Format, lengths of the name's two parts, the name.
        let format = u64::from(cursor.u32(part)?);
        let (gtrid, bqual) = (usize::from(cursor.u8(part)?), usize::from(cursor.u8(part)?));
        let name = Xid::of_parts(format, gtrid, bqual, cursor.take(gtrid + bqual, part)?);
        prepares = name.filter(|_| flags & FL_PREPARED_XA != 0);
    }
    let more_flags = if cursor.is_empty() { 0 } else { cursor.u8(part)? };
    Ok(GroupStart {
        gtid: Gtid::MariaDb { domain, server: server_id, sequence },
        commit_micros: whole_seconds(timestamp),
        begins: flags & FL_STANDALONE == 0,
        without_effect: more_flags & (FL_START_ALTER | FL_ROLLBACK_ALTER) != 0,
        prepares,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_gtid_reads_as_the_server_wrote_it() {
        // Format 1, 40 bytes, last required field 11, uuid 0x01..., number 3, tag "ab", commit time.
        let mut fields = vec![0 << 1, 1 << 1, 1 << 1];
        for byte in 1_u8..=16 {
            fields.push(byte << 1);
        }
        fields.extend([2 << 1, (3 << 1) << 1, 3 << 1, 2 << 1, b'a', b'b', 4 << 1, 0, 5 << 1, 2 << 1]);
        // 1_700_000_000_000_000 needs 8 bytes: seven low ones, then 57 bits of value.
        fields.push(6 << 1);
        fields.extend(((1_700_000_000_000_000_u64 << 8) | 0x7f).to_le_bytes());
        let size = u8::try_from(fields.len() + 3).unwrap();
        let mut data = vec![2 << 1, size << 1, 11 << 1];
        data.extend(fields);
        let uuid = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let gtid = Gtid::MySql { uuid, tag: "ab".into(), number: 3 };
        assert_eq!(
            mysql_tagged(&data, 7).unwrap(),
            GroupStart {
                gtid,
                commit_micros: 1_700_000_000_000_000,
                begins: false,
                without_effect: false,
                prepares: None
            }
        );
        for cut in 0..data.len() {
            assert!(mysql_tagged(&data[..cut], 7).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_commit_time_of_a_mysql_gtid_is_in_microseconds() {
        let mut data = vec![1];
        data.extend([0xab; 16]);
        data.extend(9_u64.to_le_bytes());
        data.push(2);
        data.extend([0; 16]);
        let commit_time = 1_600_000_000_123_456_u64;
        data.extend(&(commit_time | ORIGINAL_FOLLOWS).to_le_bytes()[..7]);
        data.extend([0; 7]);
        let gtid = Gtid::MySql { uuid: [0xab; 16], tag: String::new(), number: 9 };
        let start = mysql(&data, false, 5).unwrap();
        assert_eq!(
            start,
            GroupStart {
                gtid,
                commit_micros: 1_600_000_000_123_456,
                begins: false,
                without_effect: false,
                prepares: None
            }
        );
        let anonymous = mysql(&data, true, 5).unwrap();
        assert_eq!(anonymous.gtid, Gtid::Anonymous);
        assert_eq!(anonymous.commit_micros, 1_600_000_000_123_456);
    }

    #[test]
    fn only_the_commit_of_an_alter_in_two_phases_has_an_effect() {
        let group = |flags: u8, announced: &[u8], more_flags: u8| {
            let mut data = 7_u64.to_le_bytes().to_vec();
            data.extend(3_u32.to_le_bytes());
            data.push(flags);
            data.extend(announced);
            data.push(more_flags);
            data.resize(data.len().max(19), 0);
            mariadb(&data, 5, 9).unwrap()
        };
        let commit_id = 99_u64.to_le_bytes();
        let xa = [1, 0, 0, 0, 2, 1, b'a', b'b', b'c'];
        for (more_flags, without_effect) in [(0, false), (1, false), (2, true), (4, false), (8, true)] {
            for (flags, announced) in [(0x29, &[][..]), (0x2b, &commit_id[..]), (0x69, &xa[..]), (0xa9, &xa[..])] {
                let gtid = Gtid::MariaDb { domain: 3, server: 5, sequence: 7 };
                let prepares = (flags == 0x69).then(|| Xid { format: 1, gtrid: b"ab".to_vec(), bqual: b"c".to_vec() });
                let expected = GroupStart { gtid, commit_micros: 9_000_000, begins: false, without_effect, prepares };
                assert_eq!(group(flags, announced, more_flags), expected, "{flags:x} {more_flags}");
            }
        }
    }
}
