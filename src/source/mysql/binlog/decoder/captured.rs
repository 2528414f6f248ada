//! Table maps and rows: what of them is a captured table's, and what cannot be read of it.

use std::borrow::Cow;

use super::{DUMMY_TABLE, Decoder, Item, State};
use crate::model::TableName;
use crate::source::mysql::binlog::error::BinlogError;
use crate::source::mysql::binlog::kind::{self, Treatment};
use crate::source::mysql::binlog::rows::{self, Images};
use crate::source::mysql::binlog::tables::{TableSlot, Target};
use crate::source::mysql::binlog::unread::Unread;

impl Decoder {
    pub(super) fn table_map(&mut self, data: &[u8]) -> Result<Item<'static>, BinlogError> {
        if self.state != State::Open {
            return Err(BinlogError::OutOfPlace { name: "TABLE_MAP", place: "outside a transaction" });
        }
        Ok(match self.tables.map(data, self.group)? {
            Some((slot, schema)) => Item::Schema { slot, schema },
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
        let images = match rows::images(body, layout, columns)? {
            Images::Whole(images) => images,
            Images::Partial => return Err(BinlogError::ImageNotFull { table: self.name(slot) }),
            Images::OfOthers { stated } => {
                self.has_rows = true;
                let why = format!("a rows event has {stated} columns, and its TABLE_MAP event {columns}");
                return Ok(Item::Unread { slot, why: Unread::Rows(why) });
            }
        };
        self.has_rows = true;
        match self.own_rows(slot, images, layout) {
            Ok((rows, columns, images)) => Ok(Item::Rows { slot, op: layout.op, rows, columns, images }),
            Err(error) => {
                let why = format!("rows do not fit their TABLE_MAP event: {error}");
                Ok(Item::Unread { slot, why: Unread::Rows(why) })
            }
        }
    }

    /// How many rows there are, how many columns each has, and their images.
    fn own_rows<'a>(
        &self,
        slot: TableSlot,
        images: Cow<'a, [u8]>,
        layout: rows::Layout,
    ) -> Result<(u32, usize, Cow<'a, [u8]>), crate::codec::row_image::ImageError> {
        let rows = self.tables.count_rows(slot, &images, layout.op.images_per_row())?;
        let (columns, images) = self.tables.own_images(slot, images)?;
        Ok((rows, columns, images))
    }

    /// Rows with JSON columns that are told in part.
    pub(super) fn partial_rows(&mut self, data: &[u8]) -> Result<Item<'static>, BinlogError> {
        let (id, body) = rows::partial_table_id(data)?;
        match self.written(id, data)? {
            None => Ok(Item::Nothing),
            Some(Target::Filtered) => Ok(Item::Filtered { bytes: body.len() }),
            Some(Target::Unread { slot }) => self.unread(slot),
            Some(Target::Captured { .. }) => match kind::describe(kind::PARTIAL_UPDATE_ROWS) {
                (name, Treatment::RefusedIfCaptured(way_out)) => Err(BinlogError::RefusedKind { name, way_out }),
                _ => Err(BinlogError::UnknownKind { code: kind::PARTIAL_UPDATE_ROWS }),
            },
        }
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

    fn unread(&mut self, slot: TableSlot) -> Result<Item<'static>, BinlogError> {
        self.has_rows = true;
        let why = self.tables.unread(slot).ok_or(BinlogError::Damaged { part: "table slot" })?;
        Ok(Item::Unread { slot, why: Unread::Columns(why) })
    }

    fn name(&self, slot: TableSlot) -> TableName {
        self.tables.name(slot).cloned().unwrap_or_else(|| TableName::new("", ""))
    }
}
