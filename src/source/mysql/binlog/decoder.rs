//! Events in, items out: a state machine without I/O.
//!
//! It promises that a group (a transaction, or a statement by itself) opens with [`Item::Begin`] or [`Item::BeginXa`] and ends with
//! [`Item::Commit`], [`Item::Prepare`] or [`Item::Rollback`], that rows come after the schema they were written under, and that
//! [`Decoder::position`] is always the end of a complete group. What it cannot read of one table is [`Item::Unread`], and anything
//! else that it cannot read an error, never an omission. It assumes checksums were verified. It does not open row images.
//!
//! # How the servers write groups
//! | server | group |
//! |---|---|
//! | MySQL | `GTID`, `QUERY BEGIN`, (`TABLE_MAP`.. rows..).., `XID` or `QUERY COMMIT` |
//! | MySQL, compressed | `GTID`, `TRANSACTION_PAYLOAD`, and out of it all from `QUERY BEGIN` on |
//! | MySQL, DDL | `GTID`, `QUERY` |
//! | MySQL, atomic `CREATE TABLE .. SELECT` | `GTID`, `QUERY BEGIN`, `QUERY`, rows, `XID` |
//! | MySQL, XA | `GTID`, `QUERY XA START`, rows, `QUERY XA END`, `XA_PREPARE`; later `GTID`, `QUERY XA COMMIT` or `XA ROLLBACK` |
//! | MySQL, XA in one phase | the same up to `XA_PREPARE`, which says that it is one |
//! | MariaDB | `GTID`, rows, `XID` or `QUERY COMMIT` |
//! | MariaDB, DDL | `GTID` with the standalone flag, `QUERY` |
//! | MariaDB, XA | `GTID` with the name, rows, `QUERY XA END`, `XA_PREPARE`; later `GTID`, `QUERY XA COMMIT` or `XA ROLLBACK` |
//! | MariaDB, XA in one phase | as without XA |

mod captured;

use std::borrow::Cow;
use std::sync::Arc;

use super::collations::Collations;
use super::compressed;
use super::cursor::Cursor;
use super::error::BinlogError;
use super::event::{EventHeader, RawEvent};
use super::files::Files;
use super::gtid_event::{self, GroupStart};
use super::kind::{self, Treatment};
use super::partial::Partial;
use super::position::{Executed, Position};
use super::query::{Control, Query, control, xid};
use super::rows;
use super::tables::{Beside, TableSlot, Tables};
use super::unread::Unread;
use crate::codec::frame::RowOp;
use crate::config::TableFilter;
use crate::error::Failure;
use crate::model::{BinlogPlace, Gtid, Origin, ServerIdentity, SourcePlace, SourcePosition, TableName, Told, Xid};
use crate::source::mysql::gtid::GtidTextError;
use crate::source::mysql::start::{DumpBy, StartPoint};

/// Table id of the rows event that only ends a statement (`0x00ffffff`): it names no table and has no rows.
const DUMMY_TABLE: u64 = 0x00ff_ffff;

/// What an event means.
#[derive(Debug)]
pub enum Item<'a> {
    /// Nothing to do. The position may have moved.
    Nothing,
    /// A transaction opens.
    Begin,
    /// A two-phase transaction opens. It ends with [`Item::Prepare`], or as others do.
    BeginXa(Xid),
    /// What the binlog says of the schema of a captured table, where that differs from the last time. Comes before the rows written
    /// under it.
    Schema {
        /// The table.
        slot: TableSlot,
        /// What is said of its schema from here on.
        told: Arc<Told>,
    },
    /// Rows of a captured table.
    Rows {
        /// The table.
        slot: TableSlot,
        /// What happened to them.
        op: RowOp,
        /// How many, counted by walking the images with the schema of their own `TABLE_MAP`.
        rows: u32,
        /// How many columns the event says that each image has, without those that the server keeps for itself.
        columns: usize,
        /// Full row images back to back, no bitmaps; pairs for updates.
        images: Cow<'a, [u8]>,
    },
    /// Rows of a captured table of which the event does not have every column.
    Partial {
        /// The table.
        slot: TableSlot,
        /// What the event says of them.
        partial: Partial<'a>,
    },
    /// Rows of a captured table that cannot be read.
    Unread {
        /// The table.
        slot: TableSlot,
        /// Why.
        why: Unread,
    },
    /// Rows of a table that is not captured.
    Filtered {
        /// Bytes of the event's body.
        bytes: usize,
    },
    /// The transaction is complete.
    Commit,
    /// The two-phase transaction that is open is prepared: what it did counts if it is committed later.
    Prepare {
        /// It is committed already.
        one_phase: bool,
    },
    /// A two-phase transaction that was prepared before has ended. It is a group of its own.
    Outcome {
        /// Its name.
        xid: Xid,
        /// It is committed, and not rolled back.
        commits: bool,
    },
    /// The transaction was rolled back: nothing of it counts. The position is after it.
    Rollback,
    /// The binlog file ended inside a transaction, because the server went down: nothing of it counts. The position is before it.
    CutOff,
    /// A statement that is not transaction control.
    Statement(Statement<'a>),
    /// The server is alive. It has nothing more to send, or is passing over what was read before.
    Heartbeat,
}

/// A statement.
#[derive(Debug)]
pub struct Statement<'a> {
    /// Its text; what is not text in its character set is replaced.
    pub sql: Cow<'a, str>,
    /// Default database; may be empty.
    pub database: Cow<'a, str>,
    /// `sql_mode` bits of its session.
    pub sql_mode: u64,
    /// Error it ended with at the source; not 0: it had effects nevertheless.
    pub error_code: u16,
    /// The connection that ran it.
    pub connection: u32,
    /// It, or a statement before it in the same stored procedure, used a temporary table.
    pub may_use_temporary: bool,
    /// It stands inside a transaction, whose end comes later. Otherwise it is its own group, and the position is at its end.
    pub in_transaction: bool,
}

/// Where in a group the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At a boundary.
    Between,
    /// The group has its GTID.
    Named,
    /// The transaction is open.
    Open,
}

/// The state machine.
#[derive(Debug)]
pub struct Decoder {
    tables: Tables,
    position: Position,
    state: State,
    /// The transaction that is open is a two-phase one.
    is_xa: bool,
    /// Counts groups, to tell the table ids of this one from older ones.
    group: u64,
    gtid: Gtid,
    commit_micros: i64,
    /// The group's statement has no effect: another group says so when it has.
    without_effect: bool,
    /// A compressed transaction is being unpacked.
    unpacking: bool,
    files: Files,
}

impl Decoder {
    /// A decoder of what the dump sends from `start` on. Every connection needs a new one.
    ///
    /// # Errors
    /// [`GtidTextError`] when the position's GTIDs are not of its server's kind.
    pub fn new(start: &StartPoint, filter: TableFilter, collations: Arc<Collations>) -> Result<Self, GtidTextError> {
        let by_gtid = !matches!(start.by, DumpBy::FilePos { .. });
        let is_mariadb = matches!(start.position.server, ServerIdentity::MariaDb { .. });
        Ok(Self {
            tables: Tables::new(filter, is_mariadb, collations),
            position: Position::new(&start.position, by_gtid)?,
            state: State::Between,
            is_xa: false,
            group: 0,
            gtid: Gtid::Anonymous,
            commit_micros: 0,
            without_effect: false,
            unpacking: false,
            files: Files::new(by_gtid && !is_mariadb),
        })
    }

    /// The last boundary, as it is stored. Builds the text of the GTID set: for commits, not for every event.
    pub fn position(&self) -> SourcePosition {
        self.position.stored()
    }

    /// File and offset of the last boundary.
    pub fn boundary(&self) -> (&str, u64) {
        self.position.boundary()
    }

    /// GTIDs executed up to the last boundary.
    pub fn executed(&self) -> &Executed {
        self.position.executed()
    }

    /// Whether the last event ended a group, or stands between groups.
    pub fn at_boundary(&self) -> bool {
        self.state == State::Between
    }

    /// The last boundary, without its GTIDs: file, creation time of the file, offset.
    pub fn boundary_place(&self) -> (&str, u32, u64) {
        self.position.boundary_place()
    }

    /// Commit time of the current group, in microseconds since the epoch; between groups, of the last one.
    pub fn commit_micros(&self) -> i64 {
        self.commit_micros
    }

    /// The GTID of the current group; between groups, of the last one.
    pub fn gtid(&self) -> &Gtid {
        &self.gtid
    }

    /// Where the current group comes from; between groups, the last one. Its `pos` is the end of the last event.
    pub fn origin(&self) -> Origin {
        Origin {
            commit_micros: self.commit_micros,
            place: SourcePlace::MySql(BinlogPlace {
                file_number: self.position.file_number(),
                pos: self.position.pos(),
                gtid: self.gtid.clone(),
            }),
        }
    }

    /// Tables that statements which have ended since this was last called have written to, with captured tables that they have mapped
    /// without writing to them.
    pub fn take_beside(&mut self) -> Vec<Beside> {
        self.tables.take_beside()
    }

    /// The name of a slot this decoder has given out.
    pub fn table(&self, slot: TableSlot) -> Option<&TableName> {
        self.tables.name(slot)
    }

    /// Takes the next event. What it gives borrows the event's bytes.
    ///
    /// # Errors
    /// A [`Failure`] naming the event and its place. The decoder is of no use after it.
    pub fn decode<'a>(&mut self, event: &RawEvent<'a>) -> Result<Item<'a>, Failure> {
        self.step(event).map_err(|error| {
            let (name, _) = kind::describe(event.header.kind);
            error.at(name, self.position.file(), self.position.pos())
        })
    }

    fn step<'a>(&mut self, event: &RawEvent<'a>) -> Result<Item<'a>, BinlogError> {
        let RawEvent { header, data, unpacked } = *event;
        if unpacked != self.unpacking {
            // Either the events of a payload did not all come, or events come out of one that has ended.
            return Err(BinlogError::PayloadCut);
        }
        let has_place = !unpacked && !header.is_artificial();
        if has_place
            && !matches!(header.kind, kind::FORMAT_DESCRIPTION | kind::ROTATE | kind::HEARTBEAT | kind::HEARTBEAT_V2)
        {
            self.position.advance(header.log_pos);
        }
        if let Some(layout) = rows::layout(header.kind) {
            return self.rows(data, layout);
        }
        match header.kind {
            kind::TABLE_MAP => self.table_map(data),
            kind::GTID => self.open(gtid_event::mysql(data, false, header.timestamp)?),
            kind::ANONYMOUS_GTID => self.open(gtid_event::mysql(data, true, header.timestamp)?),
            kind::GTID_TAGGED => self.open(gtid_event::mysql_tagged(data, header.timestamp)?),
            kind::MARIADB_GTID => self.open(gtid_event::mariadb(data, header.server_id, header.timestamp)?),
            kind::QUERY => self.query(Query::parse(data, false)?, header),
            kind::QUERY_COMPRESSED => self.query(Query::parse(data, true)?, header),
            // What stands in the file that came before it, LOAD DATA writes as a statement.
            kind::EXECUTE_LOAD_QUERY => self.query(Query::parse_load(data)?, header),
            kind::XID => self.commit("XID"),
            kind::STOP => {
                self.files.stop();
                self.other(kind::STOP)
            }
            kind::PREVIOUS_GTIDS => {
                self.files.previous(data, self.position.executed())?;
                self.other(kind::PREVIOUS_GTIDS)
            }
            kind::XA_PREPARE => self.xa_prepare(data),
            kind::TRANSACTION_PAYLOAD => self.payload(data),
            kind::ROTATE => self.rotate(data, header.is_artificial()),
            kind::FORMAT_DESCRIPTION => self.format_description(data, header.timestamp, header.log_pos),
            kind::HEARTBEAT => {
                if self.state == State::Between {
                    self.position.heartbeat(data, header.log_pos);
                }
                Ok(Item::Heartbeat)
            }
            kind::HEARTBEAT_V2 => Ok(Item::Heartbeat),
            code => self.other(code),
        }
    }

    fn other(&mut self, code: u8) -> Result<Item<'static>, BinlogError> {
        match kind::describe(code) {
            (_, Treatment::WithoutRows) => {
                if self.state == State::Between {
                    self.position.settle();
                }
                Ok(Item::Nothing)
            }
            (name, Treatment::Refused(way_out)) => Err(BinlogError::RefusedKind { name, way_out }),
            (_, Treatment::Decoded | Treatment::Unknown) => Err(BinlogError::UnknownKind { code }),
        }
    }

    fn open(&mut self, start: GroupStart) -> Result<Item<'static>, BinlogError> {
        if self.state != State::Between {
            return Err(BinlogError::OutOfPlace { name: "GTID", place: "inside a transaction" });
        }
        self.files.require_sure()?;
        self.gtid = start.gtid;
        self.start_group(start.commit_micros);
        self.without_effect = start.without_effect;
        if start.begins {
            self.state = State::Open;
            self.is_xa = start.prepares.is_some();
            return Ok(start.prepares.map_or(Item::Begin, Item::BeginXa));
        }
        self.state = State::Named;
        Ok(Item::Nothing)
    }

    fn start_group(&mut self, commit_micros: i64) {
        self.commit_micros = commit_micros;
        self.without_effect = false;
        self.group += 1;
        self.tables.start_group();
    }

    fn end_group(&mut self) {
        self.tables.end_statement();
        self.state = State::Between;
        self.unpacking = false;
        self.position.commit(&self.gtid);
    }

    /// A group without a GTID event in front of it: its GTID is not the last group's.
    fn start_unnamed(&mut self, timestamp: u32) {
        if self.state == State::Between {
            self.gtid = Gtid::Anonymous;
            self.start_group(i64::from(timestamp) * 1_000_000);
            self.state = State::Named;
        }
    }

    fn query<'a>(&mut self, query: Query<'a>, header: EventHeader) -> Result<Item<'a>, BinlogError> {
        self.start_unnamed(header.timestamp);
        let may_use_temporary = header.may_use_temporary();
        let open = self.state == State::Open;
        if self.without_effect && !open {
            self.end_group();
            return Ok(Item::Nothing);
        }
        match control(&query.sql) {
            Control::Begin | Control::XaStart if open => {
                Err(BinlogError::OutOfPlace { name: "BEGIN", place: "inside a transaction" })
            }
            Control::Begin => {
                self.state = State::Open;
                self.is_xa = false;
                Ok(Item::Begin)
            }
            Control::XaStart => {
                let xid = self.xid(&query.sql);
                self.state = State::Open;
                self.is_xa = true;
                Ok(Item::BeginXa(xid))
            }
            Control::Commit => self.commit("COMMIT"),
            Control::Rollback if open => {
                self.end_group();
                Ok(Item::Rollback)
            }
            Control::Rollback => Err(BinlogError::OutOfPlace { name: "ROLLBACK", place: "outside a transaction" }),
            Control::XaEnd if open => Ok(Item::Nothing),
            end @ (Control::XaCommit | Control::XaRollback) if !open => {
                let xid = self.xid(&query.sql);
                self.end_group();
                Ok(Item::Outcome { xid, commits: end == Control::XaCommit })
            }
            Control::Savepoint
            | Control::RollbackToSavepoint
            | Control::XaEnd
            | Control::XaCommit
            | Control::XaRollback
            | Control::Statement => {
                if !open {
                    self.end_group();
                }
                let client_charset = query.client_charset();
                Ok(Item::Statement(Statement {
                    database: String::from_utf8_lossy(query.database),
                    sql_mode: query.sql_mode,
                    error_code: query.error_code,
                    connection: query.connection,
                    may_use_temporary,
                    in_transaction: open,
                    sql: Query::text(query.sql, client_charset, self.tables.collations()),
                }))
            }
        }
    }

    fn xid(&self, sql: &[u8]) -> Xid {
        let xid = xid(sql);
        if self.tables.is_mariadb() { xid.in_mariadb() } else { xid }
    }

    fn commit(&mut self, name: &'static str) -> Result<Item<'static>, BinlogError> {
        if self.state != State::Open {
            return Err(BinlogError::OutOfPlace { name, place: "outside a transaction" });
        }
        self.end_group();
        // A two-phase transaction that is committed at its end has one phase, however that is written.
        Ok(if self.is_xa { Item::Prepare { one_phase: true } } else { Item::Commit })
    }

    /// `XA_PREPARE`: one byte that says whether it commits in one phase, then the transaction's name, which is known since it opened.
    fn xa_prepare(&mut self, data: &[u8]) -> Result<Item<'static>, BinlogError> {
        let one_phase = Cursor::new(data).u8("one-phase flag")? != 0;
        if self.state != State::Open || !self.is_xa {
            return Err(BinlogError::OutOfPlace { name: "XA_PREPARE", place: "outside a two-phase transaction" });
        }
        self.end_group();
        Ok(Item::Prepare { one_phase })
    }

    fn payload(&mut self, data: &[u8]) -> Result<Item<'static>, BinlogError> {
        if self.state != State::Named {
            return Err(BinlogError::OutOfPlace { name: "TRANSACTION_PAYLOAD", place: "outside a named group" });
        }
        if compressed::payload(data)?.unpacked == 0 {
            return Err(BinlogError::PayloadCut);
        }
        self.unpacking = true;
        Ok(Item::Nothing)
    }

    /// A file that ends names the next one in its last event. The dump then names the next file again, and sends it.
    fn rotate(&mut self, data: &[u8], artificial: bool) -> Result<Item<'static>, BinlogError> {
        let mut cursor = Cursor::new(data);
        let pos = cursor.u64("position")?;
        let file = std::str::from_utf8(cursor.rest()).ok().filter(|file| !file.is_empty());
        let file = file.ok_or(BinlogError::FileName)?;
        let item = self.cut_off();
        if artificial {
            self.files.leave(self.position.file(), file);
        }
        self.position.rotate(file, pos);
        Ok(item)
    }

    /// A file ended inside a group: the server went down while it wrote it, and rolled it back when it came up again.
    fn cut_off(&mut self) -> Item<'static> {
        let was_open = self.state == State::Open;
        self.state = State::Between;
        if was_open { Item::CutOff } else { Item::Nothing }
    }

    fn format_description(&mut self, data: &[u8], created: u32, log_pos: u32) -> Result<Item<'static>, BinlogError> {
        self.files.describe(data, self.position.file())?;
        let item = self.cut_off();
        self.tables.forget_ids();
        self.position.describe(created, log_pos).map_err(|expected| BinlogError::FileReplaced {
            file: self.position.file().to_owned(),
            found: created,
            expected,
        })?;
        if !self.files.is_unsure() {
            self.position.settle();
        }
        Ok(item)
    }
}
