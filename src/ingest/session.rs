//! One connection's worth of ingest: what an item of the decoder does to the log.
//!
//! Everything here works on the open group; [`Session::end_group`] ends it. What the decoder says is taken as true: it has
//! checked checksums, bitmaps and transaction bounds.

use std::time::Duration;

use mysql_async::Conn;

use super::disguise::{take_described, warn_of_guesses};
use super::registry::Current;
use super::run::Ingest;
use super::state::{self, Counts};
use crate::codec::frame::{FrameHeader, RowOp};
use crate::codec::stored::{SOURCE_LSN, SOURCE_POSITION, SourceLsn, StoredPosition, encode};
use crate::error::Failure;
use crate::model::{FilePos, Origin, SourcePosition, TableName, TableSchema};
use crate::source::mysql::connect;
use crate::source::mysql::places::binlog_end;
use crate::source::mysql::schema;
use crate::source::mysql::server::ServerInfo;
use crate::telemetry::SourcePhase;

/// Longest wait on the lock of a table that is to be described. Behind it the description is taken as it is: one of another
/// state than the stream's is told by its columns, and the schema then comes with the table's next rows.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The ingest loop between two reconnects.
pub(super) struct Session<'a> {
    pub(super) ctx: &'a mut Ingest,
    pub(super) server: ServerInfo,
    control: Option<Conn>,
    /// Tables whose next `TABLE_MAP` the decoder must tell again.
    pub(super) forgotten: Vec<TableName>,
    /// Tables with rows in the open group, by registry index.
    touched: Vec<usize>,
    /// The open group has rows.
    has_rows: bool,
    /// Tables whose schema changed inside the open group.
    schemas: Vec<TableName>,
}

impl<'a> Session<'a> {
    pub(super) fn new(ctx: &'a mut Ingest, server: ServerInfo) -> Self {
        Self {
            ctx,
            server,
            control: None,
            forgotten: Vec::new(),
            touched: Vec::new(),
            has_rows: false,
            schemas: Vec::new(),
        }
    }

    pub(super) fn captures(&self, table: &TableName) -> bool {
        self.ctx.plan.filter.captures(&table.database, &table.table)
    }

    pub(super) fn group_has_rows(&self) -> bool {
        self.has_rows
    }

    pub(super) fn forget(&mut self, table: &TableName) {
        self.forgotten.push(table.clone());
    }

    /// Whether the table is to be read again and its snapshot has not begun.
    pub(super) fn is_asked(&self, table: &TableName) -> bool {
        self.ctx.outstanding.contains_key(table) || self.ctx.rereads.iter().any(|reread| reread.table == *table)
    }

    /// Asks the server for the table's schema as it is now. `None`: nothing is seen of it, so what `TABLE_MAP` tells has to do.
    pub(super) async fn describe(&mut self, table: &TableName) -> Result<Option<TableSchema>, Failure> {
        let mut conn = self.take_control().await?;
        let flavour = self.server.flavour;
        let described = tokio::select! {
            described = async {
                // MySQL writes a DDL statement to the binlog before its change of the dictionary can be seen; opening the table
                // waits on the statement's metadata lock.
                schema::wait_for_ddl(&mut conn, table).await?;
                schema::describe_visible(&mut conn, flavour, table).await
            } => described?,
            () = self.ctx.shutdown.cancelled() => return Err(Failure::retry("stopped while a table was described")),
        };
        self.control = Some(conn);
        Ok(described.map(|described| described.schema))
    }

    /// The end of the binlog of now.
    pub(super) async fn binlog_end(&mut self) -> Result<FilePos, Failure> {
        let mut conn = self.take_control().await?;
        let end = binlog_end(&mut conn, &self.server).await?;
        self.control = Some(conn);
        Ok(end)
    }

    async fn take_control(&mut self) -> Result<Conn, Failure> {
        match self.control.take() {
            Some(conn) => Ok(conn),
            None => self.open_control().await,
        }
    }

    async fn open_control(&self) -> Result<Conn, Failure> {
        let mut conn = connect::connect(&self.ctx.plan).await?;
        // With autocommit off a question would hold its metadata lock for good, and block DDL on the source.
        let session = format!("SET SESSION lock_wait_timeout = {}, autocommit = 1", LOCK_WAIT.as_secs());
        connect::execute(&mut conn, &session, "prepare the connection for questions about tables").await?;
        Ok(conn)
    }

    /// A `TABLE_MAP` that differs from the last one of its table.
    pub(super) async fn schema(&mut self, seen: &TableSchema, origin: &Origin) -> Result<(), Failure> {
        let table = &seen.name;
        let (mut seen, unknown) = self.undisguised(seen);
        if let Some(current) = self.ctx.registry.current(table)
            && unknown.is_empty()
            && current.schema.same_image(&seen)
            // A column may have gone and come again, and look the same.
            && !self.ctx.registry.has_pending(table)
        {
            return Ok(());
        }
        // A unique key stands only in information_schema, which may already show a later state.
        let described = self.describe(table).await?;
        let guessed = take_described(&mut seen, &unknown, described.as_ref());
        let known = self.ctx.registry.typed(table);
        let new: Vec<&String> = guessed.iter().filter(|column| !known.is_guess(column)).collect();
        warn_of_guesses(table, &new);
        let described = described.filter(|described| described.same_image(&seen));
        let adopted = described.unwrap_or_else(|| {
            let mut schema = seen;
            if schema.key.is_none() {
                schema.key = self.ctx.registry.current(table).and_then(|current| kept_key(&current.schema, &schema));
            }
            schema
        });
        self.schemas.push(table.clone());
        self.adopt(adopted, None, origin)?;
        if guessed.len() < unknown.len() {
            self.described_now(table).await?;
        }
        self.guessed(table, guessed)
    }

    /// Rows of one table, as the source sent them.
    pub(super) async fn rows(
        &mut self,
        current: &Current,
        op: RowOp,
        rows: u32,
        body: &[u8],
        origin: &Origin,
    ) -> Result<(), Failure> {
        self.has_rows = true;
        self.ctx.writer.rows(current.id, op, rows, body, || origin.clone())?;
        if self.ctx.writer.is_fragmented() && self.ctx.writer.wants_flush() {
            if self.ctx.shutdown.is_cancelled() {
                return Err(Failure::retry("stopped inside a transaction"));
            }
            self.ctx.flush().await?;
        }
        Ok(())
    }

    /// Rows of a captured table in a rows event: counted, appended unopened, their keys noted if a snapshot asks for it.
    pub(super) async fn stream_rows(
        &mut self,
        index: usize,
        op: RowOp,
        body: &[u8],
        origin: &Origin,
    ) -> Result<(), Failure> {
        let Some(table) = self.ctx.registry.at(index) else {
            return Err(Failure::fatal("a rows event belongs to a table that has no place in the registry"));
        };
        let Some(current) = table.current.clone() else {
            return Err(Failure::fatal(format!("rows of table '{}' came before its schema", table.name)));
        };
        let damaged = |error| {
            Failure::fatal(format!("a rows event of '{}' does not fit the table's schema", current.schema.name))
                .caused_by(error)
        };
        let rows = current.plan.count_rows(body, op.images_per_row()).map_err(damaged)?;
        let counted = u64::from(rows);
        table.count(Counts { read: counted, appended: counted, filtered: 0 });
        if self.touched.last() != Some(&index) {
            self.touched.push(index);
        }
        if !self.ctx.windows.is_empty() && self.ctx.windows.watches(&current.schema.name) {
            self.note_keys(&current, body)?;
        }
        self.rows(&current, op, rows, body, origin).await
    }

    fn note_keys(&mut self, current: &Current, body: &[u8]) -> Result<(), Failure> {
        let Some(key) = &current.schema.key else { return Ok(()) };
        let damaged = |error| {
            Failure::fatal(format!("a key of '{}' cannot be read from a rows event", current.schema.name))
                .caused_by(error)
        };
        let mut rest = body;
        while !rest.is_empty() {
            let len = current.plan.image_len(rest).map_err(damaged)?;
            let (image, tail) = rest.split_at(len);
            let hash = current.plan.key_hash(&key.columns, image).map_err(damaged)?;
            self.ctx.windows.note(&current.schema.name, hash);
            rest = tail;
        }
        Ok(())
    }

    /// Whether the open group holds rows of the table.
    pub(super) fn touches(&mut self, table: &TableName) -> bool {
        let index = self.ctx.registry.index(table);
        self.touched.contains(&index)
    }

    pub(super) fn count(&mut self, current: &Current, counts: Counts) {
        let index = self.ctx.registry.index(&current.schema.name);
        if let Some(table) = self.ctx.registry.at(index) {
            table.count(counts);
            self.touched.push(index);
        }
    }

    pub(super) fn single(&mut self, header: FrameHeader) -> Result<(), Failure> {
        self.ctx.writer.single(header)
    }

    /// Puts the position behind the groups that have ended. It has to be done before a frame of the open group leaves for the
    /// appender: from then on what is put belongs to the open group, and a flush inside it would make the groups
    /// before it durable without their position.
    pub(super) fn save_position(&mut self, at: &SourcePosition) -> Result<(), Failure> {
        self.ctx.writer.checkpoint(SOURCE_POSITION.key(), &encode(&StoredPosition::MySql(at.clone()))?);
        let last = encode(&SourceLsn(self.ctx.writer.last_lsn()))?;
        self.ctx.writer.checkpoint(SOURCE_LSN.key(), &last);
        self.ctx.registry.checkpoint(&mut self.ctx.writer)
    }

    /// Whether taking `bytes` of rows needs [`Session::save_position`] first.
    pub(super) fn must_save_position(&self, bytes: usize) -> bool {
        !self.ctx.writer.is_fragmented() && self.ctx.writer.fragments_with(bytes)
    }

    /// Forgets the open group.
    pub(super) async fn abort(&mut self) -> Result<(), Failure> {
        self.ctx.writer.abort().await?;
        self.ctx.rereads.clear();
        self.ctx.registry.drop_open(&mut self.touched);
        self.has_rows = false;
        Ok(())
    }

    /// The source took the transaction back: nothing of the open group counts.
    pub(super) async fn roll_back(&mut self, at: &SourcePosition) -> Result<(), Failure> {
        self.abort().await?;
        if !self.schemas.is_empty() {
            // The schemas told inside it were stored with it; what is known goes back to the last finished group.
            self.save_position(at)?;
            self.ctx.durable().await?;
            self.ctx.reload_registry()?;
            self.forgotten.append(&mut self.schemas);
        }
        Ok(())
    }

    /// Ends the open group.
    pub(super) fn end_group(&mut self, origin: &Origin) -> Result<(), Failure> {
        for mut reread in std::mem::take(&mut self.ctx.rereads) {
            reread.replace |= self.ctx.outstanding.get(&reread.table).copied().unwrap_or(false);
            let value = encode(&reread)?;
            self.ctx.writer.put(&state::reread_key(&reread.table), &value);
            self.ctx.outstanding.insert(reread.table.clone(), reread.replace);
            self.ctx.jobs.push(reread);
            self.ctx.show_outstanding();
        }
        self.ctx.writer.end(|| origin.clone())?;
        self.ctx.registry.end_group(&mut self.touched);
        self.has_rows = false;
        self.schemas.clear();
        Ok(())
    }

    /// Makes everything up to the boundary `at` ready to become durable and hands it over.
    pub(super) async fn checkpoint_and_flush(&mut self, at: &SourcePosition) -> Result<(), Failure> {
        self.save_position(at)?;
        self.ctx.flush().await?;
        for table in self.ctx.registry.iter() {
            let counts = table.counts();
            self.ctx.live.table(&table.name).set(counts.shown());
        }
        self.ctx.start_jobs();
        Ok(())
    }

    pub(super) fn reading_table(&self, reading: bool) {
        let phase = if reading { SourcePhase::ReadingTable } else { SourcePhase::Streaming };
        self.ctx.live.source.phase(phase, None);
    }

    /// The connection for questions is closed.
    pub(super) async fn close(self) {
        if let Some(conn) = self.control {
            // The stream's end is already decided; a server that is gone cannot be told goodbye.
            drop(conn.disconnect().await);
        }
    }
}

/// The old schema's unique key under the new one, if all its columns are still there and not null.
fn kept_key(old: &TableSchema, new: &TableSchema) -> Option<crate::model::Key> {
    let key = old.key.as_ref()?;
    let columns = key
        .columns
        .iter()
        .map(|index| {
            let name = &old.columns.get(usize::from(*index))?.name;
            let index = new.column_index(name)?;
            let kept = new.columns.get(index).is_some_and(|column| !column.nullable);
            if kept { u16::try_from(index).ok() } else { None }
        })
        .collect::<Option<Vec<u16>>>()?;
    // A primary key that is gone from the TABLE_MAP is gone; only a unique key is not told there.
    (key.kind == crate::model::KeyKind::Unique).then_some(crate::model::Key { kind: key.kind, columns })
}
