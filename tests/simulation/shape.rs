//! How a table of the model is defined: as statements say it, as `TABLE_MAP` says it, and as the catalogue does.

use replicator::codec::row_image::Plan;
use replicator::model::{Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, TableSchema};
use replicator::source::mysql::schema::{ChunkKey, Flavour, KeyClass, KeyPart};

use super::rng::Rng;
use super::tables::Name;

/// A table's definition. Its columns are `k`, `v`, and those of `added` that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    pub first: First,
    pub key: Keyed,
    pub value: Value,
    pub added: [bool; 2],
    /// Whether its engine takes changes back.
    pub is_transactional: bool,
}

/// The type of `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum First {
    Int,
    Text,
}

/// What tells rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyed {
    Not,
    /// A primary key, of an `INT`.
    Primary,
    /// A unique key over a prefix of a text, which `TABLE_MAP` does not name.
    Prefix,
}

/// The type of `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Int,
    Big,
    Binary,
    /// `TABLE_MAP` calls it a `BINARY`. Of MariaDB alone.
    Uuid,
}

/// A column that `ALTER TABLE` adds and drops. It holds its default in every row.
pub struct Added {
    pub name: &'static str,
    pub default: i32,
    nullable: bool,
    place: &'static str,
}

/// In the order that they have in a table.
pub const ADDED: [Added; 2] = [
    Added { name: "b", default: 5, nullable: false, place: "AFTER `v`" },
    Added { name: "c", default: 6, nullable: true, place: "" },
];

impl Shape {
    /// Of a new table.
    pub fn any(flavour: Flavour, rng: &mut Rng) -> Self {
        let hidden = if flavour == Flavour::MariaDb { 2 } else { 0 };
        let (first, key) = rng.weighted(&[
            (6, (First::Int, Keyed::Primary)),
            (2, (First::Int, Keyed::Not)),
            (2, (First::Text, Keyed::Prefix)),
            (3, (First::Text, Keyed::Not)),
        ]);
        Self {
            first,
            key,
            value: rng.weighted(&[(8, Value::Int), (1, Value::Big), (1, Value::Binary), (hidden, Value::Uuid)]),
            added: [rng.percent(10), rng.percent(10)],
            is_transactional: rng.percent(80),
        }
    }

    /// Whether two rows may not have the same first value.
    pub fn is_keyed(self) -> bool {
        self.key != Keyed::Not
    }

    /// The key that chunks are cut along.
    pub fn chunk_key(self) -> Option<ChunkKey> {
        (self.key == Keyed::Primary).then(|| ChunkKey {
            index: "PRIMARY".to_owned(),
            parts: vec![KeyPart { column: 0, name: "k".to_owned(), class: KeyClass::Number }],
        })
    }

    /// The columns that it has of [`ADDED`].
    pub fn added(self) -> impl Iterator<Item = &'static Added> {
        ADDED.iter().zip(self.added).filter_map(|(added, is_there)| is_there.then_some(added))
    }

    /// The statement that makes such a table.
    pub fn create(self, name: Name, is_careful: bool) -> String {
        let first = match self.first {
            First::Int => "INT",
            First::Text => "VARBINARY(300)",
        };
        let mut parts = vec![format!("`k` {first} NOT NULL"), format!("`v` {}", self.value.sql())];
        parts.extend(self.added().map(Added::sql));
        match self.key {
            Keyed::Not => {}
            Keyed::Primary => parts.push("PRIMARY KEY (`k`)".to_owned()),
            Keyed::Prefix => parts.push("UNIQUE KEY `p` (`k`(20))".to_owned()),
        }
        let if_not_exists = if is_careful { "IF NOT EXISTS " } else { "" };
        format!("CREATE TABLE {if_not_exists}{} ({}) ENGINE={}", name.sql(), parts.join(", "), self.engine())
    }

    fn engine(self) -> &'static str {
        if self.is_transactional { "InnoDB" } else { "MyISAM" }
    }

    /// A statement about the definition of a table, and what the table is after it. One that makes a key is not for every table:
    /// two rows may have what has to be unique.
    pub fn alter(self, name: Name, flavour: Flavour, rng: &mut Rng) -> (String, Self) {
        let mut after = self;
        let is_text = usize::from(self.first == First::Text);
        let what = match rng.weighted(&[(3, 0), (3, 1), (8 * is_text, 2), (2, 3), (2, 4)]) {
            place @ 0..=1 => {
                let Added { name, place: at, .. } = &ADDED[place];
                after.added[place] = !self.added[place];
                if self.added[place] {
                    format!("DROP COLUMN `{name}`")
                } else {
                    format!("ADD COLUMN {} {at}", ADDED[place].sql())
                }
            }
            2 => return self.alter_key(name, rng),
            3 => {
                after.value = match (self.value, flavour) {
                    (Value::Int, _) => Value::Big,
                    (Value::Big, _) => Value::Int,
                    (Value::Binary, Flavour::MariaDb) => Value::Uuid,
                    (Value::Binary, Flavour::MySql) | (Value::Uuid, _) => Value::Binary,
                };
                format!("MODIFY COLUMN `v` {}", after.value.sql())
            }
            _ => {
                after.is_transactional = !self.is_transactional;
                format!("ENGINE={}", after.engine())
            }
        };
        (format!("ALTER TABLE {} {}", name.sql(), what.trim_end()), after)
    }

    fn alter_key(self, name: Name, rng: &mut Rng) -> (String, Self) {
        let (key, table) = (if self.is_keyed() { Keyed::Not } else { Keyed::Prefix }, name.sql());
        let sql = match (key, rng.percent(50)) {
            (Keyed::Not, true) => format!("DROP INDEX `p` ON {table}"),
            (Keyed::Not, false) => format!("ALTER TABLE {table} DROP KEY `p`"),
            (_, true) => format!("CREATE UNIQUE INDEX `p` ON {table} (`k`(20))"),
            (_, false) => format!("ALTER TABLE {table} ADD UNIQUE KEY `p` (`k`(20))"),
        };
        (sql, Self { key, ..self })
    }

    /// As `TABLE_MAP` says it.
    pub fn seen(self, name: Name) -> TableSchema {
        let key = (self.key == Keyed::Primary).then(|| key(KeyKind::Primary));
        let value = match self.value {
            Value::Uuid => Value::Binary,
            other => other,
        };
        self.schema(name, value, key)
    }

    /// As the catalogue says it.
    pub fn described(self, name: Name) -> TableSchema {
        let key = match self.key {
            Keyed::Not => None,
            Keyed::Primary => Some(key(KeyKind::Primary)),
            Keyed::Prefix => Some(key(KeyKind::Unique)),
        };
        self.schema(name, self.value, key)
    }

    fn schema(self, name: Name, value: Value, key: Option<Key>) -> TableSchema {
        let column =
            |name: &str, ty, nullable| Column { name: name.to_owned(), ty, nullable, default: ColumnDefault::Unknown, attributes: None, collation: None };
        let first = match self.first {
            First::Int => int(IntWidth::W4),
            First::Text => ColumnType::VarBinary { max_bytes: 300 },
        };
        let mut columns = vec![column("k", first, false), column("v", value.ty(), true)];
        columns.extend(self.added().map(|added| column(added.name, int(IntWidth::W4), added.nullable)));
        TableSchema { name: name.table(), columns, key }
    }

    /// The shape of a table whose schema in the log this is. An engine is no part of a schema.
    pub fn of(schema: &TableSchema) -> Self {
        let [first, value, rest @ ..] = schema.columns.as_slice() else {
            panic!("a table without columns: {schema:?}")
        };
        let shape = Self {
            first: if matches!(first.ty, ColumnType::VarBinary { .. }) { First::Text } else { First::Int },
            key: match schema.key.as_ref().map(|key| key.kind) {
                None => Keyed::Not,
                Some(KeyKind::Primary) => Keyed::Primary,
                Some(KeyKind::Unique) => Keyed::Prefix,
            },
            value: match value.ty {
                ColumnType::Int { width: IntWidth::W8, .. } => Value::Big,
                ColumnType::Binary { .. } => Value::Binary,
                ColumnType::Uuid => Value::Uuid,
                _ => Value::Int,
            },
            added: ADDED.map(|added| rest.iter().any(|column| column.name == added.name)),
            is_transactional: true,
        };
        let names = |schema: &TableSchema| schema.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&shape.described(Name::of(&schema.name))), names(schema), "a schema that no table had");
        shape
    }
}

impl Value {
    fn sql(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Big => "BIGINT",
            Self::Binary => "BINARY(16)",
            Self::Uuid => "UUID",
        }
    }

    fn ty(self) -> ColumnType {
        match self {
            Self::Int => int(IntWidth::W4),
            Self::Big => int(IntWidth::W8),
            Self::Binary => ColumnType::Binary { length: 16 },
            Self::Uuid => ColumnType::Uuid,
        }
    }
}

impl Added {
    fn sql(&self) -> String {
        let null = if self.nullable { "" } else { " NOT NULL" };
        format!("`{}` INT{null} DEFAULT {}", self.name, self.default)
    }

    /// Whether the column at a place of an image holds what it has to.
    pub fn holds(&self, plan: &Plan, place: usize, image: &[u8]) -> bool {
        let value = plan.value(u16::try_from(place).unwrap(), image).ok().flatten();
        value == Some(self.default.to_le_bytes().as_slice())
    }
}

fn int(width: IntWidth) -> ColumnType {
    ColumnType::Int { width, unsigned: false }
}

fn key(kind: KeyKind) -> Key {
    Key { kind, columns: vec![0] }
}
