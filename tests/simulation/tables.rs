//! The tables of the model: their names, shapes, rows, and row images.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use replicator::codec::row_image::{ImageWriter, Plan};
use replicator::model::{Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, SchemaId, TableName, TableSchema};
use replicator::source::mysql::schema::{ChunkKey, KeyClass, KeyPart};
use replicator::source::mysql::snapshot::{Bound, KeyValue};

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

/// The database of the tables that are captured.
pub const CAPTURED: &str = "d";

impl Name {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    pub fn captured() -> impl Iterator<Item = Self> {
        Self::all().filter(|name| name.is_captured())
    }

    pub fn of(table: &TableName) -> Self {
        let place = NAMES.iter().position(|(database, name)| *database == table.database && *name == table.table);
        Self(place.unwrap_or_else(|| panic!("no table of the model is named {table}")))
    }

    pub fn table(self) -> TableName {
        let (database, name) = NAMES[self.0];
        TableName::new(database, name)
    }

    pub fn is_captured(self) -> bool {
        NAMES[self.0].0 == CAPTURED
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

/// What a table is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// `INT` primary key.
    Keyed,
    /// No key.
    Keyless,
    /// Its only unique key is over a prefix, so `TABLE_MAP` has none.
    Prefix,
    /// `INT` primary key, of an engine that takes nothing back.
    NoRollback,
    /// `INT` primary key and a column whose type `TABLE_MAP` does not name.
    Hidden,
}

impl Shape {
    /// Whether its engine takes changes back.
    pub fn is_transactional(self) -> bool {
        self != Self::NoRollback
    }

    /// Whether two rows may not have the same first value.
    pub fn is_keyed(self) -> bool {
        self != Self::Keyless
    }

    /// The key that chunks are cut along.
    pub fn chunk_key(self) -> Option<ChunkKey> {
        match self {
            Self::Keyed | Self::NoRollback | Self::Hidden => Some(ChunkKey {
                index: "PRIMARY".to_owned(),
                parts: vec![KeyPart { column: 0, name: "k".to_owned(), class: KeyClass::Number }],
            }),
            Self::Keyless | Self::Prefix => None,
        }
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
        let int = || ColumnType::Int { width: IntWidth::W4, unsigned: false };
        let column =
            |name: &str, ty, nullable| Column { name: name.to_owned(), ty, nullable, default: ColumnDefault::Unknown };
        let key_type = if shape == Shape::Prefix { ColumnType::VarBinary { max_bytes: 300 } } else { int() };
        let key = |kind| Some(Key { kind, columns: vec![0] });
        let (seen_key, described_key) = match shape {
            Shape::Keyed | Shape::NoRollback | Shape::Hidden => (key(KeyKind::Primary), key(KeyKind::Primary)),
            Shape::Keyless => (None, None),
            Shape::Prefix => (None, key(KeyKind::Unique)),
        };
        let (seen_value, described_value) = match shape {
            Shape::Hidden => (ColumnType::Binary { length: 16 }, ColumnType::Uuid),
            _ => (int(), int()),
        };
        let schema = |key, value| TableSchema {
            name: name.table(),
            columns: vec![column("k", key_type.clone(), false), column("v", value, true)],
            key,
        };
        let seen = schema(seen_key, seen_value);
        let described = schema(described_key, described_value);
        let writer = ImageWriter::new(&seen).unwrap();
        let plan = Plan::all(&seen).unwrap();
        Self { seen: Arc::new(seen), described: Arc::new(described), shape, writer, plan }
    }

    /// Appends a row's image.
    pub fn write(&self, row: Row, out: &mut Vec<u8>) {
        let (key, value) = row;
        let mut builder = self.writer.row(out);
        match self.shape {
            Shape::Prefix => builder.bytes(format!("path/{key}").as_bytes()).unwrap(),
            _ => builder.int(i64::from(key)).unwrap(),
        }
        match (self.shape, value) {
            (_, 0) => builder.null().unwrap(),
            (Shape::Hidden, value) => {
                let mut bytes = [7; 16];
                bytes[..4].copy_from_slice(&value.to_le_bytes());
                builder.bytes(&bytes).unwrap();
            }
            (_, value) => builder.int(i64::from(value)).unwrap(),
        }
        builder.finish().unwrap();
    }

    /// Reads the image at the front of `images`; returns the row and the rest.
    pub fn read<'a>(&self, images: &'a [u8]) -> Result<(Row, &'a [u8]), String> {
        let broken = |error| format!("an image of {} cannot be read: {error}", self.seen.name);
        let len = self.plan.image_len(images).map_err(broken)?;
        let (image, rest) = images.split_at(len);
        let key = self.plan.value(0, image).map_err(broken)?.ok_or("a key is NULL")?;
        let key = match self.shape {
            Shape::Prefix => text_key(key).ok_or("a key is not a path")?,
            _ => i32::from_le_bytes(key.try_into().map_err(|_| "a key has not four bytes")?),
        };
        let value = match self.plan.value(1, image).map_err(broken)? {
            None => 0,
            Some(value) => {
                let (bytes, _) = value.split_first_chunk().ok_or("a value has not four bytes")?;
                i32::from_le_bytes(*bytes)
            }
        };
        Ok(((key, value), rest))
    }
}

fn text_key(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes).ok()?.strip_prefix("path/")?.parse().ok()
}

/// The shape of a table whose schema in the log this is.
pub fn shape_of(id: SchemaId, schema: &TableSchema) -> Shape {
    let [key, value] = schema.columns.as_slice() else { panic!("schema {id} has not two columns: {schema:?}") };
    match (&key.ty, &value.ty, &schema.key) {
        (ColumnType::VarBinary { .. }, ..) => Shape::Prefix,
        (_, ColumnType::Binary { .. } | ColumnType::Uuid, _) => Shape::Hidden,
        (.., None) => Shape::Keyless,
        // An engine is no part of a schema: images are the same.
        (.., Some(_)) => Shape::Keyed,
    }
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
