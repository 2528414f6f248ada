//! Rows of a changelog: every change is one row. Its key is its version, which is its place in the log, so a row that is sent twice is
//! the same row.

use super::chunks::Chunks;
use super::encode::{Encoder, RowError, Scratch};
use super::layout::Layout;
use crate::codec::frame::RowOp;
use crate::codec::row_image::Plan;
use crate::config::ValuePolicy;
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::rows::{Images, Lettering, Lines, Moment, Taken, append, op_name};

/// How rows of one schema are appended.
#[derive(Debug)]
pub(super) struct History {
    table: TableName,
    encoder: Encoder,
}

impl History {
    /// For a changelog.
    pub(super) fn new(schema: &TableSchema, layout: &Layout, values: ValuePolicy) -> Result<Self, Failure> {
        Ok(Self { table: schema.name.clone(), encoder: Encoder::new(schema, &layout.sources(), &[], values)? })
    }

    /// Appends the changes of a section's body. After an error `out` ends with the last whole row: it may hold some of the section's rows.
    pub(super) fn apply(
        &self,
        op: RowOp,
        body: &[u8],
        at: Moment,
        out: &mut Chunks,
        dead: &mut Lettering<'_>,
    ) -> Result<Taken, RowError> {
        append(&mut Appending { history: self, name: op_name(op), at, out }, op, body, dead)
    }
}

impl History {
    /// How images are read.
    pub(super) fn reader(&self) -> &Plan {
        self.encoder.plan()
    }
}

/// A section on its way into chunks.
struct Appending<'a> {
    history: &'a History,
    name: &'static str,
    at: Moment,
    out: &'a mut Chunks,
}

impl Lines for Appending<'_> {
    type Error = RowError;

    fn plan(&self) -> &Plan {
        self.history.encoder.plan()
    }

    fn reason(&self, error: RowError) -> Result<String, RowError> {
        error.reason(&self.history.table)
    }

    fn line(&mut self, images: Images, bytes: &[u8], row: u32) -> Result<usize, RowError> {
        let Self { history: History { encoder, .. }, name, at, out } = self;
        let ordinal = at.ordinal(row)?;
        let (line, scratch) = out.buffer();
        head(name, *at, ordinal, line);
        match values(encoder, images, bytes, line, scratch) {
            Ok(used) => {
                out.row_done();
                Ok(used)
            }
            Err(error) => {
                out.undo_row();
                Err(error)
            }
        }
    }
}

/// Writes a line's values before the change, and those after it; says how many bytes the images have.
fn values(
    encoder: &Encoder,
    images: Images,
    bytes: &[u8],
    line: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> Result<usize, RowError> {
    match images {
        Images::After => {
            line.extend_from_slice(encoder.absent());
            encoder.encode(bytes, line, scratch)
        }
        Images::Both => {
            let before = encoder.encode(bytes, line, scratch)?;
            let after = bytes.get(before..).unwrap_or_default();
            Ok(before + encoder.encode(after, line, scratch)?)
        }
        Images::Before | Images::KeyBefore => {
            let used = if images == Images::KeyBefore {
                encoder.encode_known(bytes, line, scratch)?
            } else {
                encoder.encode(bytes, line, scratch)?
            };
            line.extend_from_slice(encoder.absent());
            Ok(used)
        }
    }
}

/// Writes what stands before a line's values, in the order of [`Layout::insert_columns`].
fn head(op: &str, at: Moment, ordinal: u32, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&at.version(ordinal).to_le_bytes());
    // The words are shorter than 128 bytes, so their length is one byte.
    bytes.push(u8::try_from(op.len()).unwrap_or_default());
    bytes.extend_from_slice(op.as_bytes());
    bytes.extend_from_slice(&at.commit_micros.to_le_bytes());
    bytes.extend_from_slice(&at.frame.lsn.raw().to_le_bytes());
    bytes.extend_from_slice(&ordinal.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::row_image::ImageError;
    use crate::codec::version::{Epoch, FramePlace};
    use crate::config::Mode;
    use crate::model::ColumnType;
    use crate::sink::clickhouse::SetType;
    use crate::sink::clickhouse::layout::ClickHouse;
    use crate::sink::clickhouse::row_binary::{
        TYPES, VALUES, column, images, int, key, nullable_text, options, rows_of, schema, text,
    };

    const AT: Moment = Moment {
        epoch: Epoch::LAST,
        frame: FramePlace { lsn: wal::Lsn::new(3), position: 900 },
        first_ordinal: 5,
        commit_micros: 1_795_251_600_000_001,
    };

    fn apply(schema: &TableSchema, op: RowOp, rows: &[&[&str]]) -> Result<Vec<String>, RowError> {
        let layout = Layout::new(&ClickHouse(TYPES), schema, &options(Mode::History), "t".into()).unwrap();
        let history = History::new(schema, &layout, VALUES).unwrap();
        let mut chunks = Chunks::new();
        let taken = history.apply(op, &images(schema, rows), AT, &mut chunks, &mut Lettering::none())?;
        assert_eq!(taken, Taken { rows: u32::try_from(rows.len()).unwrap() / op.images_per_row(), split: 0, dead: 0 });
        assert_eq!(chunks.rows(), u64::from(taken.rows));
        Ok(rows_of(&layout, chunks))
    }

    /// A line's text.
    fn line(ordinal: u32, op: &str, values: &str) -> String {
        let version = (127 << 56) + 900 + u64::from(ordinal);
        format!("{version};'{op}';1795251600000001;3;{ordinal};{values}")
    }

    #[test]
    fn each_kind_of_change_is_a_line_with_the_sides_it_has() {
        let t = schema(vec![int("id"), nullable_text("note")], None);
        assert_eq!(
            apply(&t, RowOp::Insert, &[&["1", "~"], &["2", "x"]]).unwrap(),
            [line(5, "insert", "NULL;NULL;1;NULL"), line(6, "insert", "NULL;NULL;2;'x'")]
        );
        assert_eq!(apply(&t, RowOp::Snapshot, &[&["1", ""]]).unwrap(), [line(5, "snapshot", "NULL;NULL;1;''")]);
        assert_eq!(apply(&t, RowOp::Delete, &[&["1", "x"]]).unwrap(), [line(5, "delete", "1;'x';NULL;NULL")]);
        assert_eq!(
            apply(&t, RowOp::Update, &[&["1", "x"], &["2", "~"], &["7", "~"], &["7", "y"]]).unwrap(),
            [line(5, "update", "1;'x';2;NULL"), line(6, "update", "7;NULL;7;'y'")]
        );
    }

    #[test]
    fn a_row_that_is_gone_by_its_key_is_a_delete_with_the_key_alone() {
        let set = column("labels", ColumnType::Set { members: vec!["a".into(), "b".into()] }, false);
        let t = schema(vec![text("name"), int("id"), set], key(&[1]));
        let types = crate::sink::clickhouse::ClickHouseTypes { sets: SetType::Array, ..TYPES };
        let layout = Layout::new(&ClickHouse(types), &t, &options(Mode::History), "t".into()).unwrap();
        let history = History::new(&t, &layout, VALUES).unwrap();
        let mut chunks = Chunks::new();
        let body = images(&t, &[&["~", "7", "~"]]);
        let taken = history.apply(RowOp::DeleteByKey, &body, AT, &mut chunks, &mut Lettering::none()).unwrap();
        assert_eq!(taken, Taken { rows: 1, split: 0, dead: 0 });
        assert_eq!(rows_of(&layout, chunks), [line(5, "delete", "NULL;7;[];NULL;NULL;[]")]);
        // Of a whole row an empty array would be a value that it does not have.
        let error = history.apply(RowOp::Delete, &body, AT, &mut Chunks::new(), &mut Lettering::none()).unwrap_err();
        assert!(error.to_string().contains("\"labels\" is NULL"), "{error}");
    }

    #[test]
    fn an_update_without_its_second_image_is_an_error_and_leaves_whole_lines() {
        let t = schema(vec![int("id"), text("name")], None);
        let layout = Layout::new(&ClickHouse(TYPES), &t, &options(Mode::History), "t".into()).unwrap();
        let history = History::new(&t, &layout, VALUES).unwrap();
        let mut chunks = Chunks::new();
        let body = images(&t, &[&["1", "a"], &["2", "b"], &["3", "c"]]);
        let error = history.apply(RowOp::Update, &body, AT, &mut chunks, &mut Lettering::none()).unwrap_err();
        assert!(matches!(error, RowError::Image(ImageError::TruncatedBitmap { .. })), "{error}");
        assert_eq!(rows_of(&layout, chunks), [line(5, "update", "1;'a';2;'b'")]);
    }
}
