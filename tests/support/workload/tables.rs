//! The tables that random writers write to: one shape per kind of key, all with the same other columns.

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;

/// What identifies a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `INT` primary key, negative values included.
    Integer,
    /// `BIGINT UNSIGNED` primary key, values above `i64::MAX` included.
    Unsigned,
    /// Primary key of two columns, of which one is text.
    Composite,
    /// `VARCHAR` primary key that does not tell upper from lower case.
    Text,
    /// `VARBINARY` primary key with zero bytes in it and at its end.
    Binary,
    /// `BINARY(6)` primary key, padded with zero bytes.
    FixedBinary,
    /// No primary key, but a unique key that is NOT NULL.
    UniqueOnly,
    /// No key at all: equal rows exist.
    Keyless,
    /// MariaDB: `UUID` primary key, of versions that the server orders in two ways.
    Uuid,
    /// MariaDB: primary key of an `INET6` and an `INET4`, values that end in zero bytes included.
    Addresses,
}

impl Shape {
    pub const ALL: [Shape; 8] = [
        Shape::Integer,
        Shape::Unsigned,
        Shape::Composite,
        Shape::Text,
        Shape::Binary,
        Shape::FixedBinary,
        Shape::UniqueOnly,
        Shape::Keyless,
    ];

    /// What MariaDB has besides.
    pub const OF_MARIADB: [Shape; 2] = [Shape::Uuid, Shape::Addresses];

    /// Whether there is a primary key: only by it does the comparison of histories tell rows apart.
    pub fn has_primary_key(self) -> bool {
        !matches!(self, Shape::Keyless | Shape::UniqueOnly)
    }

    fn definition(self) -> &'static str {
        match self {
            Shape::Integer => "id INT NOT NULL, PRIMARY KEY (id)",
            Shape::Unsigned => "id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (id)",
            Shape::Composite => "part SMALLINT NOT NULL, id VARCHAR(8) NOT NULL, PRIMARY KEY (part, id)",
            Shape::Text => "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, PRIMARY KEY (id)",
            Shape::Binary => "id VARBINARY(8) NOT NULL, PRIMARY KEY (id)",
            Shape::FixedBinary => "id BINARY(6) NOT NULL, PRIMARY KEY (id)",
            Shape::UniqueOnly => "id INT UNSIGNED NOT NULL, UNIQUE KEY by_id (id)",
            Shape::Keyless => "id INT NULL",
            Shape::Uuid => "id UUID NOT NULL, PRIMARY KEY (id)",
            Shape::Addresses => "part INET6 NOT NULL, id INET4 NOT NULL, PRIMARY KEY (part, id)",
        }
    }
}

/// Keys are made from numbers below this: few enough for writers to meet at the same rows.
pub(super) const KEYS: u32 = 600;

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub shape: Shape,
}

impl Table {
    pub(super) fn new(shape: Shape, copy: usize) -> Self {
        let name = match shape {
            Shape::Integer => "by_integer",
            Shape::Unsigned => "by_unsigned",
            Shape::Composite => "by_two_columns",
            Shape::Text => "by_text",
            Shape::Binary => "by_binary",
            Shape::FixedBinary => "by_fixed_binary",
            Shape::UniqueOnly => "by_unique_key",
            Shape::Keyless => "without_key",
            Shape::Uuid => "by_uuid",
            Shape::Addresses => "by_addresses",
        };
        let name = if copy == 0 { name.to_owned() } else { format!("{name}_{copy}") };
        Self { name, shape }
    }

    pub(super) fn create(&self, database: &str) -> String {
        let values: Vec<String> = Value::ALL.iter().map(|value| format!("{value} {}", value.definition())).collect();
        format!(
            "CREATE TABLE {database}.{} ({}, {}) CHARACTER SET utf8mb4",
            self.name,
            self.shape.definition(),
            values.join(", ")
        )
    }

    /// The key's columns.
    pub(super) fn key_columns(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::Composite | Shape::Addresses => &["part", "id"],
            _ => &["id"],
        }
    }

    /// The key with a number, as SQL literals.
    pub(super) fn key(&self, number: u32, rng: &mut StdRng) -> Vec<String> {
        match self.shape {
            Shape::Integer => vec![(i64::from(number) - i64::from(KEYS / 2)).to_string()],
            Shape::Unsigned if number % 2 == 1 => vec![(u64::MAX - u64::from(number)).to_string()],
            Shape::Unsigned | Shape::UniqueOnly => vec![number.to_string()],
            Shape::Composite => vec![(number % 5).to_string(), format!("'k{}'", number / 5)],
            // The same key in another spelling: the server says equal, the bytes differ.
            Shape::Text if rng.random_bool(0.5) => vec![format!("'KEY-{number}'")],
            Shape::Text => vec![format!("'key-{number}'")],
            Shape::Binary => vec![format!("x'00{number:04x}00'")],
            Shape::FixedBinary => vec![format!("x'{number:04x}00'")],
            Shape::Keyless if number.is_multiple_of(50) => vec!["NULL".to_owned()],
            Shape::Keyless => vec![(number % 60).to_string()],
            Shape::Uuid if number == 0 => vec!["'00000000-0000-0000-0000-000000000000'".to_owned()],
            Shape::Uuid => {
                let low = number.wrapping_mul(0x9e37_79b9);
                let version = match number % 3 {
                    0 => 1,
                    1 => 4,
                    _ => 7,
                };
                vec![format!("'{low:08x}-{number:04x}-{version}000-8000-{:012x}'", (number % 4) << 16)]
            }
            Shape::Addresses => vec![format!("'{:x}::'", number / 5), format!("'{}.0.0.0'", number % 5)],
        }
    }

    /// A condition that is true for the row (keyless: the rows) with a key number.
    pub(super) fn has_key(&self, number: u32, rng: &mut StdRng) -> String {
        let key = self.key(number, rng);
        let parts = self.key_columns().iter().zip(key).map(|(column, literal)| format!("{column} <=> {literal}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }
}

/// The columns besides the key, each named after its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Int,
    Tiny,
    Double,
    Float,
    Decimal,
    Text,
    Latin,
    Char,
    Blob,
    DateTime,
    Timestamp,
    Date,
    Time,
    Year,
    Enum,
    Set,
    Bit,
    Json,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a_{}", format!("{self:?}").to_lowercase())
    }
}

impl Value {
    pub(super) const ALL: [Value; 18] = [
        Value::Int,
        Value::Tiny,
        Value::Double,
        Value::Float,
        Value::Decimal,
        Value::Text,
        Value::Latin,
        Value::Char,
        Value::Blob,
        Value::DateTime,
        Value::Timestamp,
        Value::Date,
        Value::Time,
        Value::Year,
        Value::Enum,
        Value::Set,
        Value::Bit,
        Value::Json,
    ];

    fn definition(self) -> &'static str {
        match self {
            Value::Int => "INT NULL",
            Value::Tiny => "TINYINT UNSIGNED NULL",
            Value::Double => "DOUBLE NULL",
            Value::Float => "FLOAT NULL",
            Value::Decimal => "DECIMAL(20, 6) NULL",
            Value::Text => "TEXT NULL",
            Value::Latin => "VARCHAR(60) CHARACTER SET latin1 NULL",
            Value::Char => "CHAR(10) NULL",
            Value::Blob => "BLOB NULL",
            Value::DateTime => "DATETIME(6) NULL",
            Value::Timestamp => "TIMESTAMP(3) NULL DEFAULT NULL",
            Value::Date => "DATE NULL",
            Value::Time => "TIME(2) NULL",
            Value::Year => "YEAR NULL",
            Value::Enum => "ENUM('small', 'medium', 'it''s large') NULL",
            Value::Set => "SET('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i') NULL",
            Value::Bit => "BIT(12) NULL",
            Value::Json => "JSON NULL",
        }
    }

    /// A random value, as a SQL literal; sometimes NULL.
    pub(super) fn literal(self, rng: &mut StdRng) -> String {
        if rng.random_bool(0.15) {
            return "NULL".to_owned();
        }
        let micros = rng.random_range(0..1_000_000);
        let (month, day) = (rng.random_range(1..=12), rng.random_range(1..=28));
        let clock =
            format!("{:02}:{:02}:{:02}", rng.random_range(0..24), rng.random_range(0..60), rng.random_range(0..60));
        match self {
            Value::Int => rng.random_range(-1_000_000..1_000_000).to_string(),
            Value::Tiny => rng.random_range(0..=255).to_string(),
            Value::Double => format!("{:e}", rng.random_range(-1e9..1e9)),
            Value::Float => format!("{:e}", rng.random_range(-1e5..1e5_f32)),
            Value::Decimal => format!("{}.{micros:06}", rng.random_range(-99_999_999_999_i64..99_999_999_999)),
            Value::Text => quoted(&text(rng, 300)),
            Value::Latin => quoted(["", "plain", "caf\u{e9}", "\u{fc}ber", "\u{20ac} 5"][rng.random_range(0..5)]),
            Value::Char => quoted(&text(rng, 10)),
            Value::Blob => {
                let length = if rng.random_bool(0.02) { 20_000 } else { rng.random_range(0..60) };
                let hex: Vec<String> = (0..length).map(|_| format!("{:02x}", rng.random::<u8>())).collect();
                format!("x'{}'", hex.concat())
            }
            Value::DateTime => format!("'{}-{month:02}-{day:02} {clock}.{micros:06}'", rng.random_range(1000..=9999)),
            // No hour that a zone with daylight saving leaves out: the session's zone is the machine's.
            Value::Timestamp => {
                format!("'{}-{month:02}-{day:02} 12:{}.{micros:06}'", rng.random_range(1971..=2037), &clock[3..])
            }
            Value::Date => format!("'{}-{month:02}-{day:02}'", rng.random_range(1000..=9999)),
            Value::Time => format!(
                "'{}{}:{}.{micros:06}'",
                ["", "-"][rng.random_range(0..2)],
                rng.random_range(0..838),
                &clock[3..]
            ),
            Value::Year => rng.random_range(1901..=2155).to_string(),
            Value::Enum => rng.random_range(1..=3).to_string(),
            Value::Set => rng.random_range(0..512).to_string(),
            Value::Bit => rng.random_range(0..4096).to_string(),
            Value::Json => format!(
                r#"'{{"n": {}, "list": [1, null, "{}", 2.5], "deep": {{"b": true}}}}'"#,
                rng.random_range(-1000..1000),
                "x".repeat(rng.random_range(0..20))
            ),
        }
    }
}

/// Text of up to `longest` characters, of one byte to four each, quotes and backslashes included.
fn text(rng: &mut StdRng, longest: usize) -> String {
    const LETTERS: [char; 12] = ['a', 'Z', '0', ' ', '\'', '"', '\\', '\n', '\u{e9}', '\u{4e2d}', '\u{1f600}', '%'];
    let length = rng.random_range(0..=longest);
    (0..length).map(|_| LETTERS[rng.random_range(0..LETTERS.len())]).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
