//! How a table of the model is defined: as statements say it, as `TABLE_MAP` says it, and as the catalogue does.

use replicator::model::{Attributes, Column, ColumnDefault, Key, KeyKind, TableSchema};
use replicator::source::mysql::schema::{ChunkKey, Flavour, KeyClass, KeyPart};

use super::kinds::{Kind, NULL};
use super::rng::Rng;
use super::tables::{Name, Row};

/// The most columns that a table has.
pub const WIDTH: usize = 5;

/// The name of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Called(u8);

const CALLED: [&str; 8] = ["k", "v", "b", "c", "g", "e", "w", "my_row_id"];
pub const K: Called = Called(0);
pub const V: Called = Called(1);
pub const B: Called = Called(2);
const C: Called = Called(3);
const G: Called = Called(4);
const ROW_ID: Called = Called(7);

impl Called {
    /// Those that statements give.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROW_ID.0).map(Self)
    }

    pub fn name(self) -> &'static str {
        CALLED[usize::from(self.0)]
    }
}

/// How the values of a column come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Made {
    /// They are given.
    Plain,
    /// The value of another column, and so much.
    Generated(Called, i32),
    /// `AUTO_INCREMENT`.
    Counted,
}

/// A column's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Def {
    pub called: Called,
    pub kind: Kind,
    pub nullable: bool,
    pub made: Made,
}

/// What tells rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyed {
    Not,
    /// A primary key, of numbers.
    Primary(Called, Option<Called>),
    /// A unique key over a prefix of a text, which `TABLE_MAP` does not name.
    Prefix(Called),
}

/// A table's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    columns: [Option<Def>; WIDTH],
    pub key: Keyed,
    /// Whether its engine takes changes back.
    pub is_transactional: bool,
}

impl Def {
    pub fn plain(called: Called, kind: Kind, nullable: bool) -> Self {
        Self { called, kind, nullable, made: Made::Plain }
    }

    /// As a statement lists it, without its name.
    pub fn sql(&self) -> String {
        let (ty, null) = (self.kind.sql(), if self.nullable { "" } else { " NOT NULL" });
        match self.made {
            Made::Plain => format!("{ty}{null}"),
            Made::Generated(base, more) => format!("{ty} AS (`{}` + {more}) STORED", base.name()),
            Made::Counted => format!("{ty}{null} AUTO_INCREMENT"),
        }
    }
}

impl Def {
    /// What its definition says beside its type.
    fn attributes(&self) -> Attributes {
        let generated = match self.made {
            Made::Generated(base, more) => Some(format!("(`{}` + {more})", base.name())),
            Made::Plain | Made::Counted => None,
        };
        let (auto_increment, unsigned) = (self.made == Made::Counted, self.kind == Kind::RowId);
        Attributes { generated, auto_increment: auto_increment || unsigned, unsigned, ..Attributes::default() }
    }
}

impl Keyed {
    /// The columns of it.
    pub fn columns(self) -> impl Iterator<Item = Called> {
        let (first, second) = match self {
            Self::Not => (None, None),
            Self::Primary(first, second) => (Some(first), second),
            Self::Prefix(column) => (Some(column), None),
        };
        first.into_iter().chain(second)
    }

    pub fn has(self, called: Called) -> bool {
        self.columns().any(|column| column == called)
    }

    /// Columns of it have other names.
    #[must_use]
    fn with(self, now: impl Fn(Called) -> Called) -> Self {
        match self {
            Self::Not => Self::Not,
            Self::Primary(first, second) => Self::Primary(now(first), second.map(&now)),
            Self::Prefix(column) => Self::Prefix(now(column)),
        }
    }

    /// A column of it, if it is one, has another name.
    #[must_use]
    pub fn renamed(self, from: Called, to: Called) -> Self {
        self.with(|column| if column == from { to } else { column })
    }

    /// Two columns change their names.
    #[must_use]
    pub fn swapped(self, one: Called, other: Called) -> Self {
        self.with(|column| match column {
            _ if column == one => other,
            _ if column == other => one,
            _ => column,
        })
    }
}

impl Shape {
    pub fn new(defs: &[Def], key: Keyed, is_transactional: bool) -> Self {
        let mut columns = [None; WIDTH];
        for (place, def) in defs.iter().enumerate() {
            columns[place] = Some(*def);
        }
        Self { columns, key, is_transactional }
    }

    /// Of a new table.
    pub fn any(flavour: Flavour, rng: &mut Rng) -> Self {
        let of_mysql = usize::from(flavour == Flavour::MySql);
        let value =
            rng.weighted(&[(8, Kind::Int), (1, Kind::Big), (1, Kind::Binary), (2 * (1 - of_mysql), Kind::Uuid)]);
        let keyed = rng.weighted(&[
            (6, (Kind::Int, Keyed::Primary(K, None))),
            (1, (Kind::Int, Keyed::Primary(K, Some(B)))),
            (of_mysql, (Kind::RowId, Keyed::Primary(ROW_ID, None))),
            (2, (Kind::Int, Keyed::Not)),
            (2, (Kind::Text, Keyed::Prefix(K))),
            (3, (Kind::Text, Keyed::Not)),
        ]);
        let (first, key) = keyed;
        let called = if first == Kind::RowId { ROW_ID } else { K };
        let mut defs = vec![Def::plain(called, first, false), Def::plain(V, value, true)];
        if key.has(B) || rng.percent(10) {
            defs.push(Def::plain(B, Kind::Int, false));
        }
        if rng.percent(10) {
            defs.push(Def::plain(C, Kind::Int, true));
        }
        if value.is_number() && rng.percent(10) {
            let made = Made::Generated(V, i32::try_from(rng.between(1, 9)).unwrap());
            defs.push(Def { made, ..Def::plain(G, value, true) });
        }
        Self::new(&defs, key, rng.percent(80))
    }

    pub fn columns(&self) -> impl Iterator<Item = &Def> {
        self.columns.iter().flatten()
    }

    /// Whether two rows may not have the same key.
    pub fn is_keyed(self) -> bool {
        self.key != Keyed::Not
    }

    /// The place of a column that it has.
    pub fn place(&self, called: Called) -> usize {
        self.columns().position(|def| def.called == called).unwrap()
    }

    /// Places of the columns of its key.
    pub fn key_places(&self) -> Vec<usize> {
        self.key.columns().map(|called| self.place(called)).collect()
    }

    /// A row with these values of what is not generated.
    pub fn row(&self, mut value: impl FnMut(&Def) -> i32) -> Row {
        let mut row = Row::default();
        for (place, def) in self.columns().enumerate() {
            row[place] = value(def);
        }
        self.generated(row)
    }

    /// The row with what is generated.
    pub fn generated(&self, mut row: Row) -> Row {
        for (place, def) in self.columns().enumerate() {
            if let Made::Generated(base, more) = def.made {
                let base = row[self.place(base)];
                row[place] = if base == NULL { NULL } else { base + more };
            }
        }
        row
    }

    /// The key that chunks are cut along.
    pub fn chunk_key(self) -> Option<ChunkKey> {
        let Keyed::Primary(..) = self.key else { return None };
        let part = |called: Called| {
            let column = u16::try_from(self.place(called)).unwrap();
            KeyPart { column, name: called.name().to_owned(), class: KeyClass::Number }
        };
        Some(ChunkKey { index: "PRIMARY".to_owned(), parts: self.key.columns().map(part).collect() })
    }

    /// The statement that makes such a table. What the server adds by itself is not in it.
    pub fn create(self, name: Name, is_careful: bool) -> String {
        let said = self.columns().filter(|def| def.called != ROW_ID);
        let mut parts: Vec<String> = said.map(|def| format!("`{}` {}", def.called.name(), def.sql())).collect();
        match self.key {
            Keyed::Not | Keyed::Primary(ROW_ID, _) => {}
            Keyed::Primary(..) => parts.push(format!("PRIMARY KEY ({})", self.key.listed())),
            Keyed::Prefix(called) => parts.push(format!("UNIQUE KEY `p` (`{}`(20))", called.name())),
        }
        let if_not_exists = if is_careful { "IF NOT EXISTS " } else { "" };
        format!("CREATE TABLE {if_not_exists}{} ({}) ENGINE={}", name.sql(), parts.join(", "), self.engine())
    }

    pub fn engine(self) -> &'static str {
        if self.is_transactional { "InnoDB" } else { "MyISAM" }
    }

    /// As `TABLE_MAP` says it.
    pub fn seen(self, name: Name) -> TableSchema {
        let key = if matches!(self.key, Keyed::Primary(..)) { self.schema_key() } else { None };
        self.schema(name, Kind::seen, |_| None, key)
    }

    /// As the catalogue says it.
    pub fn described(self, name: Name) -> TableSchema {
        self.schema(name, |kind| kind, |def| Some(def.attributes()), self.schema_key())
    }

    /// Its key, as a schema has it.
    pub fn schema_key(self) -> Option<Key> {
        let kind = match self.key {
            Keyed::Not => return None,
            Keyed::Primary(..) => KeyKind::Primary,
            Keyed::Prefix(_) => KeyKind::Unique,
        };
        let columns = self.key_places().into_iter().map(|place| u16::try_from(place).unwrap()).collect();
        Some(Key { kind, columns })
    }

    fn schema(
        self,
        name: Name,
        kind: impl Fn(Kind) -> Kind,
        attributes: impl Fn(&Def) -> Option<Attributes>,
        key: Option<Key>,
    ) -> TableSchema {
        let column = |def: &Def| Column {
            name: def.called.name().to_owned(),
            ty: kind(def.kind).ty(),
            nullable: def.nullable,
            default: ColumnDefault::Unknown,
            attributes: attributes(def),
            collation: None,
        };
        TableSchema { name: name.table(), columns: self.columns().map(column).collect(), key }
    }
}

impl Keyed {
    /// Its columns as a statement lists them.
    pub fn listed(self) -> String {
        self.columns().map(|called| format!("`{}`", called.name())).collect::<Vec<_>>().join(", ")
    }
}
