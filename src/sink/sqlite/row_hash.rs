//! A hash of a row's values: equal for rows that SQLite's `IS` finds equal in every column.

use std::sync::LazyLock;

use rusqlite::types::ValueRef;
use xxhash_rust::xxh3::Xxh3;

/// Another one in each process, so that nobody can make rows whose hashes are equal.
static SEED: LazyLock<u64> = LazyLock::new(rand::random);

/// Numbers from here on, and up to its negative, are beyond the integers of 64 bits.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// Takes the values of one row after the other.
pub(super) struct RowHash(Xxh3);

impl RowHash {
    pub(super) fn new() -> Self {
        Self(Xxh3::with_seed(*SEED))
    }

    /// Takes the next value of the row.
    #[inline]
    pub(super) fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.0.update(&[0]),
            ValueRef::Integer(value) => self.number(value),
            ValueRef::Real(value) => match integral(value) {
                Some(value) => self.number(value),
                None => self.fixed(2, value.to_bits().to_le_bytes()),
            },
            ValueRef::Text(bytes) => self.sized(3, bytes),
            ValueRef::Blob(bytes) => self.sized(4, bytes),
        }
    }

    /// Ends the row.
    #[inline]
    pub(super) fn finish(&mut self) -> i64 {
        let hash = self.0.digest().cast_signed();
        self.0.reset();
        hash
    }

    #[inline]
    fn number(&mut self, value: i64) {
        self.fixed(1, value.to_le_bytes());
    }

    #[inline]
    fn fixed(&mut self, kind: u8, [a, b, c, d, e, f, g, h]: [u8; 8]) {
        self.0.update(&[kind, a, b, c, d, e, f, g, h]);
    }

    #[inline]
    fn sized(&mut self, kind: u8, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.fixed(kind, length.to_le_bytes());
        self.0.update(bytes);
    }
}

/// The integer that a floating point number equals. -0 equals 0.
#[inline]
fn integral(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in the range")]
    (value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value)).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use rusqlite::types::Value;

    #[test]
    fn values_have_one_hash_where_sqlite_finds_them_equal_and_another_where_it_does_not() {
        let connection = Connection::open_in_memory().unwrap();
        let mut same = connection.prepare("SELECT ?1 IS ?2").unwrap();
        let values = [
            Value::Null,
            Value::Integer(0),
            Value::Integer(5),
            Value::Integer(-5),
            Value::Integer(1 << 53),
            Value::Integer((1 << 53) + 1),
            Value::Integer(i64::MAX),
            Value::Integer(i64::MIN),
            Value::Real(0.0),
            Value::Real(-0.0),
            Value::Real(5.0),
            Value::Real(5.5),
            Value::Real(-5.0),
            Value::Real(9_007_199_254_740_992.0),
            Value::Real(BEYOND),
            Value::Real(-BEYOND),
            Value::Real(1e300),
            Value::Real(5e-324),
            Value::Real(f64::INFINITY),
            Value::Text(String::new()),
            Value::Text("5".into()),
            Value::Text("5\0".into()),
            Value::Text("a".into()),
            Value::Text("A".into()),
            Value::Blob(Vec::new()),
            Value::Blob(b"5".to_vec()),
            Value::Blob(b"a".to_vec()),
        ];
        let mut hash = RowHash::new();
        let mut of = |value: &Value| {
            hash.value(value.into());
            hash.finish()
        };
        for a in &values {
            for b in &values {
                let equal: bool = same.query_row([a, b], |row| row.get(0)).unwrap();
                assert_eq!(of(a) == of(b), equal, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn rows_differ_where_their_values_are_cut_at_other_places() {
        let of = |row: &[&str]| {
            let mut hash = RowHash::new();
            for value in row {
                hash.value(ValueRef::Text(value.as_bytes()));
            }
            hash.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }
}
