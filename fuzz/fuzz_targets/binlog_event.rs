//! Any run of events is read as items or refused: no panic, no allocation by a hostile length, and never rows outside a
//! transaction or of a table that was not told.
//!
//! The input: one byte that picks the server's kind, then events, each behind its length (2 bytes, little-endian; the highest
//! bit says that it was unpacked from a compressed transaction).
#![no_main]

use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use libfuzzer_sys::fuzz_target;
use replicator::config::TableFilter;
use replicator::model::{ServerIdentity, SourcePosition};
use replicator::source::mysql::binlog::{Collations, Decoder, Item, RawEvent};
use replicator::source::mysql::start::{DumpBy, StartPoint};

fn globs(glob: &str) -> GlobSet {
    GlobSetBuilder::new().add(Glob::new(glob).expect("a valid glob")).build().expect("one glob")
}

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let mariadb = first & 1 == 1;
    let server = if mariadb {
        ServerIdentity::MariaDb { server_id: 1, domain_id: 0 }
    } else {
        ServerIdentity::MySql { server_uuid: "u".into() }
    };
    let position = SourcePosition { server, file: "b.000001".into(), pos: 4, file_created: 0, gtid: String::new() };
    let start = StartPoint { position, by: DumpBy::FilePos { mariadb } };
    let collations = [(8, "latin1"), (33, "utf8mb3"), (45, "utf8mb4"), (63, "binary"), (255, "utf8mb4")];
    let filter = TableFilter::new(globs("*.*"), globs("*.hidden"));
    let mut decoder = Decoder::new(&start, filter, Arc::new(Collations::new(collations))).expect("no GTIDs");
    let mut open = false;
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = u16::from_le_bytes(*len);
        let Some((bytes, tail)) = tail.split_at_checked(usize::from(len & 0x7fff)) else { return };
        rest = tail;
        let Ok(mut event) = RawEvent::parse(bytes) else { return };
        event.unpacked = len & 0x8000 != 0;
        match decoder.decode(&event) {
            Err(_) => return,
            Ok(Item::Begin | Item::BeginXa(_)) => open = true,
            Ok(Item::Commit | Item::Prepare { .. } | Item::Rollback | Item::CutOff) => open = false,
            Ok(Item::Schema { slot, told }) => {
                assert!(open);
                assert_eq!(decoder.table(slot), Some(&told.schema.name));
            }
            Ok(Item::Rows { slot, .. } | Item::Unread { slot, .. }) => {
                assert!(open);
                assert!(decoder.table(slot).is_some());
            }
            Ok(Item::Partial { slot, partial }) => {
                assert!(open);
                assert!(decoder.table(slot).is_some());
                let rows = partial.iter().map(|row| row.expect("the rows were walked"));
                assert_eq!(u32::try_from(rows.count()), Ok(partial.rows()));
                drop(partial.completed().expect("the rows were walked"));
            }
            Ok(Item::Filtered { .. }) => assert!(open),
            Ok(Item::Statement(statement)) => assert_eq!(statement.in_transaction, open),
            Ok(Item::Outcome { .. }) => assert!(!open),
            Ok(Item::Nothing | Item::Heartbeat) => {}
        }
        if open {
            assert!(!decoder.at_boundary());
        }
        assert!(decoder.boundary().1 <= decoder.position().pos);
    }
});
