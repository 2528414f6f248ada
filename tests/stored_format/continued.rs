//! What a start takes of a whole log beside the frames: the core of ingest and the coordinator of snapshots load their
//! state from it, and ingest appends a transaction after its last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use replicator::codec::catalog::{SchemaRecord, all_schemas};
use replicator::codec::frame::{Frame, FrameHeader, RowOp, TableChange};
use replicator::codec::row_image::ImageWriter;
use replicator::codec::stored;
use replicator::config::TableFilter;
use replicator::ingest::core::{Action, Core, Facts, Rows, Settings};
use replicator::ingest::ledger::{Boundary, WalLog};
use replicator::ingest::{self, Counts};
use replicator::model::{
    BinlogPlace, Gtid, Origin, SchemaId, SourcePlace, SourcePosition, TableName, TableSchema, Told,
};
use replicator::source::mysql::gtid::GtidSet;
use replicator::source::mysql::server::Flavour;
use replicator::table::{self, Complete, Reach, TableRecord};
use wal::{Appender, Lsn, Reader, Wal};

/// The schema of `users`.
const USERS: SchemaId = SchemaId(1);

/// The row that the transaction brings.
const ROW: [&str; 2] = ["9", "ida"];

fn named(name: &str) -> TableName {
    TableName::new("shop", name)
}

fn filter() -> TableFilter {
    let shop = GlobSetBuilder::new().add(Glob::new("shop.*").unwrap()).build().unwrap();
    TableFilter::new(shop, GlobSet::empty())
}

/// The row changes of each table, as the frames have them.
fn rows_of_frames(reader: &Reader) -> BTreeMap<TableName, u64> {
    let schemas: BTreeMap<SchemaId, SchemaRecord> = all_schemas(reader).unwrap().into_iter().collect();
    let mut rows = BTreeMap::new();
    for block in reader.read(Lsn::ZERO, usize::MAX).unwrap() {
        for frame in block.frames() {
            let frame = frame.unwrap();
            let FrameHeader::Rows(header) = Frame::decode(frame.payload).unwrap().header else { continue };
            for section in header.sections {
                let name = schemas[&section.schema].schema().name.clone();
                *rows.entry(name).or_default() += u64::from(section.rows);
            }
        }
    }
    rows
}

/// Loads the core of ingest from a log, and logs a transaction of one row of `users` with it.
pub async fn logs_a_transaction(wal: &Wal, appender: Appender) {
    let reader = wal.reader();
    let position = ingest::stored_position(&reader).unwrap().unwrap();
    let facts =
        Facts { flavour: Flavour::MySql, version: (8, 4, 0), identity: position.server.clone(), tells_names: true };
    let settings = Settings {
        filter: filter(),
        initial: true,
        sinks: Vec::new(),
        describe_wait: 2000,
        doubts: replicator::config::DoubtPlan::default(),
        frame_bytes: Settings::FRAME_BYTES,
        xa_bytes: 64 << 20,
        xa_piece_bytes: Settings::XA_PIECE_BYTES,
    };
    let log = WalLog::new(appender, reader.clone());
    let mut core = Core::load(log, &reader, settings, facts.clone()).unwrap();
    let set = |position: &SourcePosition| position.gtid.parse::<GtidSet>().unwrap();
    let loaded = core.position();
    assert_eq!(set(&loaded), set(&position));
    assert_eq!(loaded, SourcePosition { gtid: loaded.gtid.clone(), ..position.clone() });
    let reading: Vec<_> = core.reading().map(|(name, _)| name.clone()).collect();
    assert_eq!(reading, [named("users")]);
    assert_eq!(core.asking(), [named("orders")], "its rows wait for an answer");
    let counts: BTreeMap<TableName, Counts> = core.counts().map(|(name, counts)| (name.clone(), counts)).collect();
    for (name, counts) in &counts {
        assert_eq!(counts.read, counts.appended + counts.filtered + counts.left_out, "{name}");
    }
    let appended = counts.iter().map(|(name, counts)| (name.clone(), counts.appended)).filter(|(_, rows)| *rows > 0);
    assert_eq!(appended.collect::<BTreeMap<_, _>>(), rows_of_frames(&reader));

    assert!(!core.needs_end(&facts.identity));
    core.connected(facts, &position, None).unwrap();
    let asked = core.take_actions();
    let [Action::Describe { table: asked, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(asked, &named("orders"));

    // Rows of a table that waited for its copy are lost with the process that wrote the log.
    let before = reader.positions().durable;
    assert!(core.seal().unwrap());
    core.log_mut().flush_durable().await.unwrap();
    let ended = reader.positions().durable;
    let blocks = reader.read(before, usize::MAX).unwrap();
    let lost = blocks.iter().flat_map(wal::Block::frames).next().unwrap().unwrap();
    let FrameHeader::Change { change: TableChange::Gap { table, .. }, .. } =
        Frame::decode(lost.payload).unwrap().header
    else {
        panic!("a gap");
    };
    assert_eq!((ended, table), (before.next(), named("items")));

    let users: SchemaRecord = stored::get(&reader, &stored::SCHEMA.of_number(USERS.0)).unwrap().unwrap();
    let users = Arc::new(users.schema().clone());
    let mut image = Vec::new();
    let writer = ImageWriter::new(&users).unwrap();
    let mut builder = writer.row(&mut image);
    for value in ROW {
        builder.text_protocol(value.as_bytes()).unwrap();
    }
    builder.finish().unwrap();
    let gtid = Gtid::Anonymous;
    let place = BinlogPlace { file_number: 3, pos: position.pos, gtid: gtid.clone() };
    let origin = Origin { commit_micros: 1_795_251_700_000_000, place: SourcePlace::MySql(place) };
    let after = Boundary { file: &position.file, file_created: position.file_created, pos: position.pos + 100 };
    core.table_map(0, &Arc::new(Told::whole(TableSchema::clone(&users))), &origin).unwrap();
    core.rows(0, Rows { op: RowOp::Insert, rows: 1, columns: users.columns.len(), images: &image }, &origin).unwrap();
    core.commit(after, &origin, &gtid).unwrap();
    assert!(core.seal().unwrap());
    core.log_mut().flush_durable().await.unwrap();

    assert_eq!(reader.positions().durable, ended.next(), "one frame, under the schema that the log has");
    let blocks = reader.read(ended, usize::MAX).unwrap();
    let frame = blocks.iter().flat_map(wal::Block::frames).next().unwrap().unwrap();
    let FrameHeader::Rows(header) = Frame::decode(frame.payload).unwrap().header else { panic!("rows") };
    assert_eq!(header.sections.iter().map(|section| section.schema).collect::<Vec<_>>(), [USERS]);
    assert_eq!(ingest::stored_position(&reader).unwrap().unwrap().pos, position.pos + 100);
    let now: BTreeMap<TableName, Counts> = ingest::counts(&reader).unwrap().into_iter().collect();
    assert_eq!(now[&named("users")].appended, counts[&named("users")].appended + 1);
}

/// The records of the tables say since when each is captured, and what is wanted of it.
pub fn lives_are_known(reader: &Reader) {
    let records: BTreeMap<TableName, TableRecord> = table::records(reader).unwrap().into_iter().collect();
    let users = &records[&named("users")];
    assert_eq!(users.complete, Some(Complete::Whole(Lsn::new(4))));
    assert_eq!(users.read.as_ref().map(|read| (read.number, &read.reach)), Some((2, &Reach::Replace)));
    let asked = ingest::asked_beside(reader).unwrap();
    assert_eq!(asked.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&named("users")]);
    for (name, record) in records.iter().filter(|(name, _)| **name != named("users")) {
        assert_eq!((record.is_captured(), &record.read), (true, &None), "{name}");
    }
}
