//! Rows in the form of the schema that a target is shown.

use std::io::Write as _;

use super::schema::{hash_key, tag_of};
use super::unreadable;
use crate::codec::row_image::{ImageError, PlainVisitor, Plan, ReadError, Scratch, ValueError};
use crate::config::{HashKey, SinkPlan};
use crate::error::Failure;
use crate::model::{ColumnType, TableSchema, same_column};
use crate::sink::values::Doubles;

/// How images of the source's schema become images of the one that a target is shown.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// Reads the columns that are hashed.
    plan: Plan,
    /// Which columns are hashed.
    is_hashed: Box<[bool]>,
    key: Option<HashKey>,
    /// The tag as a value of its column, with its length in front; empty without a tag.
    tag: Box<[u8]>,
}

impl Rewrite {
    /// For rows of a schema; `None`: they are shown as they are.
    pub(super) fn new(plan: &SinkPlan, schema: &TableSchema, hash: &[String]) -> Result<Option<Self>, Failure> {
        let is_hashed: Vec<bool> =
            (schema.columns.iter()).map(|column| hash.iter().any(|name| same_column(name, &column.name))).collect();
        let has_hash = is_hashed.contains(&true);
        let key = schema.key.iter().flat_map(|key| &key.columns).map(|place| usize::from(*place));
        for (place, column) in key.filter_map(|place| Some((place, schema.columns.get(place)?))) {
            if is_hashed.get(place) == Some(&true) && has_doubles(&column.ty) {
                return Err(Failure::row(format!(
                    "column \"{}\" of {} is hashed and a part of the key, and two of its values may have one hash",
                    column.name, schema.name
                ))
                .hint("take it out of `hash`, or use `mode: history` for the table"));
            }
        }
        if plan.source_tag.is_none() && !has_hash {
            return Ok(None);
        }
        let tag = plan.source_tag.as_ref().map(|tag| prefixed(tag_of(tag, &schema.name).as_bytes()));
        let key = if has_hash { Some(hash_key(plan, &schema.name)?.clone()) } else { None };
        let plan = Plan::compile(schema, &is_hashed).map_err(|error| unreadable(&schema.name, error))?;
        Ok(Some(Self { plan, is_hashed: is_hashed.into(), key, tag: tag.unwrap_or_default().into() }))
    }

    /// Appends the first image of `bytes` in that form; says how many bytes it had.
    pub(super) fn image(&self, bytes: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<usize, ImageError> {
        let front = (usize::from(!self.tag.is_empty()), &*self.tag);
        self.plan.rewrite(bytes, front, out, |column, cell, out| match &self.key {
            Some(key) if self.is_hashed.get(column) == Some(&true) => {
                hash_cell(&self.plan, (column, cell), key, scratch, out)?;
                Ok(true)
            }
            _ => Ok(false),
        })
    }
}

/// Whether two values of a type may have one text: the label '' and the invalid value of an `ENUM`, two codes of one character.
fn has_doubles(ty: &ColumnType) -> bool {
    const TWO_CODES: [&str; 9] = ["big5", "gb2312", "gbk", "gb18030", "sjis", "cp932", "ujis", "eucjpms", "euckr"];
    let has_codes = ty.charset().is_some_and(|charset| TWO_CODES.contains(&charset.as_str()));
    has_codes || Doubles::of(ty).is_some()
}

/// A text of a `VARCHAR` with two bytes of length.
fn prefixed(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let text = text.get(..usize::from(len)).unwrap_or(text);
    [&len.to_le_bytes(), text].concat()
}

/// Appends the hash of a value as a value of its text column, with its length in front. `plan` reads the column.
pub(super) fn hash_cell(
    plan: &Plan,
    (column, cell): (usize, &[u8]),
    key: &HashKey,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let mut hashing = Hashing { key, hash: [0; 64] };
    match plan.cell_plain(column, cell, &mut hashing, scratch) {
        Ok(()) => {}
        // A value that is malformed has no text, and nobody is shown one: its bytes tell it from every other.
        Err(ReadError::Visitor(_)) => hashing.put(cell),
        Err(ReadError::Image(error)) => return Err(error),
    }
    out.push(64);
    out.extend_from_slice(&hashing.hash);
    Ok(())
}

/// Hashes one value: text as UTF-8, bytes as they are, everything else by its text.
struct Hashing<'k> {
    key: &'k HashKey,
    hash: [u8; 64],
}

impl Hashing<'_> {
    fn put(&mut self, value: &[u8]) {
        self.hash = self.key.hash(value);
    }

    /// A number by its text: an `f64` has up to 325 characters, and a sign.
    fn printed(&mut self, value: std::fmt::Arguments<'_>) {
        let mut digits = [0; 400];
        let mut rest = digits.as_mut_slice();
        // The text of every number fits.
        let written = rest.write_fmt(value);
        debug_assert!(written.is_ok());
        let len = 400 - rest.len();
        self.put(digits.get(..len).unwrap_or_default());
    }
}

impl PlainVisitor for Hashing<'_> {
    type Error = ValueError;

    /// A NULL has no value that could be read alone.
    fn null(&mut self, _column: usize) -> Result<(), ValueError> {
        Ok(())
    }

    fn int(&mut self, _column: usize, value: i64) -> Result<(), ValueError> {
        self.printed(format_args!("{value}"));
        Ok(())
    }

    fn uint(&mut self, _column: usize, value: u64) -> Result<(), ValueError> {
        self.printed(format_args!("{value}"));
        Ok(())
    }

    fn real(&mut self, _column: usize, value: f64) -> Result<(), ValueError> {
        self.printed(format_args!("{value}"));
        Ok(())
    }

    fn text(&mut self, _column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.put(value);
        Ok(())
    }

    fn bytes(&mut self, _column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.put(value);
        Ok(())
    }
}
