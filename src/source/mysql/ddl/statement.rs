//! What a statement is, as far as captured tables go.

use super::alter_op::AlterOps;
use super::columns::TypeName;
use super::definition::Definition;
use super::stated::StatedTable;
use crate::model::TableName;

/// A step of a distributed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XaStep {
    /// `XA START` or `XA BEGIN`.
    Start,
    /// `XA END`.
    End,
    /// `XA PREPARE`.
    Prepare,
    /// `XA COMMIT`.
    Commit {
        /// `ONE PHASE`: without a prepare before it.
        one_phase: bool,
    },
    /// `XA ROLLBACK`.
    Rollback,
}

/// `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a clause of the statement, and any of them may stand together"
)]
pub struct CreateTable {
    /// The table.
    pub table: TableName,
    /// Its columns in order, when the statement lists all of them.
    pub columns: Option<Vec<(String, TypeName)>>,
    /// What the definitions of these columns say.
    pub definitions: Vec<(String, Definition)>,
    /// What its text alone makes of the table; `None`: something else decides it.
    pub stated: Option<StatedTable>,
    /// The table it is made like.
    pub like: Option<TableName>,
    /// Whether a query adds columns and rows.
    pub as_select: bool,
    /// `IF NOT EXISTS`: when the table is there already, nothing happens.
    pub if_not_exists: bool,
    /// `OR REPLACE`: a table of that name is dropped first.
    pub or_replace: bool,
    /// `TEMPORARY`: not a table of the server's but of one session; its rows never reach the binlog as row events.
    pub temporary: bool,
    /// Its engine, where the statement names it.
    pub engine: Option<String>,
    /// MariaDB's `WITH SYSTEM VERSIONING`, of the table or of a column.
    pub system_versioned: bool,
    /// MariaDB's option `SEQUENCE=1`: it makes a sequence and no table.
    pub is_sequence: bool,
    /// `UNION`: the tables that a MERGE table consists of.
    pub union: Option<Vec<TableName>>,
    /// `START TRANSACTION` at the end: MySQL 8.0.21 and later write `CREATE TABLE ... SELECT` so, behind a `BEGIN` and with
    /// the rows in the same transaction (WL#13355). MariaDB writes a plain statement, in one group with the rows.
    pub starts_transaction: bool,
}

/// What a statement is. Names of tables and databases are those that the server knows them by; others are as the statement spells them,
/// without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `BEGIN` or `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK` of the whole transaction.
    Rollback,
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `RELEASE SAVEPOINT name`.
    ReleaseSavepoint(String),
    /// `ROLLBACK TO name`: takes back what stands between it and the savepoint. Servers write it only when that part holds
    /// changes that cannot be taken back (of a table without transactions); row events in between are of both kinds.
    RollbackToSavepoint(String),
    /// `XA ...` with the transaction's id as written.
    Xa {
        /// What happens to it.
        step: XaStep,
        /// Text of its id.
        xid: String,
    },
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// MariaDB's `CREATE SEQUENCE`, which makes no table.
    CreateSequence {
        /// The sequence.
        sequence: TableName,
        /// `OR REPLACE`: a table or a sequence of that name is dropped first.
        or_replace: bool,
        /// `TEMPORARY`: of one session.
        temporary: bool,
    },
    /// MariaDB's `ALTER SEQUENCE` and `DROP SEQUENCE`: a table of that name stays as it is.
    AboutSequences {
        /// The sequences, or tables, of these names.
        sequences: Vec<TableName>,
        /// `DROP TEMPORARY`: only sequences of the session.
        temporary: bool,
    },
    /// `ALTER TABLE`.
    AlterTable {
        /// The table, by its name before.
        table: TableName,
        /// What changes.
        ops: AlterOps,
    },
    /// `RENAME TABLE`: (old, new), to be followed from left to right, since a swap goes through a third name.
    RenameTable(Vec<(TableName, TableName)>),
    /// `DROP TABLE`, which drops MariaDB's sequences as well.
    DropTable {
        /// The tables.
        tables: Vec<TableName>,
        /// `TEMPORARY`: only tables of the session.
        temporary: bool,
    },
    /// `CREATE DATABASE`.
    CreateDatabase {
        /// Its name.
        name: String,
        /// MariaDB's `OR REPLACE`: a database of that name is dropped first, with its tables.
        or_replace: bool,
    },
    /// `DROP DATABASE`: with its tables, which are not named.
    DropDatabase(String),
    /// `TRUNCATE TABLE`; also what the server writes for a `MEMORY` table that it finds empty after a restart.
    Truncate(TableName),
    /// An index of the table comes or goes. Row images stay as they are, but the key that tells rows apart may be another.
    IndexChange {
        /// The table.
        table: TableName,
    },
    /// A statement that changes rows, or may: statement format, whose rows nobody sees.
    Dml {
        /// The tables it writes to; when it may write to several, every table it may name: more than the truth, never less.
        /// What triggers, cascades and views behind these tables touch is not told.
        tables: Vec<TableName>,
        /// Whether rows change only inside a stored routine (`CALL`, `DO`, a `SELECT` of a function), whose tables it does not name.
        opaque: bool,
    },
    /// Cannot change a row or the shape of a table: accounts, views, routines, settings, upkeep, and no statement at all.
    Irrelevant,
    /// Not a statement known here, or one that could not be read as far as its table.
    Unknown {
        /// How it starts.
        first_words: String,
        /// Every table it may name; more than the truth, never less.
        mentioned: Vec<TableName>,
    },
}
