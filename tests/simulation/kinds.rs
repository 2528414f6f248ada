//! Kinds of columns: their types, and how a number is a value of each.

use replicator::codec::row_image::{Plan, RowBuilder};
use replicator::model::{Column, ColumnDefault, ColumnType, IntWidth};
use replicator::source::mysql::schema::Flavour;

/// What stands for `NULL` among the numbers of a row.
pub const NULL: i32 = i32::MIN;
/// What stands for a value of a copy that only a read can tell.
pub const LOST: i32 = i32::MAX;

/// The kind of a column. Its values are numbers, whatever its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Int,
    Big,
    /// Of a generated invisible primary key.
    RowId,
    /// A text of digits.
    Text,
    Binary,
    /// `TABLE_MAP` calls it a `BINARY`. Of MariaDB alone.
    Uuid,
}

impl Kind {
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Big => "BIGINT",
            Self::RowId => "BIGINT UNSIGNED",
            Self::Text => "VARBINARY(300)",
            Self::Binary => "BINARY(16)",
            Self::Uuid => "UUID",
        }
    }

    pub fn ty(self) -> ColumnType {
        match self {
            Self::Int => ColumnType::Int { width: IntWidth::W4, unsigned: false },
            Self::Big => ColumnType::Int { width: IntWidth::W8, unsigned: false },
            Self::RowId => ColumnType::Int { width: IntWidth::W8, unsigned: true },
            Self::Text => ColumnType::VarBinary { max_bytes: 300 },
            Self::Binary => ColumnType::Binary { length: 16 },
            Self::Uuid => ColumnType::Uuid,
        }
    }

    pub fn of(ty: &ColumnType) -> Self {
        let all = [Self::Int, Self::Big, Self::RowId, Self::Text, Self::Binary, Self::Uuid];
        let kind = all.into_iter().find(|kind| kind.ty() == *ty);
        kind.unwrap_or_else(|| panic!("a type that no column of the model has: {ty:?}"))
    }

    /// As `TABLE_MAP` calls it.
    #[must_use]
    pub fn seen(self) -> Self {
        if self == Self::Uuid { Self::Binary } else { self }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Big | Self::RowId)
    }

    /// A constant as a statement gives it, of those kinds for which one is given.
    pub fn literal(self, value: i32) -> Option<String> {
        match self {
            Self::Int | Self::Big => Some(value.to_string()),
            Self::Text => Some(format!("'{value}'")),
            Self::RowId | Self::Binary | Self::Uuid => None,
        }
    }

    /// Kinds that a column of this one may be changed to.
    pub fn others(self, flavour: Flavour) -> &'static [Self] {
        match (self, flavour) {
            (Self::Int, _) => &[Self::Big, Self::Text],
            (Self::Big, _) => &[Self::Int, Self::Text],
            (Self::Text, _) => &[Self::Int, Self::Big],
            (Self::Binary, Flavour::MariaDb) => &[Self::Uuid],
            (Self::Uuid, _) => &[Self::Binary],
            (Self::RowId, _) | (Self::Binary, Flavour::MySql) => &[],
        }
    }

    /// Whether a sink knows the values of a column that was of a kind and is of this one.
    pub fn takes_over(self, before: Self) -> bool {
        before == self || (before == Self::Int && self == Self::Big)
    }

    /// Writes a value of a row image.
    pub fn write(self, value: i32, to: &mut RowBuilder<'_>) {
        if value == NULL {
            return to.null().unwrap();
        }
        match self {
            Self::Int | Self::Big => to.int(i64::from(value)).unwrap(),
            Self::RowId => to.uint(u64::try_from(value).unwrap()).unwrap(),
            Self::Text => to.bytes(value.to_string().as_bytes()).unwrap(),
            Self::Binary | Self::Uuid => {
                let mut bytes = [7; 16];
                bytes[..4].copy_from_slice(&value.to_le_bytes());
                to.bytes(&bytes).unwrap();
            }
        }
    }

    /// Reads the value at a place of a row image.
    pub fn read(self, plan: &Plan, place: usize, image: &[u8]) -> Result<i32, String> {
        let value = plan.value(u16::try_from(place).unwrap(), image).map_err(|error| error.to_string())?;
        let Some(bytes) = value else { return Ok(NULL) };
        self.number(bytes).ok_or_else(|| format!("{bytes:?} is no {self:?}"))
    }

    fn number(self, bytes: &[u8]) -> Option<i32> {
        match self {
            Self::Text => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => Some(i32::from_le_bytes(*bytes.first_chunk()?)),
        }
    }

    /// What rows that were there before it hold in a column of this kind that was added, as the schema says it.
    pub fn default_of(self, column: &Column) -> Result<i32, String> {
        let value = match &column.default {
            ColumnDefault::Unknown => Some(LOST),
            ColumnDefault::Null => Some(NULL),
            // The length of a text is before it.
            ColumnDefault::Value(bytes) if self == Self::Text => bytes.get(2..).and_then(|text| self.number(text)),
            ColumnDefault::Value(bytes) => self.number(bytes),
        };
        value.ok_or_else(|| format!("the default of {} is {:?}, which is no {self:?}", column.name, column.default))
    }
}
