//! The tables of the model: their names, rows, and row images.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use replicator::codec::row_image::{ImageWriter, Plan};
use replicator::model::{Column, TableName, TableSchema};
use replicator::source::mysql::snapshot::{Bound, KeyValue};

use super::kinds::Kind;
use super::shape::{Shape, WIDTH};

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

/// A row: a number for each column, in the order of the columns.
pub type Row = [i32; WIDTH];

/// How often a table has each row.
pub type Rows = BTreeMap<Row, u32>;

/// The values of a chunk key in a bound.
pub fn bound_of(key: &[i32]) -> Bound {
    Bound(key.iter().map(|value| KeyValue::Number(value.to_string())).collect())
}

/// Back from [`bound_of`].
pub fn key_of(bound: &Bound) -> Vec<i32> {
    let number = |value: &KeyValue| match value {
        KeyValue::Number(digits) => digits.parse().unwrap(),
        other => panic!("a bound of another key: {other:?}"),
    };
    bound.0.iter().map(number).collect()
}

/// The values of a row at the places of a key.
pub fn at(row: &Row, places: &[usize]) -> Vec<i32> {
    places.iter().map(|place| row[*place]).collect()
}

/// How rows of a schema are written and read.
#[derive(Debug)]
pub struct Layout {
    pub schema: Arc<TableSchema>,
    kinds: Vec<Kind>,
    writer: ImageWriter,
    pub plan: Arc<Plan>,
}

/// The schemas of a table.
#[derive(Debug)]
pub struct Layouts {
    /// What `TABLE_MAP` says.
    pub seen: Layout,
    /// What the catalogue says.
    pub described: Layout,
}

thread_local! {
    static LAYOUTS: RefCell<HashMap<(Name, Shape), Rc<Layouts>>> = RefCell::new(HashMap::new());
}

/// The layouts of a table.
pub fn layouts(name: Name, shape: Shape) -> Rc<Layouts> {
    LAYOUTS.with_borrow_mut(|layouts| {
        let new = || Layouts { seen: Layout::of(shape.seen(name)), described: Layout::of(shape.described(name)) };
        Rc::clone(layouts.entry((name, shape)).or_insert_with(|| Rc::new(new())))
    })
}

impl Layout {
    pub fn of(schema: TableSchema) -> Self {
        let writer = ImageWriter::new(&schema).unwrap();
        let plan = Arc::new(Plan::all(&schema).unwrap());
        let kinds = schema.columns.iter().map(|column| Kind::of(&column.ty)).collect();
        Self { schema: Arc::new(schema), kinds, writer, plan }
    }

    /// The same with one column more.
    pub fn with_extra(&self) -> Self {
        let mut schema = TableSchema::clone(&self.schema);
        let extra = Column { name: "extra".to_owned(), ty: Kind::Int.ty(), ..schema.columns[0].clone() };
        schema.columns.push(extra);
        Self::of(schema)
    }

    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The values of its key as a row's image has them; `None` without a key.
    pub fn key_fields(&self, row: &Row) -> Option<Vec<u8>> {
        let key = self.schema.key.as_ref()?;
        let mut image = Vec::new();
        self.write(row, &mut image);
        self.plan.key_fields(&key.columns, &image).unwrap()
    }

    /// Appends a row's image.
    pub fn write(&self, row: &Row, out: &mut Vec<u8>) {
        let mut builder = self.writer.row(out);
        for (kind, value) in self.kinds.iter().zip(row.iter().chain(&[0])) {
            kind.write(*value, &mut builder);
        }
        builder.finish().unwrap();
    }

    /// Reads the image at the front of `images`; returns the row and the rest.
    pub fn read<'a>(&self, images: &'a [u8]) -> Result<(Row, &'a [u8]), String> {
        let broken = |error: &str| format!("an image of {} cannot be read: {error}", self.schema.name);
        let len = self.plan.image_len(images).map_err(|error| broken(&error.to_string()))?;
        let (image, rest) = images.split_at(len);
        let mut row = Row::default();
        for (place, kind) in self.kinds.iter().enumerate() {
            row[place] = kind.read(&self.plan, place, image).map_err(|error| broken(&error))?;
        }
        Ok((row, rest))
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
pub fn row_of(rows: &Rows, places: &[usize], key: &[i32]) -> Option<Row> {
    rows.keys().find(|row| places.iter().zip(key).all(|(place, value)| row[*place] == *value)).copied()
}
