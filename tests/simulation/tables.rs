//! The tables of the model: their names, rows, and row images.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use replicator::codec::row_image::{ImageWriter, Plan};
use replicator::model::{TableName, TableSchema};
use replicator::source::mysql::snapshot::{Bound, KeyValue};

use super::shape::{First, Shape, Value};

/// A table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(usize);

const NAMES: [(&str, &str); 9] = [
    ("d", "orders"),
    ("d", "items"),
    ("d", "notes"),
    ("d", "paths"),
    ("d", "hits"),
    ("d", "hosts"),
    ("d", "spare"),
    ("x", "other"),
    ("x", "another"),
];

/// The database of the tables that may be captured.
pub const DATABASE: &str = "d";

impl Name {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    /// Those that are captured if the configuration does not exclude them.
    pub fn capturable() -> impl Iterator<Item = Self> {
        Self::all().filter(|name| name.may_be_captured())
    }

    pub fn of(table: &TableName) -> Self {
        let place = NAMES.iter().position(|(database, name)| *database == table.database && *name == table.table);
        Self(place.unwrap_or_else(|| panic!("no table of the model is named {table}")))
    }

    pub fn table(self) -> TableName {
        let (database, name) = NAMES[self.0];
        TableName::new(database, name)
    }

    pub fn may_be_captured(self) -> bool {
        NAMES[self.0].0 == DATABASE
    }

    /// A bit that no other name has.
    pub fn bit(self) -> u32 {
        1 << self.0
    }

    /// As a statement names it.
    pub fn sql(self) -> String {
        let (database, name) = NAMES[self.0];
        format!("`{database}`.`{name}`")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, name) = NAMES[self.0];
        write!(f, "{database}.{name}")
    }
}

/// A row: two numbers. A second value of 0 is stored as NULL.
pub type Row = (i32, i32);

/// How often a table has each row.
pub type Rows = BTreeMap<Row, u32>;

/// The rows of a chunk key in a bound.
pub fn bound_of(key: i32) -> Bound {
    Bound(vec![KeyValue::Number(key.to_string())])
}

/// Back from [`bound_of`].
pub fn key_of(bound: &Bound) -> i32 {
    match bound.0.as_slice() {
        [KeyValue::Number(digits)] => digits.parse().unwrap(),
        other => panic!("a bound of another key: {other:?}"),
    }
}

/// How rows of a table are written and read.
#[derive(Debug)]
pub struct Layout {
    /// What `TABLE_MAP` says.
    pub seen: Arc<TableSchema>,
    /// What the catalogue says.
    pub described: Arc<TableSchema>,
    shape: Shape,
    writer: ImageWriter,
    plan: Plan,
}

thread_local! {
    static LAYOUTS: RefCell<HashMap<(Name, Shape), Rc<Layout>>> = RefCell::new(HashMap::new());
}

/// The layout of a table.
pub fn layout(name: Name, shape: Shape) -> Rc<Layout> {
    LAYOUTS.with_borrow_mut(|layouts| {
        Rc::clone(layouts.entry((name, shape)).or_insert_with(|| Rc::new(Layout::new(name, shape))))
    })
}

impl Layout {
    fn new(name: Name, shape: Shape) -> Self {
        let (seen, described) = (shape.seen(name), shape.described(name));
        let writer = ImageWriter::new(&seen).unwrap();
        let plan = Plan::all(&seen).unwrap();
        Self { seen: Arc::new(seen), described: Arc::new(described), shape, writer, plan }
    }

    /// Appends a row's image.
    pub fn write(&self, row: Row, out: &mut Vec<u8>) {
        let (key, value) = row;
        let mut builder = self.writer.row(out);
        match self.shape.first {
            First::Text => builder.bytes(format!("path/{key}").as_bytes()).unwrap(),
            First::Int => builder.int(i64::from(key)).unwrap(),
        }
        match (self.shape.value, value) {
            (_, 0) => builder.null().unwrap(),
            (Value::Binary | Value::Uuid, value) => {
                let mut bytes = [7; 16];
                bytes[..4].copy_from_slice(&value.to_le_bytes());
                builder.bytes(&bytes).unwrap();
            }
            (Value::Int | Value::Big, value) => builder.int(i64::from(value)).unwrap(),
        }
        for added in self.shape.added() {
            builder.int(i64::from(added.default)).unwrap();
        }
        builder.finish().unwrap();
    }

    /// Reads the image at the front of `images`; returns the row and the rest.
    pub fn read<'a>(&self, images: &'a [u8]) -> Result<(Row, &'a [u8]), String> {
        let broken = |error| format!("an image of {} cannot be read: {error}", self.seen.name);
        let len = self.plan.image_len(images).map_err(broken)?;
        let (image, rest) = images.split_at(len);
        let key = self.plan.value(0, image).map_err(broken)?.ok_or("a key is NULL")?;
        let key = match self.shape.first {
            First::Text => text_key(key).ok_or("a key is not a path")?,
            First::Int => i32::from_le_bytes(key.try_into().map_err(|_| "a key has not four bytes")?),
        };
        let value = match self.plan.value(1, image).map_err(broken)? {
            None => 0,
            Some(value) => {
                let (bytes, _) = value.split_first_chunk().ok_or("a value has not four bytes")?;
                i32::from_le_bytes(*bytes)
            }
        };
        match self.shape.added().enumerate().find(|(place, added)| !added.holds(&self.plan, place + 2, image)) {
            None => Ok(((key, value), rest)),
            Some((_, added)) => Err(format!("{} of {} has not its default", added.name, self.seen.name)),
        }
    }
}

fn text_key(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes).ok()?.strip_prefix("path/")?.parse().ok()
}

/// Takes a row away; false if there is none.
pub fn take(rows: &mut Rows, row: Row) -> bool {
    match rows.get_mut(&row) {
        None => false,
        Some(1) => rows.remove(&row).is_some(),
        Some(count) => {
            *count -= 1;
            true
        }
    }
}

/// Adds a row.
pub fn add(rows: &mut Rows, row: Row) {
    *rows.entry(row).or_default() += 1;
}

/// The row of a key.
pub fn row_of(rows: &Rows, key: i32) -> Option<Row> {
    rows.range((key, i32::MIN)..=(key, i32::MAX)).next().map(|(row, _)| *row)
}
