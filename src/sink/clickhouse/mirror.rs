//! Rows of a mirror: each change is one row of its key with a later version, or two where the key changes.
//!
//! A version is a row's place in the log ([`crate::codec::version`]), so a row that is sent twice is one row, and a late one never wins
//! over a newer. A delete is a tombstone: the key, the version and the mark. With soft deletion it is the old row, marked; where the
//! source has told the key alone, it is the key with NULL or the type's default in every other column, because the server does not look
//! for the row that is there.
//!
//! Keys compare as bytes here. The source's collation may be coarser ('a' and 'A' one key), so an update from one spelling to
//! the other ends the old key and begins the new one. Both have one version: should the target hold the two spellings
//! for equal after all, the one inserted last counts, which is the new row.

use super::chunks::Chunks;
use super::encode::{Encoder, RowError};
use super::layout::Layout;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{ImageError, Plan};
use crate::config::ValuePolicy;
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::rows::{Keyed, Lettering, Moment, Taken, by_key};

/// How rows of one schema are mirrored.
#[derive(Debug)]
pub(super) struct Mirror {
    table: TableName,
    encoder: Encoder,
    /// The key's places in the schema.
    key_places: Vec<u16>,
    soft: bool,
}

impl Mirror {
    /// For a layout with a key.
    pub(super) fn new(schema: &TableSchema, layout: &Layout, values: ValuePolicy) -> Result<Self, Failure> {
        Ok(Self {
            table: schema.name.clone(),
            encoder: Encoder::new(schema, &layout.sources(), &layout.key, values)?,
            key_places: layout.key_columns().filter_map(|column| u16::try_from(column.source).ok()).collect(),
            soft: layout.soft.is_some(),
        })
    }

    /// Appends the rows of a section's body. After an error `out` ends with the last whole row: it may hold some of the section's rows.
    pub(super) fn apply(
        &self,
        op: RowOp,
        body: &[u8],
        at: Moment,
        out: &mut Chunks,
        dead: &mut Lettering<'_>,
    ) -> Result<Taken, RowError> {
        by_key(&mut Appending { mirror: self, at, out }, op, body, dead)
    }
}

impl Mirror {
    /// How whole images are read.
    pub(super) fn reader(&self) -> &Plan {
        self.encoder.plan()
    }

    /// Whether two images have one key.
    pub(super) fn is_same_key(&self, one: &[u8], other: &[u8]) -> Result<bool, ImageError> {
        self.reader().same_key(&self.key_places, one, other)
    }

    /// The hash of an image's key.
    pub(super) fn key_hash(&self, image: &[u8]) -> Result<u128, ImageError> {
        self.reader().key_hash(&self.key_places, image)
    }
}

/// A section on its way into chunks.
struct Appending<'a> {
    mirror: &'a Mirror,
    at: Moment,
    out: &'a mut Chunks,
}

impl Keyed for Appending<'_> {
    type Error = RowError;

    fn plan(&self) -> &Plan {
        self.mirror.encoder.plan()
    }

    fn reason(&self, error: RowError) -> Result<String, RowError> {
        error.reason(&self.mirror.table)
    }

    fn key_places(&self) -> &[u16] {
        &self.mirror.key_places
    }

    fn put(&mut self, image: &[u8], row: u32) -> Result<usize, RowError> {
        self.whole(image, row, false)
    }

    fn delete(&mut self, image: &[u8], row: u32) -> Result<usize, RowError> {
        if self.mirror.soft { self.whole(image, row, true) } else { self.delete_by_key(image, row) }
    }

    fn delete_by_key(&mut self, image: &[u8], row: u32) -> Result<usize, RowError> {
        let (bytes, scratch) = self.out.buffer();
        let used = self.mirror.encoder.encode_key(image, bytes, scratch);
        self.end_row(used, row, true)
    }
}

impl Appending<'_> {
    /// Appends the first image of `image` as it is; `deleted` marks it with soft deletion, else it is not deleted.
    fn whole(&mut self, image: &[u8], row: u32, deleted: bool) -> Result<usize, RowError> {
        let (bytes, scratch) = self.out.buffer();
        let used = self.mirror.encoder.encode(image, bytes, scratch);
        self.end_row(used, row, deleted)
    }

    /// Ends the row that was begun with its version and its mark, in their order, or takes it back.
    fn end_row(&mut self, encoded: Result<usize, RowError>, row: u32, deleted: bool) -> Result<usize, RowError> {
        let ended = encoded.and_then(|used| Ok((used, self.at.version(self.at.ordinal(row)?))));
        match ended {
            Ok((used, version)) => {
                let (bytes, _) = self.out.buffer();
                if self.mirror.soft {
                    bytes.push(u8::from(deleted));
                    bytes.extend_from_slice(&version.to_le_bytes());
                } else {
                    bytes.extend_from_slice(&version.to_le_bytes());
                    bytes.push(u8::from(deleted));
                }
                self.out.row_done();
                Ok(used)
            }
            Err(error) => {
                self.out.undo_row();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::row_image::ImageWriter;
    use crate::codec::version::{Epoch, FramePlace};
    use crate::config::{Mode, TableOptions};
    use crate::model::{ColumnType, Key};
    use crate::sink::clickhouse::layout::ClickHouse;
    use crate::sink::clickhouse::row_binary::{
        TYPES, VALUES, column, images, int, key, nullable_text, options, rows_of, schema, soft, text,
    };

    /// Rows from ordinal 5 on.
    const AT: Moment = Moment {
        epoch: Epoch::FIRST,
        frame: FramePlace { lsn: wal::Lsn::new(3), position: 900 },
        first_ordinal: 5,
        commit_micros: 0,
    };

    fn apply(
        schema: &TableSchema,
        options: &TableOptions,
        op: RowOp,
        rows: &[&[&str]],
    ) -> Result<Vec<String>, RowError> {
        let layout = Layout::new(&ClickHouse(TYPES), schema, options, "t".into()).unwrap();
        let mirror = Mirror::new(schema, &layout, VALUES).unwrap();
        let mut chunks = Chunks::new();
        let taken = mirror.apply(op, &images(schema, rows), AT, &mut chunks, &mut Lettering::none())?;
        assert_eq!(taken.rows, u32::try_from(rows.len()).unwrap() / op.images_per_row());
        assert_eq!(u64::from(taken.rows + taken.split), chunks.rows());
        Ok(rows_of(&layout, chunks))
    }

    fn table(columns_key: Option<Key>) -> TableSchema {
        schema(vec![int("id"), nullable_text("note"), text("name")], columns_key)
    }

    /// The version of row `ordinal` of the frame.
    fn v(ordinal: u64) -> u64 {
        (1 << 56) + 900 + ordinal
    }

    #[test]
    fn inserts_and_snapshot_rows_are_rows_with_their_place_as_version() {
        let t = table(key(&[0]));
        for op in [RowOp::Insert, RowOp::Snapshot] {
            let rows = apply(&t, &options(Mode::Mirror), op, &[&["1", "~", "a"], &["-2", "", "b"]]).unwrap();
            assert_eq!(rows, [format!("1;NULL;'a';{};0", v(5)), format!("-2;'';'b';{};0", v(6))]);
        }
    }

    #[test]
    fn a_delete_is_a_tombstone_of_the_key_and_the_rest_is_empty() {
        let rows = apply(&table(key(&[2, 0])), &options(Mode::Mirror), RowOp::Delete, &[&["1", "x", "a"]]).unwrap();
        assert_eq!(rows, [format!("1;NULL;'a';{};1", v(5))]);
        let rows = apply(&table(key(&[0])), &options(Mode::Mirror), RowOp::Delete, &[&["1", "x", "a"]]).unwrap();
        assert_eq!(rows, [format!("1;NULL;'';{};1", v(5))]);
    }

    #[test]
    fn an_update_is_one_row_unless_the_bytes_of_its_key_change() {
        let t = table(key(&[2]));
        let same = apply(&t, &options(Mode::Mirror), RowOp::Update, &[&["1", "~", "a"], &["2", "n", "a"]]).unwrap();
        assert_eq!(same, [format!("2;'n';'a';{};0", v(5))]);
        let moved = [&["1", "~", "a"][..], &["2", "n", "A"], &["3", "~", "b"], &["4", "~", "b"]];
        let rows = apply(&t, &options(Mode::Mirror), RowOp::Update, &moved).unwrap();
        assert_eq!(
            rows,
            [format!("0;NULL;'a';{};1", v(5)), format!("2;'n';'A';{};0", v(5)), format!("4;NULL;'b';{};0", v(6)),]
        );
    }

    #[test]
    fn soft_deletion_keeps_the_old_row_and_marks_it() {
        let t = table(key(&[2]));
        let gone = apply(&t, &soft(), RowOp::Delete, &[&["1", "x", "a"]]).unwrap();
        assert_eq!(gone, [format!("1;'x';'a';1;{}", v(5))]);
        let moved = apply(&t, &soft(), RowOp::Update, &[&["1", "x", "a"], &["2", "~", "b"]]).unwrap();
        assert_eq!(moved, [format!("1;'x';'a';1;{}", v(5)), format!("2;NULL;'b';0;{}", v(5))]);
        let come = apply(&t, &soft(), RowOp::Insert, &[&["1", "x", "a"]]).unwrap();
        assert_eq!(come, [format!("1;'x';'a';0;{}", v(5))]);
    }

    #[test]
    fn a_row_that_is_gone_by_its_key_is_a_tombstone_or_the_marked_key_and_the_rest_is_empty() {
        let t = table(key(&[2, 0]));
        let gone =
            apply(&t, &options(Mode::Mirror), RowOp::DeleteByKey, &[&["1", "~", "a"], &["2", "~", "b"]]).unwrap();
        assert_eq!(gone, [format!("1;NULL;'a';{};1", v(5)), format!("2;NULL;'b';{};1", v(6))]);
        // NULL stands in a column of the source that forbids it.
        let marked = apply(&table(key(&[0])), &soft(), RowOp::DeleteByKey, &[&["1", "~", "~"]]).unwrap();
        assert_eq!(marked, [format!("1;NULL;'';1;{}", v(5))]);
    }

    #[test]
    fn an_error_names_the_column_and_leaves_the_rows_before_it_whole() {
        let t = schema(vec![int("id"), column("day", ColumnType::Date, false)], key(&[0]));
        let layout = Layout::new(&ClickHouse(TYPES), &t, &options(Mode::Mirror), "t".into()).unwrap();
        let mirror = Mirror::new(&t, &layout, VALUES).unwrap();
        let body = images(&t, &[&["1", "2024-02-29"], &["2", "0000-00-00"], &["3", "2024-02-29"]]);
        let mut chunks = Chunks::new();
        let error = mirror.apply(RowOp::Insert, &body, AT, &mut chunks, &mut Lettering::none()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "column \"day\" holds a date that names no day, and NULL does not stand in its column"
        );
        let failure = error.failure(&t.name);
        assert!(failure.chain().contains("zero_dates: epoch"), "{}", failure.chain());
        assert_eq!(rows_of(&layout, chunks), [format!("1;19782;{};0", v(5))]);
    }

    #[test]
    fn a_body_that_ends_inside_a_row_or_has_too_many_rows_is_an_error() {
        let t = schema(vec![int("id")], key(&[0]));
        let layout = Layout::new(&ClickHouse(TYPES), &t, &options(Mode::Mirror), "t".into()).unwrap();
        let mirror = Mirror::new(&t, &layout, VALUES).unwrap();
        let one = images(&t, &[&["1"]]);
        let half = mirror.apply(RowOp::Update, &one, AT, &mut Chunks::new(), &mut Lettering::none()).unwrap_err();
        assert!(matches!(half, RowError::Image(ImageError::TruncatedBitmap { .. })), "{half}");
        let last = Moment { first_ordinal: u32::MAX, ..AT };
        let two = images(&t, &[&["1"], &["2"]]);
        let many = mirror.apply(RowOp::Insert, &two, last, &mut Chunks::new(), &mut Lettering::none()).unwrap_err();
        assert!(matches!(many, RowError::Image(ImageError::TooManyRows)), "{many}");
    }

    #[test]
    fn a_row_costs_no_allocation() {
        let t = table(key(&[0]));
        let layout = Layout::new(&ClickHouse(TYPES), &t, &options(Mode::Mirror), "t".into()).unwrap();
        let mirror = Mirror::new(&t, &layout, VALUES).unwrap();
        let writer = ImageWriter::new(&t).unwrap();
        let mut body = Vec::new();
        for id in 0..1000 {
            for _ in 0..2 {
                let mut row = writer.row(&mut body);
                row.int(id).unwrap();
                row.bytes(b"a note").unwrap();
                row.bytes(b"a name").unwrap();
                row.finish().unwrap();
            }
        }
        let mut chunks = Chunks::new();
        chunks.buffer();
        let counted = allocation_counter::measure(|| {
            assert_eq!(mirror.apply(RowOp::Update, &body, AT, &mut chunks, &mut Lettering::none()).unwrap().rows, 1000);
            assert_eq!(mirror.apply(RowOp::Delete, &body, AT, &mut chunks, &mut Lettering::none()).unwrap().rows, 2000);
        });
        assert_eq!(counted.count_total, 0);
    }
}
