//! What the tests of this module share: schemas in one line, and a rig that drives an open target like the delivery loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use wal::{LogId, Lsn};

use super::SqlitePlan;
use super::target::Target;
use crate::codec::frame::{Audience, Frame, FrameHeader, RowOp, RowsHeader, Section, TableChange, encode_header};
use crate::codec::version::FramePlace;
use crate::config::{SinkPlan, TableOptions};
use crate::error::Failure;
use crate::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Origin, RowCounts, SchemaId, SourcePlace,
    TableName, TableSchema,
};
use crate::sink::claim::Opener;
use crate::sink::definitions::At;
use crate::sink::stops;
pub(super) use crate::sink::testing::{images, key, options, schema, soft};
use crate::sink::{TakeOver, TargetState};
use crate::sink::{follow, rows};

/// What comes of the future of a sink that waits for nothing.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("SQLite waits for nothing")
}

/// 2026-11-21 09:00:00.000001 UTC.
pub(super) const COMMITTED: i64 = 1_795_251_600_000_001;

pub(super) const LOG: LogId = LogId::new(77);

/// Bytes that a frame takes of the log of these tests.
pub(super) const FRAME_BYTES: u64 = 1000;

pub(super) fn column(name: &str, ty: ColumnType) -> Column {
    Column { name: name.into(), ty, nullable: true, default: ColumnDefault::Unknown, attributes: None, collation: None }
}

pub(super) fn int(name: &str) -> Column {
    column(name, ColumnType::Int { width: IntWidth::W4, unsigned: false })
}

pub(super) fn bigint_unsigned(name: &str) -> Column {
    column(name, ColumnType::Int { width: IntWidth::W8, unsigned: true })
}

pub(super) fn text(name: &str) -> Column {
    column(name, varchar(200))
}

pub(super) fn varchar(max_bytes: u16) -> ColumnType {
    ColumnType::VarChar { max_bytes, charset: Charset::new("utf8mb4") }
}

pub(super) fn origin() -> Origin {
    let place = SourcePlace::MySql(BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous });
    Origin { commit_micros: COMMITTED, place }
}

/// The place of a frame, in a log whose every frame takes [`FRAME_BYTES`].
pub(super) fn place(lsn: u64) -> FramePlace {
    FramePlace { lsn: Lsn::new(lsn), position: lsn * FRAME_BYTES }
}

/// The payload of a rows frame.
pub(super) fn rows_frame(sections: &[(SchemaId, RowOp, u32, Vec<u8>)]) -> Vec<u8> {
    let headers = sections.iter().map(|(schema, op, rows, body)| Section {
        schema: *schema,
        op: *op,
        rows: *rows,
        bytes: body.len().try_into().unwrap(),
    });
    let header =
        FrameHeader::Rows(RowsHeader { origin: origin(), audience: Audience::All, sections: headers.collect() });
    let mut payload = Vec::new();
    encode_header(&header, &mut payload).unwrap();
    for (.., body) in sections {
        payload.extend_from_slice(body);
    }
    payload
}

/// A target over a file of its own, and the log's side of it.
pub(super) struct Rig {
    directory: tempfile::TempDir,
    pub(super) plan: SinkPlan,
    pub(super) target: Option<Target>,
    schemas: BTreeMap<SchemaId, Arc<TableSchema>>,
    lsn: u64,
    counts: RowCounts,
    /// What is captured: `shop.t` and others of these tests.
    pub(super) captured: Vec<TableName>,
    /// What the last opening said is to be read again.
    pub(super) released: Vec<(TableName, String)>,
}

impl Rig {
    pub(super) fn new(defaults: TableOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Arc::new(SqlitePlan { path: directory.path().join("replica.db") });
        let plan = SinkPlan::new("local", defaults, SqlitePlan::BATCH, settings);
        let mut rig = Self {
            directory,
            plan,
            target: None,
            schemas: BTreeMap::new(),
            lsn: 0,
            counts: RowCounts::default(),
            captured: ["t", "u", "v"].map(|table| TableName::new("shop", table)).into(),
            released: Vec::new(),
        };
        assert_eq!(rig.open().unwrap(), TargetState::Fresh);
        rig
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("replica.db")
    }

    /// Opens the file again; what was not committed is lost, as in a crash.
    pub(super) fn open(&mut self) -> Result<TargetState, Failure> {
        self.open_for(LOG)
    }

    /// Opens the file for another log.
    pub(super) fn open_for(&mut self, log: LogId) -> Result<TargetState, Failure> {
        let doomed = self.target.take().map(|target| target.followed.doomed).unwrap_or_default();
        let (mut target, state) = Target::open(&self.path(), &self.plan, log, &mut Opener::new())?;
        target.followed.doomed = doomed;
        let captured = self.captured.clone();
        let is_captured = move |table: &TableName| captured.contains(table);
        self.released = now(stops::review(self.target.insert(target), &is_captured))?;
        Ok(state)
    }

    /// The next frame is the first of its log.
    pub(super) fn restart_log(&mut self) {
        self.lsn = 0;
    }

    /// Registers a schema and announces it, with the ids of before and after.
    pub(super) fn create(&mut self, schema: TableSchema) -> SchemaId {
        let to = self.schema(schema);
        self.change(&TableChange::Schema { table: self.name(to), from: None, to, renamed: Vec::new(), lost: false });
        to
    }

    pub(super) fn alter(&mut self, from: SchemaId, to: TableSchema, renamed: &[(&str, &str)]) -> SchemaId {
        self.try_alter(from, to, renamed).unwrap()
    }

    pub(super) fn try_alter(
        &mut self,
        from: SchemaId,
        to: TableSchema,
        renamed: &[(&str, &str)],
    ) -> Result<SchemaId, Failure> {
        let to = self.schema(to);
        let renamed = renamed.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        self.try_change(&TableChange::Schema { table: self.name(to), from: Some(from), to, renamed, lost: false })?;
        Ok(to)
    }

    /// As [`Rig::alter`], where the source says that every row comes again.
    pub(super) fn lose(&mut self, from: SchemaId, to: TableSchema) -> SchemaId {
        let to = self.schema(to);
        let (table, from) = (self.name(to), Some(from));
        self.change(&TableChange::Schema { table, from, to, renamed: Vec::new(), lost: true });
        to
    }

    pub(super) fn schema(&mut self, schema: TableSchema) -> SchemaId {
        let id = SchemaId(u32::try_from(self.schemas.len()).unwrap() + 1);
        self.schemas.insert(id, Arc::new(schema));
        id
    }

    pub(super) fn name(&self, id: SchemaId) -> TableName {
        self.schemas[&id].name.clone()
    }

    /// How its target is taken over by a log that captures what the rig does.
    pub(super) fn taking(&self, log: LogId, at: u64) -> TakeOver<'_> {
        TakeOver { log, at: Lsn::new(at), is_again: false, captured: &self.captured }
    }

    /// A replace begins, whose rows come next.
    pub(super) fn replace(&mut self, schema: SchemaId) {
        self.change(&TableChange::ReplaceBegin { table: self.name(schema), schema });
    }

    /// The replace of the table of this schema ends.
    pub(super) fn replaced(&mut self, schema: SchemaId) {
        self.change(&TableChange::ReplaceEnd { table: self.name(schema) });
    }

    pub(super) fn change(&mut self, change: &TableChange) {
        self.try_change(change).unwrap();
    }

    pub(super) fn try_change(&mut self, change: &TableChange) -> Result<(), Failure> {
        self.lsn += 1;
        let schemas = &self.schemas;
        let target = self.target.as_mut().unwrap();
        target.begin()?;
        target.followed.begin(Lsn::new(self.lsn));
        let at = At { place: place(self.lsn), origin: &origin() };
        now(follow::change(target, at, change, &mut |id| Ok(Arc::clone(&schemas[&id]))))
    }

    pub(super) fn rows(&mut self, id: SchemaId, op: RowOp, rows: &[&[&str]]) {
        self.try_rows(id, op, rows).unwrap();
    }

    /// Writes one frame; an update's rows come in pairs.
    pub(super) fn try_rows(&mut self, id: SchemaId, op: RowOp, rows: &[&[&str]]) -> Result<(), Failure> {
        let body = images(&self.schemas[&id], rows);
        self.try_images(id, op, u32::try_from(rows.len()).unwrap() / op.images_per_row(), body)
    }

    pub(super) fn try_images(&mut self, id: SchemaId, op: RowOp, rows: u32, body: Vec<u8>) -> Result<(), Failure> {
        let payload = rows_frame(&[(id, op, rows, body)]);
        self.frame(&Frame::decode(&payload).unwrap())
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        self.frame_at(self.lsn + 1, frame)
    }

    /// Writes a frame that is at this LSN.
    pub(super) fn frame_at(&mut self, lsn: u64, frame: &Frame<'_>) -> Result<(), Failure> {
        self.lsn = lsn;
        let schemas = &self.schemas;
        let target = self.target.as_mut().unwrap();
        for (section, ..) in frame.sections() {
            if !target.followed.writers.has(section.schema) {
                target.begin()?;
                target.followed.begin(Lsn::new(lsn));
                now(rows::prepare(target, section.schema, &mut |id| Ok(Arc::clone(&schemas[&id]))))?;
            }
        }
        target.begin()?;
        rows::write(target, place(lsn), frame)
    }

    /// Commits; what became of the rows of `shop.t` in the round.
    pub(super) fn commit(&mut self) -> RowCounts {
        let counts = now(self.target.as_mut().unwrap().commit(Lsn::new(self.lsn))).unwrap();
        for (table, counts) in counts.iter() {
            assert!(counts.balance(), "{table}: {counts:?}");
        }
        let counts = counts.of(&TableName::new("shop", "t"));
        self.counts.add(counts);
        counts
    }

    /// What became of the rows of `shop.t` in every round that was committed.
    pub(super) fn counts(&self) -> RowCounts {
        self.counts
    }

    /// A query over what is committed, by another connection: one line a row, values as SQL literals.
    pub(super) fn read(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.path()).unwrap();
        query(&connection, sql)
    }

    /// Why `shop.t` is stopped, if it is.
    pub(super) fn stop(&self) -> Option<String> {
        self.stop_of(&TableName::new("shop", "t"))
    }

    /// Why a table is stopped, if it is.
    pub(super) fn stop_of(&self, table: &TableName) -> Option<String> {
        self.target.as_ref().unwrap().followed.stops.get(table).map(|stop| stop.reason.clone())
    }

    /// Commits, then gives the table's rows.
    pub(super) fn table(&mut self, name: &str) -> Vec<String> {
        self.commit();
        self.read(&format!("SELECT * FROM \"{name}\" ORDER BY 1, 2"))
    }
}

pub(super) fn query(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<_> = (0..columns)
            .map(|place| match row.get_ref(place).unwrap() {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => format!("{value:?}r"),
                ValueRef::Text(text) => format!("'{}'", std::str::from_utf8(text).unwrap()),
                ValueRef::Blob(bytes) => {
                    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("x'{}'", digits.concat())
                }
            })
            .collect();
        lines.push(values.join(" "));
    }
    lines
}
