//! The payload of one log frame: a header, and for rows the bodies behind it.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | [`FORMAT`] |
//! | 4 | header length, little-endian |
//! | n | header: [`FrameHeader`] in bincode |
//! | rest | rows frames only: the section bodies in the order of [`RowsHeader::sections`] |
//!
//! A section body is row images back to back ([`crate::codec::row_image`]): one per row for inserts and deletes, before
//! and after for updates. Every image has at least one byte, so a frame has fewer rows than bytes: that is what
//! [row versions](crate::codec::version) need. A check frame has its images behind the header, as one body.
//!
//! # Audience
//! Rows of a source transaction and changes of a definition are for every sink. What a snapshot, a replace or a check
//! brings may be for some sinks only ([`Audience`]); the others count it as not theirs and write nothing.

use bincode::config::{Configuration, Limit};
use serde::{Deserialize, Serialize};

use crate::model::{Origin, SchemaId, TableName};

/// Version of this format; a reader refuses any other.
pub const FORMAT: u8 = 2;

const PREFIX: usize = 5;
const HEADER_LIMIT: usize = 16 << 20;

fn config() -> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<HEADER_LIMIT>> {
    bincode::config::standard().with_limit::<HEADER_LIMIT>()
}

/// What happened to the rows of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowOp {
    /// New rows.
    Insert,
    /// Pairs of before and after.
    Update,
    /// Rows gone.
    Delete,
    /// Rows read by a snapshot: present at the source, perhaps already at the sink.
    Snapshot,
    /// Rows gone of which the source has told the key alone: the image has NULL in every other column, also where that forbids it.
    DeleteByKey,
}

impl RowOp {
    /// Images each row takes in the body.
    pub const fn images_per_row(self) -> u32 {
        match self {
            Self::Update => 2,
            Self::Insert | Self::Delete | Self::DeleteByKey | Self::Snapshot => 1,
        }
    }
}

/// A run of rows of one table and one kind, in source order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Schema of its images.
    pub schema: SchemaId,
    /// What happened.
    pub op: RowOp,
    /// Row changes; an update counts once.
    pub rows: u32,
    /// Bytes of the body.
    pub bytes: u32,
}

/// Which sinks a frame is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Every sink.
    #[default]
    All,
    /// These sinks, by name.
    Sinks(Vec<String>),
}

impl Audience {
    /// Whether a frame with this audience is for the sink.
    pub fn includes(&self, sink: &str) -> bool {
        match self {
            Self::All => true,
            Self::Sinks(names) => names.iter().any(|name| name == sink),
        }
    }
}

/// Header of a rows frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsHeader {
    /// The source transaction; for snapshot rows, the stream position they were placed at.
    pub origin: Origin,
    /// Whom the rows are for. A frame that has rows of a source transaction is for all.
    pub audience: Audience,
    /// Sections in source order.
    pub sections: Vec<Section>,
}

/// A change of a table's definition or whole content. A barrier: rows before it are of the old state, rows after it of the new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableChange {
    /// The table exists from here with schema `to`; `from` is its schema until here, `None` for a table not seen before. Both
    /// are the same where a table without rows is announced again.
    Schema {
        /// The table.
        table: TableName,
        /// Schema until here.
        from: Option<SchemaId>,
        /// Schema from here on.
        to: SchemaId,
        /// Columns that kept their values under a new name: (old, new).
        renamed: Vec<(String, String)>,
        /// The keys of the rows that are there cannot be told under `to`, or may be of other rows: every row comes again, in place of what
        /// a sink has.
        lost: bool,
    },
    /// All rows gone.
    Truncate {
        /// The table.
        table: TableName,
    },
    /// The table is gone.
    Drop {
        /// The table.
        table: TableName,
    },
    /// The table has a new name.
    Rename {
        /// Old name.
        from: TableName,
        /// New name.
        to: TableName,
        /// Schema under the new name.
        schema: SchemaId,
    },
    /// A read that replaces the table's whole content begins: its rows follow, and the stream's.
    ReplaceBegin {
        /// The table.
        table: TableName,
        /// Schema of the rows.
        schema: SchemaId,
    },
    /// Every row of that read is before this: the new content is whole.
    ReplaceEnd {
        /// The table.
        table: TableName,
    },
    /// What happened to the table's rows between two places of the log is not known; a read of it follows.
    Gap {
        /// The table.
        table: TableName,
        /// Why, for an operator.
        reason: String,
    },
    /// From here on the table's rows are not in the log, until a read of it begins.
    LeftOut {
        /// The table.
        table: TableName,
        /// Why, for an operator.
        reason: String,
    },
}

impl TableChange {
    /// The table it is about; for a rename, the old name.
    pub fn table(&self) -> &TableName {
        match self {
            Self::Schema { table, .. }
            | Self::Truncate { table }
            | Self::Drop { table }
            | Self::ReplaceBegin { table, .. }
            | Self::ReplaceEnd { table }
            | Self::Gap { table, .. }
            | Self::LeftOut { table, .. } => table,
            Self::Rename { from, .. } => from,
        }
    }

    /// What it is in one word, for logs and `wal inspect`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Schema { from: None, .. } => "create",
            Self::Schema { from: Some(_), .. } => "alter",
            Self::Truncate { .. } => "truncate",
            Self::Drop { .. } => "drop",
            Self::Rename { .. } => "rename",
            Self::ReplaceBegin { .. } => "replace_begin",
            Self::ReplaceEnd { .. } => "replace_end",
            Self::Gap { .. } => "gap",
            Self::LeftOut { .. } => "left_out",
        }
    }
}

/// A mark that changes no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// A snapshot of the table starts.
    SnapshotBegun {
        /// The table.
        table: TableName,
        /// Every row of the table is read, and not only a part of it.
        whole: bool,
    },
    /// Every chunk of the table's snapshot is before this.
    SnapshotFinished {
        /// The table.
        table: TableName,
        /// Rows read.
        rows: u64,
    },
    /// The stream creates the table: from here on every row of it is in the log.
    Created {
        /// The table.
        table: TableName,
    },
}

/// Keys after one and up to another, in the order of the source's key. A bound is the image of a row that has the key's
/// columns only, in key order; `None` is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Keys after this one.
    pub after: Option<Vec<u8>>,
    /// Keys up to and including this one.
    pub upto: Option<Vec<u8>>,
}

/// Header of a frame whose images a sink compares with its own rows. It changes nothing at the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckHeader {
    /// The stream position it was placed at.
    pub origin: Origin,
    /// Which sinks compare.
    pub audience: Audience,
    /// The table.
    pub table: TableName,
    /// Schema of the images.
    pub schema: SchemaId,
    /// The keys that were read.
    pub range: KeyRange,
    /// Hashes of the keys that the stream changed meanwhile: their rows are neither in the body nor compared.
    pub left_out: Vec<u128>,
    /// Images in the body.
    pub rows: u32,
    /// Bytes of the body.
    pub bytes: u32,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameHeader {
    /// Row changes of one source transaction, or of a part of it, or of a snapshot chunk.
    Rows(RowsHeader),
    /// A table's definition or whole content changes.
    Change {
        /// Where.
        origin: Origin,
        /// Whom it is for.
        audience: Audience,
        /// What.
        change: TableChange,
    },
    /// A mark.
    Mark {
        /// Where.
        origin: Origin,
        /// Whom it is for.
        audience: Audience,
        /// What.
        mark: Mark,
    },
    /// Rows for a sink to compare.
    Check(CheckHeader),
}

impl FrameHeader {
    /// Where the frame comes from.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Rows(RowsHeader { origin, .. })
            | Self::Change { origin, .. }
            | Self::Mark { origin, .. }
            | Self::Check(CheckHeader { origin, .. }) => origin,
        }
    }

    /// Which sinks the frame is for.
    pub fn audience(&self) -> &Audience {
        match self {
            Self::Rows(RowsHeader { audience, .. })
            | Self::Change { audience, .. }
            | Self::Mark { audience, .. }
            | Self::Check(CheckHeader { audience, .. }) => audience,
        }
    }
}

/// A frame that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Cut short.
    #[error("frame of {len} bytes ends inside its {part}")]
    Short {
        /// Bytes there are.
        len: usize,
        /// What is cut.
        part: &'static str,
    },
    /// Written by another version.
    #[error("frame has format {found}, this version reads {FORMAT}")]
    Format {
        /// The byte found.
        found: u8,
    },
    /// The header is not what bincode wrote.
    #[error("frame header is damaged")]
    Header(#[source] bincode::error::DecodeError),
    /// Header too large to write.
    #[error("frame header cannot be written")]
    Encode(#[source] bincode::error::EncodeError),
    /// The sections do not fill the body.
    #[error("frame sections take {sections} bytes, its body has {body}")]
    Body {
        /// Sum of the sections.
        sections: u64,
        /// Bytes there are.
        body: usize,
    },
}

/// Writes prefix and header into `out`, which is cleared first; the caller appends the bodies.
///
/// # Errors
/// [`FrameError::Encode`] when the header is beyond the limit.
pub fn encode_header(header: &FrameHeader, out: &mut Vec<u8>) -> Result<(), FrameError> {
    out.clear();
    out.extend_from_slice(&[FORMAT, 0, 0, 0, 0]);
    let len = bincode::serde::encode_into_std_write(header, out, config()).map_err(FrameError::Encode)?;
    let len = u32::try_from(len).map_err(|_| FrameError::Short { len, part: "header length" })?;
    for (slot, byte) in out.iter_mut().skip(1).zip(len.to_le_bytes()) {
        *slot = byte;
    }
    Ok(())
}

/// A frame as read: the header owned, the bodies borrowed from the block.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub header: FrameHeader,
    body: &'a [u8],
    /// Schemas whose sections are passed over; nearly always none.
    left_out: Vec<SchemaId>,
    /// Schemas whose tables are filled from nothing at the sink.
    filled: Vec<SchemaId>,
}

impl<'a> Frame<'a> {
    /// Reads a frame's payload.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are not a frame of this version.
    pub fn decode(payload: &'a [u8]) -> Result<Self, FrameError> {
        let Some((prefix, rest)) = payload.split_first_chunk::<PREFIX>() else {
            return Err(FrameError::Short { len: payload.len(), part: "prefix" });
        };
        let [format, length @ ..] = *prefix;
        if format != FORMAT {
            return Err(FrameError::Format { found: format });
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let Some((header, body)) = rest.split_at_checked(length) else {
            return Err(FrameError::Short { len: payload.len(), part: "header" });
        };
        let (header, used): (FrameHeader, usize) =
            bincode::serde::decode_from_slice(header, config()).map_err(FrameError::Header)?;
        if used != length {
            return Err(FrameError::Short { len: payload.len(), part: "header" });
        }
        let sections = match &header {
            FrameHeader::Rows(rows) => rows.sections.iter().map(|section| u64::from(section.bytes)).sum(),
            FrameHeader::Check(check) => u64::from(check.bytes),
            FrameHeader::Change { .. } | FrameHeader::Mark { .. } => 0,
        };
        if u64::try_from(body.len()).ok() != Some(sections) {
            return Err(FrameError::Body { sections, body: body.len() });
        }
        Ok(Self { header, body, left_out: Vec::new(), filled: Vec::new() })
    }

    /// The sections with their bodies, in source order, each with the ordinal of its first row; empty for a frame without
    /// rows. Sections that were [left out](Frame::leave_out) do not come, but their rows keep their ordinals.
    pub fn sections(&self) -> Sections<'_, 'a> {
        Sections { described: self.described().iter(), left_out: &self.left_out, rest: self.body, ordinal: 0 }
    }

    /// Leaves out the sections of a schema from here on.
    pub fn leave_out(&mut self, schema: SchemaId) {
        self.left_out.push(schema);
    }

    /// The rows of a schema that a read brings are those of a copy that a read fills from nothing: what it has not brought is not there.
    pub fn fill(&mut self, schema: SchemaId) {
        self.filled.push(schema);
    }

    /// Whether the copy of the table is filled from nothing.
    pub fn is_filled(&self, schema: SchemaId) -> bool {
        self.filled.contains(&schema)
    }

    /// A check's header and its images, back to back.
    pub fn check(&self) -> Option<(&CheckHeader, &'a [u8])> {
        match &self.header {
            FrameHeader::Check(check) => Some((check, self.body)),
            FrameHeader::Rows(_) | FrameHeader::Change { .. } | FrameHeader::Mark { .. } => None,
        }
    }

    /// What the header says of the sections, of those that are left out too; empty for a frame without rows.
    pub fn described(&self) -> &[Section] {
        match &self.header {
            FrameHeader::Rows(rows) => &rows.sections,
            FrameHeader::Change { .. } | FrameHeader::Mark { .. } | FrameHeader::Check(_) => &[],
        }
    }
}

/// Iterator of [`Frame::sections`].
#[derive(Debug)]
pub struct Sections<'h, 'a> {
    described: std::slice::Iter<'h, Section>,
    left_out: &'h [SchemaId],
    rest: &'a [u8],
    ordinal: u32,
}

impl<'a> Iterator for Sections<'_, 'a> {
    type Item = (Section, &'a [u8], u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let section = *self.described.next()?;
            // `decode` has checked that the lengths add up to the body.
            let (body, rest) = self.rest.split_at_checked(usize::try_from(section.bytes).ok()?)?;
            self.rest = rest;
            let first = self.ordinal;
            // Every row has a byte at least, so there are fewer than a frame can have bytes; a damaged count must not wrap.
            self.ordinal = first.saturating_add(section.rows);
            if self.left_out.is_empty() || !self.left_out.contains(&section.schema) {
                return Some((section, body, first));
            }
        }
    }
}

#[cfg(test)]
mod tests;
