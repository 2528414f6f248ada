//! The name of a two-phase (XA) transaction.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a two-phase transaction: what `XA START` was given.
///
/// It is shown as the servers write it into their binlogs: `X'67',X'62',1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xid {
    /// The format of the two parts, which only the coordinator knows.
    pub format: u64,
    /// The global part, up to 64 bytes.
    pub gtrid: Vec<u8>,
    /// The branch, up to 64 bytes.
    pub bqual: Vec<u8>,
}

/// Bytes of the text of a name, at most.
const LONGEST: usize = 512;

impl Xid {
    /// A name of two parts that stand back to back; `None` if they are not that long.
    pub fn of_parts(format: u64, gtrid_len: usize, bqual_len: usize, data: &[u8]) -> Option<Self> {
        let (gtrid, rest) = data.split_at_checked(gtrid_len)?;
        (rest.len() == bqual_len).then(|| Self { format, gtrid: gtrid.to_vec(), bqual: rest.to_vec() })
    }

    /// A name as the servers write it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, ',');
        let (gtrid, bqual, format) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { format: format.trim().parse().ok()?, gtrid: hex(gtrid)?, bqual: hex(bqual)? })
    }

    /// The name of which only the text is known, because it reads as none: equal for equal texts.
    pub fn of_text(text: &[u8]) -> Self {
        // The servers write no name that is longer.
        let text = text.get(..LONGEST).unwrap_or(text);
        Self { format: u64::MAX, gtrid: text.to_vec(), bqual: Vec::new() }
    }

    /// The name as MariaDB tells it from others: it has no more of the format in most places.
    #[must_use]
    pub fn in_mariadb(self) -> Self {
        Self { format: self.format & u64::from(u32::MAX), ..self }
    }

    /// The name as bytes of which no other name's are the beginning.
    pub fn bytes(&self) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
        let lens = [len(&self.gtrid), len(&self.bqual)].concat();
        [&self.format.to_be_bytes()[..], &lens, &self.gtrid, &self.bqual].concat()
    }
}

/// The bytes of `X'00ff'`.
fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digits = text.strip_prefix("X'").or_else(|| text.strip_prefix("x'"))?.strip_suffix('\'')?;
    hex_digits(digits)
}

/// The bytes of `00ff`.
pub fn hex_digits(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(value(high)? << 4 | value(low)?),
            _ => None,
        })
        .collect()
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.gtrid, &self.bqual] {
            f.write_str("X'")?;
            for byte in part {
                write!(f, "{byte:02x}")?;
            }
            f.write_str("',")?;
        }
        write!(f, "{}", self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_shown() {
        for (text, format, gtrid, bqual) in [
            ("X'61',X'62',7", 7, &b"a"[..], &b"b"[..]),
            ("X'00ff27',X'',2147483647", 2_147_483_647, &[0, 0xff, 0x27], &[]),
            ("X'61',X'',9223372036854775807", 9_223_372_036_854_775_807, b"a", &[]),
            ("X'',X'2c',0", 0, &[], b","),
        ] {
            let xid = Xid { format, gtrid: gtrid.to_vec(), bqual: bqual.to_vec() };
            assert_eq!(Xid::parse(text), Some(xid.clone()), "{text}");
            assert_eq!(xid.to_string(), text);
        }
        for text in ["", "'a'", "X'6',X'',1", "X'61',X''", "X'61',X'',1 ONE PHASE", "X'6g',X'',1", "X'61',X'',-1"] {
            assert_eq!(Xid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_names_bytes_begin_with_those_of_another() {
        let of = |format, gtrid: &[u8], bqual: &[u8]| Xid { format, gtrid: gtrid.to_vec(), bqual: bqual.to_vec() };
        let names = [of(1, b"a", b""), of(1, b"a", b"a"), of(1, b"aa", b""), of(1, b"", b"a"), of(2, b"a", b"")];
        for one in &names {
            for other in names.iter().filter(|other| *other != one) {
                assert!(!other.bytes().starts_with(&one.bytes()), "{one} and {other}");
            }
        }
        assert_eq!(of((1 << 32) + 7, b"a", b"").in_mariadb(), of(7, b"a", b""));
        assert_ne!(Xid::of_text(b"one"), Xid::of_text(b"two"));
        assert_eq!(Xid::of_parts(1, 1, 2, b"abc"), Some(of(1, b"a", b"bc")));
        assert_eq!(Xid::of_parts(1, 1, 1, b"abc"), None);
        assert_eq!(Xid::of_parts(1, 4, 0, b"abc"), None);
    }
}
