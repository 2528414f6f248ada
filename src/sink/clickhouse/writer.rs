//! How the rows of one schema are written: through which encoder, by which INSERT.

use std::sync::Arc;

use bytes::Bytes;

use super::history::History;
use super::layout::Layout;
use super::length::{put_length, put_string};
use super::mirror::Mirror;
use super::names::quoted;
use super::target::Target;
use crate::codec::version::Epoch;
use crate::config::{Mode, OnRowError};
use crate::error::Failure;
use crate::model::TableSchema;
use crate::sink::rows::{Lettering, Section, Writes};

/// How the rows of one schema are written.
pub(super) struct Rows {
    pub(super) form: Form,
    pub(super) insert: Arc<Opening>,
}

pub(super) enum Form {
    Mirror(Mirror),
    History(History),
}

/// What an INSERT begins with.
#[derive(Debug)]
pub(super) struct Opening {
    /// The statement.
    pub(super) sql: String,
    /// The names and types that its body begins with.
    pub(super) header: Bytes,
}

/// The INSERT of a table, and what its body begins with: the number of columns, their names, their types.
pub(super) fn insert(database: &str, layout: &Layout) -> Opening {
    let columns = layout.insert_columns();
    let names: Vec<_> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!(
        "INSERT INTO {}.{} ({}) FORMAT RowBinaryWithNamesAndTypes",
        quoted(database),
        quoted(&layout.target),
        names.join(", ")
    );
    let mut header = Vec::new();
    put_length(columns.len(), &mut header);
    for text in columns.iter().map(|(name, _)| name).chain(columns.iter().map(|(_, ty)| ty)) {
        put_string(text.as_bytes(), &mut header);
    }
    Opening { sql, header: header.into() }
}

impl Writes for Target {
    fn epoch(&self) -> Epoch {
        self.owner.epoch
    }

    fn rows_of(&self, schema: &TableSchema, layout: &Layout) -> Result<Rows, Failure> {
        let values = self.plan.options_for(&schema.name).values;
        let form = match layout.mode {
            Mode::Mirror => Form::Mirror(Mirror::new(schema, layout, values)?),
            Mode::History => Form::History(History::new(schema, layout, values)?),
        };
        Ok(Rows { form, insert: Arc::new(insert(&self.clickhouse.database, layout)) })
    }

    /// What becomes of them is counted when the server has answered.
    fn write_section(&mut self, rows: &mut Rows, section: Section<'_>) -> Result<u64, Failure> {
        let Section { table, op, body, moment, .. } = section;
        let batch = self.rows.of(table, &rows.insert);
        let takes = self.plan.on_row_error == OnRowError::DeadLetter;
        let mut dead = Lettering::of(self.followed.letters.open(), section, takes);
        let taken = match &rows.form {
            Form::Mirror(rows) => rows.apply(op, body, moment, &mut batch.chunks, &mut dead),
            Form::History(rows) => rows.apply(op, body, moment, &mut batch.chunks, &mut dead),
        };
        if taken.is_err() {
            dead.take_back();
        }
        drop(dead);
        let taken = taken.map_err(|error| error.failure(table))?;
        batch.took(taken);
        if takes {
            batch.keep(section);
        }
        if !self.creations.holds_back(table) {
            self.rows.send_full(&self.client, table);
        }
        Ok(taken.rows.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::clickhouse::layout::TargetColumn;

    #[test]
    fn an_insert_names_its_columns_and_its_body_begins_with_them_and_their_types() {
        let column = TargetColumn { source: 0, name: "i`d".into(), ty: "Int32".into() };
        let layout = Layout { target: "t".into(), mode: Mode::Mirror, columns: vec![column], key: vec![0], soft: None };
        let Opening { sql, header } = insert("d", &layout);
        assert_eq!(sql, "INSERT INTO `d`.`t` (`i\\`d`, `_version`, `_is_deleted`) FORMAT RowBinaryWithNamesAndTypes");
        assert_eq!(&header[..], b"\x03\x03i`d\x08_version\x0b_is_deleted\x05Int32\x06UInt64\x05UInt8");
    }
}
