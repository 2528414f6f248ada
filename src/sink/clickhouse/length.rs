//! Lengths as RowBinary has them in front of strings and arrays: LEB128.

/// Appends a length: seven bits a byte, the lowest first, with the highest bit set in all but the last.
#[inline]
pub(super) fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(seven_bits(length) | 0x80);
        length >>= 7;
    }
    out.push(seven_bits(length));
}

/// Appends bytes behind their length.
#[inline]
pub(super) fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The lowest seven bits.
#[inline]
fn seven_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_seven_bits_takes_more_bytes() {
        let bytes = |length| {
            let mut out = Vec::new();
            put_length(length, &mut out);
            out
        };
        assert_eq!((bytes(127), bytes(128), bytes(300)), (vec![0x7f], vec![0x80, 1], vec![0xac, 2]));
        let mut out = Vec::new();
        put_string(b"ab", &mut out);
        assert_eq!(out, b"\x02ab");
    }
}
