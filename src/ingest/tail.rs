//! What the stream says of a table while its copy is read, in a file: groups of rows, in the order of the stream.
//!
//! | bytes | of a group |
//! |---|---|
//! | 32 | the boundaries before and after it: number of the binlog file and offset of each |
//! | 8 | bytes of its rows |
//! | .. | its rows, by event: 4 bytes of length, and a frame ([`crate::codec::frame`]) |
//!
//! What is before the rows is written when the group ends. A group that does not end is cut off again.

use std::sync::Arc;

use super::core::DivertedRows;
use crate::codec::frame::{Audience, Frame, FrameHeader, RowsHeader, Section, encode_header};
use crate::error::Failure;
use crate::model::{FilePos, TableName};
use crate::source::mysql::snapshot::spool::{Cursor, Spool, SpoolFile};

const PLACES: usize = 32;
const GROUP_HEADER: usize = PLACES + 8;

/// A place in the binlog: number of the file, and offset.
pub(super) type Place = (u64, u64);

/// The rows of a table that wait.
#[derive(Debug)]
pub(super) struct Tail {
    table: TableName,
    file: SpoolFile,
    /// Where the groups that have ended end.
    ended: u64,
    /// Where the events of the open group begin.
    open: Vec<u64>,
    cursor: Cursor,
    header: Vec<u8>,
}

/// A group that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The boundary before it.
    pub(super) from: Place,
    /// The boundary after it.
    pub(super) end: Place,
    /// Bytes of its rows.
    pub(super) bytes: u64,
}

/// The place in the order of the binlog.
pub(super) fn place_of(at: &FilePos) -> Result<Place, Failure> {
    let file = at
        .file_number()
        .ok_or_else(|| Failure::fatal(format!("cannot order binlog file '{}': its name has no number", at.file)))?;
    Ok((file, at.pos))
}

impl Tail {
    pub(super) fn new(spool: &Arc<Spool>, table: &TableName) -> Result<Self, Failure> {
        let file = spool.file(table)?;
        Ok(Self {
            table: table.clone(),
            file,
            ended: 0,
            open: Vec::new(),
            cursor: Cursor::default(),
            header: Vec::new(),
        })
    }

    /// Whether nothing waits, nor may come with the open group.
    pub(super) fn is_drained(&self) -> bool {
        self.cursor.at() == self.ended && self.open.is_empty()
    }

    /// Bytes of groups that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.ended - self.cursor.at()
    }

    /// Whether so many bytes more may wait; the error says why not.
    pub(super) fn require_room(&self, bytes: usize) -> Result<(), Failure> {
        self.file.require_room(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Whether it is too long even without a copy beside it.
    pub(super) fn is_beyond_limit(&self) -> bool {
        self.file.is_beyond_limit()
    }

    /// Rows of the open group.
    pub(super) async fn push(&mut self, rows: &DivertedRows) -> Result<(), Failure> {
        let DivertedRows { schema, op, rows, images, origin } = rows;
        let bytes = u32::try_from(images.len()).map_err(|_| self.too_large())?;
        let section = Section { schema: *schema, op: *op, rows: *rows, bytes };
        let header = RowsHeader { origin: origin.clone(), audience: Audience::All, sections: vec![section] };
        encode_header(&FrameHeader::Rows(header), &mut self.header)
            .map_err(|error| Failure::fatal("cannot write a frame's header").caused_by(error))?;
        if self.open.is_empty() {
            self.file.append(&[&[0; GROUP_HEADER]]).await?;
        }
        self.open.push(self.file.len());
        let len = u32::try_from(self.header.len() + images.len()).map_err(|_| self.too_large())?;
        self.file.append(&[&len.to_le_bytes(), &self.header, images]).await
    }

    /// Of the open group, the rows of so many events stay.
    pub(super) async fn cut_back(&mut self, events: u64) -> Result<(), Failure> {
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        match self.open.get(events).copied() {
            Some(_) if events == 0 => self.cut_off().await,
            Some(place) => {
                self.open.truncate(events);
                self.file.truncate(place).await
            }
            None => Ok(()),
        }
    }

    /// The open group is gone.
    pub(super) async fn cut_off(&mut self) -> Result<(), Failure> {
        self.open.clear();
        self.file.truncate(self.ended).await
    }

    /// The open group has ended, between two boundaries.
    pub(super) async fn commit(&mut self, from: Place, end: Place) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut header = Vec::with_capacity(GROUP_HEADER);
        let rows = self.file.len() - self.ended - as_u64(GROUP_HEADER);
        for number in [from.0, from.1, end.0, end.1, rows] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        self.file.patch(self.ended, &header).await?;
        self.ended = self.file.len();
        self.open.clear();
        // One huge group must not keep its memory.
        self.open.shrink_to(1024);
        Ok(())
    }

    /// The next group that waits; its rows come next.
    pub(super) async fn next_group(&mut self) -> Result<Option<Group>, Failure> {
        if self.cursor.at() == self.ended {
            return Ok(None);
        }
        let header = self.cursor.take(&mut self.file, GROUP_HEADER, self.ended).await?;
        let mut numbers =
            header.chunks_exact(8).map(|chunk| chunk.first_chunk().copied().map_or(0, u64::from_le_bytes));
        let mut number = || numbers.next().unwrap_or_default();
        let (from, end) = ((number(), number()), (number(), number()));
        Ok(Some(Group { from, end, bytes: number() }))
    }

    /// The next rows of a group of which so many bytes are left, and how many are left after them.
    pub(super) async fn next_rows(&mut self, left: u64) -> Result<(DivertedRows, u64), Failure> {
        let damaged = || Failure::fatal("the spool of a table holds what was not written to it");
        let len = self.cursor.take(&mut self.file, 4, self.ended).await?;
        let len = len.first_chunk::<4>().copied().map_or(0, u32::from_le_bytes);
        let left = left.checked_sub(4 + u64::from(len)).ok_or_else(damaged)?;
        let payload = self.cursor.take(&mut self.file, usize::try_from(len).unwrap_or(usize::MAX), self.ended).await?;
        let frame = Frame::decode(payload).map_err(|error| damaged().caused_by(error))?;
        let (section, images, _) = frame.sections().next().ok_or_else(damaged)?;
        let Section { schema, op, rows, .. } = section;
        let rows = DivertedRows { schema, op, rows, images: images.to_vec(), origin: frame.header.origin().clone() };
        Ok((rows, left))
    }

    fn too_large(&self) -> Failure {
        Failure::fatal(format!("one rows event of table \"{}\" is larger than a frame can hold", self.table))
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::frame::RowOp;
    use crate::model::{BinlogPlace, Gtid, Origin, SchemaId, SourcePlace};

    fn rows(number: u8) -> DivertedRows {
        let place = BinlogPlace { file_number: 3, pos: number.into(), gtid: Gtid::Anonymous };
        DivertedRows {
            schema: SchemaId(7),
            op: RowOp::Update,
            rows: 1,
            images: vec![number; 400_000],
            origin: Origin { commit_micros: 5, place: SourcePlace::MySql(place) },
        }
    }

    #[tokio::test]
    async fn groups_come_back_in_order_without_what_was_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), 1 << 30).unwrap();
        let mut tail = Tail::new(&spool, &TableName::new("d", "t")).unwrap();
        for number in [1, 2, 3, 4] {
            tail.push(&rows(number)).await.unwrap();
        }
        tail.cut_back(2).await.unwrap();
        tail.push(&rows(5)).await.unwrap();
        tail.commit((1, 4), (1, 9)).await.unwrap();
        tail.push(&rows(6)).await.unwrap();
        tail.cut_off().await.unwrap();
        tail.push(&rows(7)).await.unwrap();
        tail.cut_back(0).await.unwrap();
        assert!(!tail.is_drained());
        tail.push(&rows(8)).await.unwrap();
        tail.commit((1, 9), (2, 3)).await.unwrap();
        let mut found = Vec::new();
        while let Some(Group { from, end, bytes }) = tail.next_group().await.unwrap() {
            let mut left = bytes;
            while left > 0 {
                let (got, after) = tail.next_rows(left).await.unwrap();
                left = after;
                found.push((from, end, got));
            }
        }
        let of = |from, end, number| (from, end, rows(number));
        let first = |number| of((1, 4), (1, 9), number);
        assert_eq!(found, [first(1), first(2), first(5), of((1, 9), (2, 3), 8)]);
        assert!(tail.is_drained());
    }
}
