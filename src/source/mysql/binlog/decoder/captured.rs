//! Table maps and rows: what of them is a captured table's, and what cannot be read of it.

use std::borrow::Cow;

use super::{DUMMY_TABLE, Decoder, Item, State};
use crate::codec::row_image::{ImageError, Shape};
use crate::source::mysql::binlog::error::BinlogError;
use crate::source::mysql::binlog::partial::Partial;
use crate::source::mysql::binlog::rows::{self, Images};
use crate::source::mysql::binlog::tables::{TableSlot, Target};
use crate::source::mysql::binlog::unread::Unread;

impl Decoder {
    pub(super) fn table_map(&mut self, data: &[u8]) -> Result<Item<'static>, BinlogError> {
        if self.state != State::Open {
            return Err(BinlogError::OutOfPlace { name: "TABLE_MAP", place: "outside a transaction" });
        }
        Ok(match self.tables.map(data, self.group)? {
            Some((slot, told)) => Item::Schema { slot, told },
            None => Item::Nothing,
        })
    }

    pub(super) fn rows<'a>(&mut self, data: &'a [u8], layout: rows::Layout) -> Result<Item<'a>, BinlogError> {
        let (id, body) = rows::table_id(data, layout)?;
        let (slot, columns) = match self.written(id, data)? {
            None => return Ok(Item::Nothing),
            Some(Target::Filtered) => return Ok(Item::Filtered { bytes: body.len() }),
            Some(Target::Unread { slot }) => return self.unread(slot),
            Some(Target::Captured { slot, columns }) => (slot, columns),
        };
        let item = match rows::images(body, layout, columns)? {
            Images::Whole(images) => self.own_rows(slot, images, layout),
            Images::Partial { shape, bytes } => self.partial_rows(slot, shape, bytes, layout),
            Images::OfOthers { stated } => {
                let why = format!("a rows event has {stated} columns, and its TABLE_MAP event {columns}");
                return Ok(Item::Unread { slot, why: Unread::Rows(why.into()) });
            }
        };
        Ok(item.unwrap_or_else(|error| {
            let why = format!("rows do not fit their TABLE_MAP event: {error}");
            Item::Unread { slot, why: Unread::Rows(why.into()) }
        }))
    }

    /// Rows with every column of their table.
    fn own_rows<'a>(
        &self,
        slot: TableSlot,
        images: Cow<'a, [u8]>,
        layout: rows::Layout,
    ) -> Result<Item<'a>, ImageError> {
        let rows = self.tables.count_rows(slot, &images, layout.op.images_per_row())?;
        let (columns, images) = self.tables.own_images(slot, images)?;
        Ok(Item::Rows { slot, op: layout.op, rows, columns, images })
    }

    /// Rows of an event that need not have every column of their table. They have, if only those are missing that the server keeps for
    /// itself.
    fn partial_rows<'a>(
        &self,
        slot: TableSlot,
        shape: Shape,
        bytes: Cow<'a, [u8]>,
        layout: rows::Layout,
    ) -> Result<Item<'a>, ImageError> {
        let (plan, columns) = self.tables.plan(slot)?;
        let partial = Partial::new(layout.op, plan, columns, shape, bytes)?;
        let whole = if partial.have_every_column() { partial.completed()? } else { None };
        Ok(match whole {
            Some(images) => {
                Item::Rows { slot, op: layout.op, rows: partial.rows(), columns, images: Cow::Owned(images) }
            }
            None => Item::Partial { slot, partial },
        })
    }

    /// Where the rows of an event go; `None`: it only ends a statement.
    fn written(&mut self, id: u64, data: &[u8]) -> Result<Option<Target>, BinlogError> {
        if self.state != State::Open {
            return Err(BinlogError::OutOfPlace { name: "rows", place: "outside a transaction" });
        }
        if id != DUMMY_TABLE {
            self.tables.written(id);
        }
        if rows::ends_statement(data) {
            self.tables.end_statement();
        }
        if id == DUMMY_TABLE {
            return Ok(None);
        }
        self.tables.target(id, self.group).map(Some)
    }

    fn unread(&self, slot: TableSlot) -> Result<Item<'static>, BinlogError> {
        let why = self.tables.unread(slot).ok_or(BinlogError::Damaged { part: "table slot" })?;
        Ok(Item::Unread { slot, why })
    }
}
