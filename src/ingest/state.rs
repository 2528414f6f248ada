//! What the ingest loop keeps beside the frames in the log's state, and its keys.
//!
//! The table of them is [`crate::codec::stored`].

use serde::{Deserialize, Serialize};

use crate::codec::state::State;
use crate::codec::stored::{
    self, ASKED, COUNT, DEFINITION, Entry, Record, SOURCE_POSITION, StoredPosition, TYPES, WAITS,
};
use crate::error::Failure;
use crate::model::{SchemaId, SourcePosition, TableName};
use crate::source::mysql::follow::{Provenance, Since, Typed};
use crate::telemetry::SourceRows;

impl Record for Counts {
    const ENTRY: &'static Entry = &COUNT;
}

impl Record for AskedBeside {
    const ENTRY: &'static Entry = &ASKED;
}

impl Record for DefinitionRecord {
    const ENTRY: &'static Entry = &DEFINITION;
}

impl Record for Typed {
    const ENTRY: &'static Entry = &TYPES;
}

/// Row changes of one table, counted once per source transaction that is in the log.
///
/// `read = appended + filtered + left_out`. `read` is counted by walking the source's events and answers, `appended` from the
/// headers of the frames that went into the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that came from the source.
    pub read: u64,
    /// Rows that are in the log.
    pub appended: u64,
    /// Snapshot rows that the stream had already replaced when their chunk was placed.
    pub filtered: u64,
    /// Rows left out because their schema could not be known in time, or their transaction was dropped: the table is read again.
    pub left_out: u64,
}

impl Counts {
    /// As `status` shows them.
    pub fn shown(self) -> SourceRows {
        SourceRows { read: self.read, appended: self.appended, filtered: self.filtered, left_out: self.left_out }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.read += other.read;
        self.appended += other.appended;
        self.filtered += other.filtered;
        self.left_out += other.left_out;
    }
}

/// A doubt about a table that was stored beside the groups, while the log was full and its own group could not become durable. A start
/// takes it into the table's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AskedBeside {
    /// Why the table is to be read again, in place of what the sinks have.
    pub(super) why: String,
}

/// Row changes of a table may wait in the spool for its copy: a process that ends then has lost them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waits;

impl Record for Waits {
    const ENTRY: &'static Entry = &WAITS;
}

/// What is known of a table's definition at the end of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DefinitionRecord {
    /// Its schema; `None` for a table that exists but whose schema is not known yet.
    pub(super) schema: Option<SchemaId>,
    /// What statements since have done to it.
    pub(super) since: Since,
    /// Rows of it were cut off by a rollback; whether its engine took them back has to be asked.
    pub(super) cut_back: bool,
    /// Which other names have to do with its rows.
    pub(super) kin: Kin,
}

/// Which other names have to do with a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kin {
    /// Names that it had before, on a server whose binlog does not tell a temporary table that is renamed from a table that is: until the
    /// server has shown the table under its name.
    pub(super) renamed_from: Vec<TableName>,
    /// The tables that it consists of, as a MERGE table; `None`: it is none, or they are not known.
    pub(super) members: Option<Vec<TableName>>,
    /// Tables through which its rows may have been written, if they are MERGE tables: that has to be asked.
    pub(super) through: Vec<TableName>,
}

/// Doubts that were stored beside the groups: the table, and why.
///
/// # Errors
/// When the log cannot be read or an entry is damaged.
pub fn asked_beside(state: &impl State) -> Result<Vec<(TableName, String)>, Failure> {
    let asked = stored::of_tables::<AskedBeside>(state)?;
    Ok(asked.into_iter().map(|(table, AskedBeside { why })| (table, why)).collect())
}

/// The state change that forgets a doubt of [`asked_beside`], which is in the table's record now.
pub fn forget_beside(table: &TableName) -> (Vec<u8>, Option<Vec<u8>>) {
    (ASKED.of_table(table), None)
}

pub(super) fn definitions(state: &impl State) -> Result<Vec<(TableName, DefinitionRecord)>, Failure> {
    stored::of_tables(state)
}

pub(super) fn typed(state: &impl State) -> Result<Vec<(TableName, Typed)>, Failure> {
    stored::of_tables(state)
}

/// Where the source is to go on; `None` in a log that has never had a position.
///
/// # Errors
/// When the log cannot be read or the position is damaged.
pub fn stored_position(state: &impl State) -> Result<Option<SourcePosition>, Failure> {
    let position = stored::get(state, SOURCE_POSITION.key())?;
    Ok(position.map(|StoredPosition::MySql(position)| position))
}

/// Row counters of every table the log knows.
///
/// # Errors
/// When the log cannot be read or a counter is damaged.
pub fn counts(state: &impl State) -> Result<Vec<(TableName, Counts)>, Failure> {
    stored::of_tables(state)
}

/// As [`counts`], with the end of the log up to which they count.
///
/// # Errors
/// As [`counts`].
pub fn counts_and_end(reader: &wal::Reader) -> Result<(Vec<(TableName, Counts)>, wal::Lsn), Failure> {
    stored::of_tables_and_end(reader)
}

/// The schema of a table at the end of the log, and the word for how it is known; `None`: none is known.
///
/// # Errors
/// When the log cannot be read or the record is damaged.
pub fn known_schema(state: &impl State, table: &TableName) -> Result<Option<(SchemaId, &'static str)>, Failure> {
    let record: Option<DefinitionRecord> = stored::get(state, &DEFINITION.of_table(table))?;
    Ok(record.and_then(|record| {
        let by = match record.since.provenance {
            Provenance::TableMap => "table_map",
            Provenance::Description => "description",
            Provenance::Statement => "statement",
        };
        record.schema.map(|schema| (schema, by))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;
    use crate::model::Attributes;
    use crate::source::mysql::ddl::{AddedDefault, AlterOp, Definition, Literal, TypeName};
    use crate::source::mysql::follow::ColumnSteps;

    fn added(name: &str, default: AddedDefault) -> AlterOp {
        AlterOp::AddColumn {
            name: name.into(),
            position_given: false,
            default,
            ty: TypeName::Other,
            if_not_exists: false,
            definition: Box::new(Definition { attributes: Attributes::default(), text: "INT".into() }),
            stated: None,
        }
    }

    #[test]
    fn a_row_counter_is_stored_as_committed() {
        let counts = Counts { read: 100, appended: 90, filtered: 7, left_out: 3 };
        fixture::check(&[("new", Counts::default()), ("counted", counts)]);
    }

    #[test]
    fn rows_that_wait_are_stored_as_committed() {
        fixture::check(&[("waits", Waits)]);
    }

    #[test]
    fn a_read_that_was_asked_for_beside_the_groups_is_stored_as_committed() {
        fixture::check(&[("asked", AskedBeside { why: "no answer within 2s".into() })]);
    }

    #[test]
    fn a_definition_is_stored_as_committed() {
        let renamed =
            [AlterOp::DropColumn { name: "old".into() }, AlterOp::RenameColumn { from: "a".into(), to: "b".into() }];
        let literal = |literal| AddedDefault::Literal(literal);
        let columns = [
            added("absent", AddedDefault::Absent),
            added("null", AddedDefault::Null),
            added("number", literal(Literal::Number("-1.5".into()))),
            added("text", literal(Literal::Text("it's".into()))),
            added("hex", literal(Literal::Hex(vec![0, 255]))),
            added("bits", literal(Literal::Bits("0101".into()))),
            added("other", AddedDefault::Other),
        ];
        let steps = vec![ColumnSteps::of(&renamed), ColumnSteps::of(&columns)];
        let schema = Some(SchemaId(1));
        let of = |since| DefinitionRecord { since, ..DefinitionRecord::default() };
        let every = Since {
            provenance: Provenance::Statement,
            steps: Vec::new(),
            unreadable: true,
            left_out: true,
            key_unknown: true,
            unsettled: true,
        };
        let kin = Kin {
            renamed_from: vec![TableName::new("d", "b"), TableName::new("d", "c")],
            members: Some(vec![TableName::new("e", "a")]),
            through: vec![TableName::new("d", "m")],
        };
        fixture::check(&[
            ("not_known", DefinitionRecord::default()),
            ("known", DefinitionRecord { schema, ..DefinitionRecord::default() }),
            ("described", of(Since { provenance: Provenance::Description, ..Since::default() })),
            ("changed", DefinitionRecord { schema: Some(SchemaId(300)), ..of(Since { steps, ..Since::default() }) }),
            (
                "every_mark",
                DefinitionRecord {
                    schema,
                    since: every,
                    cut_back: true,
                    kin: Kin { members: Some(Vec::new()), ..kin.clone() },
                },
            ),
            ("kin", DefinitionRecord { kin, ..DefinitionRecord::default() }),
            ("unreadable", of(Since { unreadable: true, ..Since::default() })),
            ("left_out", of(Since { left_out: true, ..Since::default() })),
            ("cut_back", DefinitionRecord { cut_back: true, ..DefinitionRecord::default() }),
            ("key_unknown", of(Since { key_unknown: true, ..Since::default() })),
            ("unsettled", of(Since { unsettled: true, ..Since::default() })),
        ]);
    }
}
