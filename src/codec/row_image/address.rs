//! MariaDB's `UUID`, `INET6` and `INET4`: values of fixed length, and their text as the server prints and takes it.
//!
//! The text of an `INET6` is the server's own ("INET6", MariaDB documentation): it shortens a single group of zeros, too, and
//! the first of the longest runs, and prints the last four bytes as an IPv4 address behind `::` and `::ffff:`. Rust's
//! `Ipv6Addr` does neither.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A `UUID`: its bytes in the order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

/// An IPv6 address in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inet6(pub [u8; 16]);

/// An IPv4 address in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inet4(pub [u8; 4]);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Places in a UUID's text behind which a hyphen stands, in bytes of its value.
const HYPHENS: [usize; 4] = [4, 6, 8, 10];

/// The digits of a byte.
#[inline]
fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 15)]
}

impl Uuid {
    /// Takes the usual text alone: 32 digits in five groups.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut value = [0; 16];
        let mut rest = text;
        for (place, byte) in value.iter_mut().enumerate() {
            if HYPHENS.contains(&place) {
                rest = rest.strip_prefix(b"-")?;
            }
            let ([high, low], tail) = rest.split_first_chunk::<2>()?;
            let nibble = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
            *byte = nibble(*high)? << 4 | nibble(*low)?;
            rest = tail;
        }
        rest.is_empty().then_some(Self(value))
    }

    /// Appends its text, 36 characters in lower case.
    #[inline]
    pub fn write_text(self, out: &mut Vec<u8>) {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (place, byte) in self.0.into_iter().enumerate() {
            if HYPHENS.contains(&place) {
                at += 1;
            }
            if let Some(pair) = text.get_mut(at..at + 2) {
                pair.copy_from_slice(&digits(byte));
            }
            at += 2;
        }
        out.extend_from_slice(&text);
    }
}

impl Inet6 {
    /// Takes the usual text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Ipv6Addr::from_str(std::str::from_utf8(text).ok()?).ok().map(|address| Self(address.octets()))
    }

    /// Appends its text.
    pub fn write_text(self, out: &mut Vec<u8>) {
        let groups = Ipv6Addr::from(self.0).segments();
        let gap = longest_gap(&groups);
        let [.., a, b, c, d] = self.0;
        if gap == Some((0, 6)) {
            out.extend_from_slice(b"::");
            return Inet4([a, b, c, d]).write_text(out);
        }
        if gap == Some((0, 5)) && groups.get(5) == Some(&0xffff) {
            out.extend_from_slice(b"::ffff:");
            return Inet4([a, b, c, d]).write_text(out);
        }
        let (gap_at, gap_len) = gap.unwrap_or((groups.len(), 0));
        for (place, group) in groups.into_iter().enumerate() {
            if place == gap_at {
                out.extend_from_slice(b"::");
            }
            if (gap_at..gap_at + gap_len).contains(&place) {
                continue;
            }
            if place > 0 && place != gap_at + gap_len {
                out.push(b':');
            }
            write!(out, "{group:x}").expect("writing to a Vec cannot fail");
        }
    }
}

/// Place and length of the first of the longest runs of zeros.
fn longest_gap(groups: &[u16; 8]) -> Option<(usize, usize)> {
    let mut longest: Option<(usize, usize)> = None;
    let mut at = 0;
    for run in groups.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        if run.first() == Some(&0) && longest.is_none_or(|(_, len)| run.len() > len) {
            longest = Some((at, run.len()));
        }
        at += run.len();
    }
    longest
}

impl Inet4 {
    /// Takes four numbers without leading zeros.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Ipv4Addr::from_str(std::str::from_utf8(text).ok()?).ok().map(|address| Self(address.octets()))
    }

    /// Appends its text.
    pub fn write_text(self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.0;
        write!(out, "{a}.{b}.{c}.{d}").expect("writing to a Vec cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_uuid_is_printed_and_taken_in_its_usual_form() {
        let uuid = Uuid([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x1e, 0xf0, 0x82, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0]);
        assert_eq!(text(|out| uuid.write_text(out)), "12345678-9abc-1ef0-8234-567890abcd00");
        assert_eq!(Uuid::parse(b"12345678-9ABC-1ef0-8234-567890abCD00"), Some(uuid));
        for bad in [
            "",
            "123456789abc1ef08234567890abcd00",
            "12345678-9abc-1ef0-8234-567890abcd0",
            "12345678-9abc-1ef0-8234-567890abcd000",
            "{12345678-9abc-1ef0-8234-567890abcd00}",
            "12345678-9abc-1ef0-8234_567890abcd00",
            "g2345678-9abc-1ef0-8234-567890abcd00",
        ] {
            assert_eq!(Uuid::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    /// Every line was printed by MariaDB 10.11.
    #[test]
    fn an_ipv6_address_is_printed_as_mariadb_prints_it() {
        for (groups, printed) in [
            ([0; 8], "::"),
            ([0xffff; 8], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ([0, 0, 0, 0, 0, 0xffff, 0x102, 0x304], "::ffff:1.2.3.4"),
            ([0, 0, 0, 0, 0, 0xffff, 0, 0], "::ffff:0.0.0.0"),
            ([0, 0, 0, 0, 0, 0xfffe, 1, 2], "::fffe:1:2"),
            ([0, 0, 0, 0, 0, 0, 0x102, 0x304], "::1.2.3.4"),
            ([0, 0, 0, 0, 0, 0, 1, 0], "::0.1.0.0"),
            ([0, 0, 0, 0, 0, 0, 0, 0x102], "::102"),
            ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
            ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
            ([1, 0, 0, 2, 0, 0, 0, 3], "1:0:0:2::3"),
            ([0xfe80, 0, 0, 0, 0, 0, 0, 0], "fe80::"),
            ([1, 2, 3, 4, 5, 6, 0, 8], "1:2:3:4:5:6::8"),
            ([0x64, 0xff9b, 0, 0, 0, 0, 0x102, 0x304], "64:ff9b::102:304"),
            ([0, 0, 0, 0, 0xffff, 0, 0x102, 0x304], "::ffff:0:102:304"),
            ([0, 0, 1, 1, 0, 0, 1, 1], "::1:1:0:0:1:1"),
            ([0, 1, 2, 3, 4, 5, 6, 7], "::1:2:3:4:5:6:7"),
            ([1, 2, 3, 4, 5, 6, 7, 0], "1:2:3:4:5:6:7::"),
        ] {
            let address = Inet6(Ipv6Addr::from(groups).octets());
            assert_eq!(text(|out| address.write_text(out)), printed);
            assert_eq!(Inet6::parse(printed.as_bytes()), Some(address), "{printed}");
        }
        assert_eq!(Inet6::parse(b"1.2.3.4"), None);
    }

    #[test]
    fn an_ipv4_address_is_four_numbers() {
        assert_eq!(text(|out| Inet4([255, 0, 10, 1]).write_text(out)), "255.0.10.1");
        assert_eq!(Inet4::parse(b"255.0.10.1"), Some(Inet4([255, 0, 10, 1])));
        for bad in ["", "1.2.3", "01.2.3.4", "1.2.3.256", "::1"] {
            assert_eq!(Inet4::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
