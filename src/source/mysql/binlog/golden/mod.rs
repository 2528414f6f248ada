//! The decoder over whole binlog files of real servers: every item, every schema, every position, compared with a transcript;
//! and over the same files damaged in every way a property test thinks of.

mod maps;
mod partial;
mod unread;

use std::fmt::Write as _;
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use proptest::prelude::*;

use super::*;
use crate::config::TableFilter;
use crate::error::Failure;
use crate::model::{Column, ServerIdentity, SourcePosition};
use crate::source::mysql::start::{DumpBy, StartPoint};

const MYSQL: &[u8] = include_bytes!("mysql-9.7.binlog");
const MARIADB: &[u8] = include_bytes!("mariadb-10.11.binlog");

/// Set to write the transcripts instead of comparing them.
const REWRITE: &str = "REPLICATOR_REWRITE_GOLDEN";

fn globs(glob: &str) -> GlobSet {
    GlobSetBuilder::new().add(Glob::new(glob).unwrap()).build().unwrap()
}

fn decoder(mariadb: bool) -> Decoder {
    decoder_of(mariadb, "golden.*")
}

/// Of what a glob captures.
fn decoder_of(mariadb: bool, glob: &str) -> Decoder {
    let server = if mariadb {
        ServerIdentity::MariaDb { server_id: 1, domain_id: 0 }
    } else {
        ServerIdentity::MySql { server_uuid: "u".into() }
    };
    let position =
        SourcePosition { server, file: "binlog.000001".into(), pos: 4, file_created: 0, gtid: String::new() };
    let start = StartPoint { position, by: DumpBy::FilePos { mariadb } };
    let collations =
        [(8, "latin1"), (33, "utf8mb3"), (45, "utf8mb4"), (46, "utf8mb4"), (63, "binary"), (255, "utf8mb4")];
    Decoder::new(&start, TableFilter::new(globs(glob), globs("golden.hidden")), Arc::new(Collations::new(collations)))
        .unwrap()
}

/// The events of a file, without the checksums, which are verified.
fn events(file: &[u8]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut rest = file.strip_prefix(b"\xfebin").unwrap();
    while !rest.is_empty() {
        let header = EventHeader::parse(rest).unwrap();
        let (event, after) = rest.split_at(usize::try_from(header.size).unwrap());
        let (body, checksum) = event.split_last_chunk::<4>().unwrap();
        assert_eq!(crc32fast::hash(body), u32::from_le_bytes(*checksum));
        // The format description says in its last byte which checksum the file has.
        let footer = usize::from(header.kind == kind::FORMAT_DESCRIPTION);
        events.push(body[..body.len() - footer].to_vec());
        rest = after;
    }
    events
}

fn transcript(mut decoder: Decoder, events: &[Vec<u8>]) -> Result<String, Failure> {
    let mut text = String::new();
    for bytes in events {
        let event = RawEvent::parse(bytes).unwrap();
        let item = decoder.decode(&event)?;
        let (name, _) = kind::describe(event.header.kind);
        match item {
            Item::Nothing => writeln!(text, "{name}: nothing"),
            Item::Begin => writeln!(text, "{name}: begin"),
            Item::BeginXa(xid) => writeln!(text, "{name}: begin {xid}"),
            Item::Commit => writeln!(text, "{name}: commit"),
            Item::Prepare { one_phase } => writeln!(text, "{name}: prepare, one phase {one_phase}"),
            Item::Outcome { xid, commits } => writeln!(text, "{name}: outcome of {xid}, commits {commits}"),
            Item::Rollback => writeln!(text, "{name}: rollback"),
            Item::CutOff => writeln!(text, "{name}: cut off"),
            Item::Heartbeat => writeln!(text, "{name}: heartbeat"),
            Item::Filtered { bytes } => writeln!(text, "{name}: filtered, {bytes} bytes"),
            Item::Schema { slot, told } => {
                let schema = &told.schema;
                let lacks = if told.is_whole() { String::new() } else { format!(", {:?}", told.lacks) };
                writeln!(text, "{name}: schema {} {}, key {:?}{lacks}", slot.0, schema.name, schema.key).unwrap();
                for Column { name, ty, nullable, .. } in &schema.columns {
                    writeln!(text, "  {name}: {ty:?}{}", if *nullable { ", nullable" } else { "" }).unwrap();
                }
                Ok(())
            }
            Item::Rows { slot, op, images, .. } => {
                write!(text, "{name}: {op:?} {} ", slot.0).unwrap();
                images.iter().try_for_each(|byte| write!(text, "{byte:02x}")).unwrap();
                writeln!(text)
            }
            Item::Partial { slot, partial } => {
                let (op, rows, told) = (partial.op(), partial.rows(), partial::told(&partial));
                writeln!(text, "{name}: partial {op:?} {}, rows {rows}: {}{told}", slot.0, partial.why())
            }
            Item::Unread { slot, why } => writeln!(text, "{name}: unread {} {why:?}", slot.0),
            Item::Statement(statement) => writeln!(
                text,
                "{name}: statement in {:?}, transaction {}: {:?}",
                statement.database, statement.in_transaction, statement.sql
            ),
        }
        .unwrap();
        if decoder.at_boundary() {
            let SourcePosition { file, pos, gtid, .. } = decoder.position();
            writeln!(text, "  at {file}:{pos} {gtid}").unwrap();
        }
    }
    Ok(text)
}

fn compare(name: &str, expected: &str, actual: &str) {
    if std::env::var_os(REWRITE).is_some() {
        let path = format!("{}/src/source/mysql/binlog/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, actual).unwrap();
        return;
    }
    for (at, (wanted, found)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}, line {}", at + 1);
    }
    assert_eq!(actual, expected, "{name}");
}

#[test]
fn a_prepare_outside_a_two_phase_transaction_is_out_of_place() {
    let mut events = events(MYSQL);
    for event in events.iter_mut().filter(|event| event[4] == kind::XID) {
        event[4] = kind::XA_PREPARE;
    }
    let failure = transcript(decoder(false), &events).unwrap_err();
    assert!(failure.chain().contains("outside a two-phase transaction"), "{}", failure.chain());
}

#[test]
fn a_whole_binlog_of_mysql_decodes_as_written() {
    compare("mysql-9.7.txt", include_str!("mysql-9.7.txt"), &transcript(decoder(false), &events(MYSQL)).unwrap());
}

#[test]
fn a_whole_binlog_of_mariadb_decodes_as_written() {
    compare(
        "mariadb-10.11.txt",
        include_str!("mariadb-10.11.txt"),
        &transcript(decoder(true), &events(MARIADB)).unwrap(),
    );
}

/// The first transaction with rows of the MySQL file: format description, then from its GTID to its XID.
fn one_transaction() -> Vec<Vec<u8>> {
    let all = events(MYSQL);
    let kinds: Vec<u8> = all.iter().map(|event| RawEvent::parse(event).unwrap().header.kind).collect();
    let map = kinds.iter().position(|kind| *kind == kind::TABLE_MAP).unwrap();
    let xid = map + kinds[map..].iter().position(|kind| *kind == kind::XID).unwrap();
    let mut events = vec![all[0].clone()];
    events.extend_from_slice(&all[map - 2..=xid]);
    events
}

fn kind_of(event: &[u8]) -> u8 {
    RawEvent::parse(event).unwrap().header.kind
}

fn first_failure(events: &[Vec<u8>]) -> Failure {
    transcript(decoder(false), events).unwrap_err()
}

#[test]
fn a_transaction_that_misses_its_start_or_its_table_map_stops_the_stream() {
    let whole = one_transaction();
    assert_eq!(kind_of(&whole[1]), kind::GTID);
    assert_eq!(kind_of(&whole[3]), kind::TABLE_MAP);
    for (left_out, message) in [(1..3, "TABLE_MAP event stands outside"), (3..4, "come without their TABLE_MAP")] {
        let mut cut = whole.clone();
        cut.drain(left_out);
        let failure = first_failure(&cut);
        assert!(failure.message.contains(message), "{}", failure.message);
    }
}

#[test]
fn a_table_id_named_in_an_earlier_group_is_not_enough() {
    let mut events = one_transaction();
    let again = events[1..3].to_vec();
    let rows = events[4].clone();
    events.extend(again);
    events.push(rows);
    assert!(first_failure(&events).message.contains("come without their TABLE_MAP"));
}

#[test]
fn a_file_that_ends_inside_a_transaction_rolls_it_back_and_keeps_the_position() {
    let whole = one_transaction();
    let mut cut = whole[..whole.len() - 1].to_vec();
    cut.push(events(MYSQL)[0].clone());
    let mut decoder = decoder(false);
    let mut last = String::new();
    for event in &cut {
        last = format!("{:?}", decoder.decode(&RawEvent::parse(event).unwrap()).unwrap());
    }
    assert_eq!(last, "CutOff");
    assert!(decoder.at_boundary());
    assert_eq!(decoder.position().gtid, "");
}

/// An event that names the next file: made by the dump thread, or the last of its file.
fn rotation(file: &str, artificial: bool) -> Vec<u8> {
    let mut event = vec![0; 19];
    event[4] = kind::ROTATE;
    event[13] = if artificial { 0 } else { 200 };
    event.extend(4_u64.to_le_bytes());
    event.extend(file.bytes());
    event
}

#[test]
fn a_dump_that_leaves_a_file_before_its_end_stops_the_stream_unless_the_server_has_started_again() {
    let described = |started: u8| {
        let mut event = events(MYSQL)[0].clone();
        event[71..75].copy_from_slice(&[started, 0, 0, 0]);
        event
    };
    let artificial = |number: u32| rotation(&format!("binlog.{number:06}"), true);
    let real = rotation("binlog.000002", false);
    for (name, dump, fails) in [
        ("the file ends", vec![artificial(1), described(0), real, artificial(2), described(0)], false),
        ("a crash", vec![artificial(1), described(0), artificial(2), described(1)], false),
        ("an earlier file first", vec![artificial(7), described(0)], false),
        ("the file is gone", vec![artificial(1), described(0), artificial(2), described(0)], true),
    ] {
        let mut decoder = decoder(false);
        let read: Result<Vec<_>, Failure> = dump
            .iter()
            .map(|event| decoder.decode(&RawEvent::parse(event).unwrap()).map(|item| format!("{item:?}")))
            .collect();
        assert_eq!(read.is_err(), fails, "{name}: {read:?}");
        if let Err(failure) = read {
            assert!(
                failure.message.contains("left binlog file \"binlog.000001\" before its end"),
                "{}",
                failure.message
            );
            assert!(failure.hint.unwrap().contains("replicator start --resync"));
            assert_eq!(decoder.position().file, "binlog.000001", "the next start meets it again");
        }
    }
}

#[test]
fn events_that_carry_changes_nobody_reads_stop_the_stream_by_name() {
    for (kind, named) in
        [(26, "INCIDENT"), (10, "EXEC_LOAD"), (43, "event type 43"), (172, "event type 172"), (255, "event type 255")]
    {
        let mut bytes = vec![0; 19];
        bytes[4] = kind;
        let failure = first_failure(&[bytes]);
        assert!(failure.message.contains(named), "{}", failure.message);
        assert!(failure.hint.is_some());
    }
}

#[test]
fn rows_of_a_compressed_transaction_that_did_not_unpack_are_missed() {
    let whole = one_transaction();
    // Algorithm none, 100 bytes of events.
    let mut payload = vec![0; 19];
    payload[4] = kind::TRANSACTION_PAYLOAD;
    payload.extend([2, 3, 0xfc, 0xff, 0, 1, 1, 100, 0]);
    let mut decoder = decoder(false);
    for event in [&whole[0], &whole[1], &payload] {
        decoder.decode(&RawEvent::parse(event).unwrap()).unwrap();
    }
    let failure = decoder.decode(&RawEvent::parse(&whole[1]).unwrap()).unwrap_err();
    assert!(failure.message.contains("could not be unpacked whole"), "{}", failure.message);
}

#[test]
fn a_table_map_without_full_metadata_says_what_it_does_not_tell() {
    let mut events = one_transaction();
    let map = &mut events[3];
    // The optional metadata of a minimal TABLE_MAP ends after signedness; the column names (kind 4) and all behind are cut.
    let names = map.windows(4).position(|bytes| bytes == [1, b'y', 2, b'i']).unwrap() - 2;
    map.truncate(names);
    let found = transcript(decoder(false), &events).unwrap();
    let lacks = "Lacks { names: true, signs: false, charsets: false, labels: true }";
    assert!(found.contains(&format!("key None, {lacks}\n  @1: Year, nullable")), "{found}");
    assert!(found.contains("XID: commit") && !found.contains("unread"), "{found}");
}

#[test]
fn a_table_map_with_half_a_name_is_damaged_and_stops_the_stream() {
    let mut events = one_transaction();
    let map = &mut events[3];
    let names = map.windows(4).position(|bytes| bytes == [1, b'y', 2, b'i']).unwrap();
    map.truncate(names + 3);
    assert!(first_failure(&events).message.contains("ends inside its optional metadata"));
}

proptest! {
    #[test]
    fn damaged_events_never_make_the_decoder_panic(
        mariadb in any::<bool>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of((any::<proptest::sample::Index>(), any::<proptest::sample::Index>())),
    ) {
        let mut events = events(if mariadb { MARIADB } else { MYSQL });
        for (event, byte, value) in damage {
            let event = event.index(events.len());
            let at = byte.index(events[event].len());
            events[event][at] = value;
        }
        if let Some((event, at)) = cut {
            let event = event.index(events.len());
            let at = at.index(events[event].len());
            events[event].truncate(at.max(19));
        }
        let mut decoder = decoder(mariadb);
        for bytes in &events {
            if decoder.decode(&RawEvent::parse(bytes).unwrap()).is_err() {
                break;
            }
        }
    }

    #[test]
    fn arbitrary_events_never_make_the_decoder_panic(
        kinds in proptest::collection::vec((proptest::sample::select(vec![2_u8, 4, 15, 16, 19, 23, 24, 30, 31, 33, 38, 40, 42, 162, 165, 166, 171]), proptest::collection::vec(any::<u8>(), 0..64)), 1..12),
    ) {
        let mut decoder = decoder(false);
        for (kind, data) in &kinds {
            let header = EventHeader { kind: *kind, ..EventHeader::default() };
            drop(decoder.decode(&RawEvent { header, data, unpacked: false }));
        }
    }
}
