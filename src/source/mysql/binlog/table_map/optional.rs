//! The optional metadata of a `TABLE_MAP`: kind, length and value, one behind the other.

use crate::model::{Key, KeyKind};
use crate::source::mysql::binlog::cursor::Cursor;
use crate::source::mysql::binlog::error::BinlogError;

/// The optional metadata, still as bytes.
#[derive(Debug, Default)]
pub(super) struct Optional<'a> {
    pub(super) signedness: Option<&'a [u8]>,
    pub(super) default_charset: Option<&'a [u8]>,
    pub(super) column_charset: Option<&'a [u8]>,
    pub(super) column_names: Option<&'a [u8]>,
    pub(super) set_labels: Option<&'a [u8]>,
    pub(super) enum_labels: Option<&'a [u8]>,
    pub(super) primary_key: Option<&'a [u8]>,
    pub(super) primary_key_with_prefix: Option<&'a [u8]>,
    pub(super) label_default_charset: Option<&'a [u8]>,
    pub(super) label_column_charset: Option<&'a [u8]>,
}

impl<'a> Optional<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BinlogError> {
        let mut all = Self::default();
        let mut cursor = Cursor::new(bytes);
        let part = "optional metadata";
        while !cursor.is_empty() {
            let kind = cursor.u8(part)?;
            let value = Some(cursor.lenenc_bytes(part)?);
            match kind {
                1 => all.signedness = value,
                2 => all.default_charset = value,
                3 => all.column_charset = value,
                4 => all.column_names = value,
                5 => all.set_labels = value,
                6 => all.enum_labels = value,
                8 => all.primary_key = value,
                9 => all.primary_key_with_prefix = value,
                10 => all.label_default_charset = value,
                11 => all.label_column_charset = value,
                // The subtypes of geometry columns (7), visibility (12) and the dimensions of vectors (13) do not change how an
                // image is read. Later kinds neither: the format lets readers that do not know them step over.
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Collation ids of the columns that `counted` is true for, in order.
pub(super) fn collation_ids(
    default: Option<&[u8]>,
    each: Option<&[u8]>,
    counted: usize,
) -> Result<Option<Vec<u64>>, BinlogError> {
    let part = "character set metadata";
    if let Some(bytes) = each {
        let mut cursor = Cursor::new(bytes);
        let mut ids = Vec::with_capacity(counted);
        while !cursor.is_empty() {
            ids.push(cursor.lenenc(part)?);
        }
        return if ids.len() == counted { Ok(Some(ids)) } else { Err(BinlogError::Damaged { part }) };
    }
    let Some(bytes) = default else { return Ok(None) };
    let mut cursor = Cursor::new(bytes);
    let mut ids = vec![cursor.lenenc(part)?; counted];
    while !cursor.is_empty() {
        let at = cursor.len(part)?;
        *ids.get_mut(at).ok_or(BinlogError::Damaged { part })? = cursor.lenenc(part)?;
    }
    Ok(Some(ids))
}

/// The labels of the ENUM columns, or of the SET columns, one list for each.
pub(super) fn label_lists(bytes: &[u8]) -> Result<Vec<Vec<&[u8]>>, BinlogError> {
    let part = "labels";
    let mut cursor = Cursor::new(bytes);
    let mut lists = Vec::new();
    while !cursor.is_empty() {
        let count = cursor.len(part)?;
        // A label takes a byte at least, so the count cannot exceed what is left.
        let mut labels = Vec::with_capacity(count.min(cursor.rest().len()));
        for _ in 0..count {
            labels.push(cursor.lenenc_bytes(part)?);
        }
        lists.push(labels);
    }
    Ok(lists)
}

pub(super) fn primary_key(optional: &Optional<'_>, columns: usize) -> Result<Option<Key>, BinlogError> {
    let part = "primary key metadata";
    let (bytes, with_prefix) = match (optional.primary_key, optional.primary_key_with_prefix) {
        (Some(bytes), _) => (bytes, false),
        (None, Some(bytes)) => (bytes, true),
        (None, None) => return Ok(None),
    };
    let mut cursor = Cursor::new(bytes);
    let mut key = Vec::new();
    while !cursor.is_empty() {
        let column = cursor.len(part)?;
        if with_prefix {
            cursor.lenenc(part)?;
        }
        if column >= columns {
            return Err(BinlogError::Damaged { part });
        }
        key.push(u16::try_from(column).map_err(|_| BinlogError::Damaged { part })?);
    }
    Ok(Some(Key { kind: KeyKind::Primary, columns: key }))
}

/// One flag for each numeric column, from the highest bit of each byte down.
pub(super) fn unsigned_flags(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}
