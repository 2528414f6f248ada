//! `DECIMAL` in MySQL's packed form: groups of nine digits in four big-endian bytes, counted from the point outwards; the
//! outermost group on each side has fewer digits in fewer bytes. The first bit is set for numbers that are not negative; all
//! bytes of a negative number are inverted.

/// Bytes of a group of 0 to 9 digits.
pub(super) const GROUP_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Digits of a full group.
pub(super) const GROUP_DIGITS: u8 = 9;

/// Bytes of a packed decimal.
pub(super) const fn packed_len(precision: u8, scale: u8) -> u8 {
    let whole = precision.saturating_sub(scale);
    whole / GROUP_DIGITS * 4
        + outer_group_bytes(whole % GROUP_DIGITS)
        + scale / GROUP_DIGITS * 4
        + outer_group_bytes(scale % GROUP_DIGITS)
}

/// [`GROUP_BYTES`] for the number of digits left over by full groups.
pub(super) const fn outer_group_bytes(digits: u8) -> u8 {
    digits.div_ceil(2)
}

const POWERS: [u32; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

fn power(digits: u8) -> u32 {
    POWERS.get(usize::from(digits)).copied().unwrap_or(u32::MAX)
}

/// A decimal value, still packed. Its digits are known to be digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal<'v> {
    bytes: &'v [u8],
    precision: u8,
    scale: u8,
}

/// Digits of one group, most significant group first.
struct Group {
    value: u32,
    digits: u8,
}

/// Hands out the groups of a packed decimal, inversion and sign bit undone.
struct Groups<'v> {
    bytes: &'v [u8],
    /// All ones for a negative number.
    inverted: u8,
    /// The sign bit, until the first group is taken.
    sign: u8,
    /// Digits left before the point, then after it.
    whole: u8,
    fraction: u8,
}

impl Iterator for Groups<'_> {
    type Item = Group;

    #[inline]
    fn next(&mut self) -> Option<Group> {
        let digits = if self.whole > 0 {
            let digits = match self.whole % GROUP_DIGITS {
                0 => GROUP_DIGITS,
                outer => outer,
            };
            self.whole -= digits;
            digits
        } else if self.fraction > 0 {
            let digits = self.fraction.min(GROUP_DIGITS);
            self.fraction -= digits;
            digits
        } else {
            return None;
        };
        let len = GROUP_BYTES.get(usize::from(digits)).copied().unwrap_or_default();
        let (group, rest) = self.bytes.split_at_checked(usize::from(len))?;
        self.bytes = rest;
        let mut value = 0;
        for byte in group {
            value = value << 8 | u32::from(byte ^ self.inverted ^ self.sign);
            self.sign = 0;
        }
        Some(Group { value, digits })
    }
}

impl<'v> Decimal<'v> {
    /// `None` if the bytes are not the packed form of such a decimal.
    #[inline]
    pub(super) fn new(bytes: &'v [u8], precision: u8, scale: u8) -> Option<Self> {
        if bytes.len() != usize::from(packed_len(precision, scale)) {
            return None;
        }
        let decimal = Self { bytes, precision, scale };
        decimal.groups().all(|group| group.value < power(group.digits)).then_some(decimal)
    }

    /// Digits in all.
    pub fn precision(&self) -> u8 {
        self.precision
    }

    /// Digits after the point.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Whether the number is below zero.
    pub fn is_negative(&self) -> bool {
        self.sign_bit_clear() && self.groups().any(|group| group.value != 0)
    }

    fn sign_bit_clear(&self) -> bool {
        self.bytes.first().is_some_and(|byte| byte & 0x80 == 0)
    }

    #[inline]
    fn groups(&self) -> Groups<'v> {
        Groups {
            bytes: self.bytes,
            inverted: if self.sign_bit_clear() { 0xff } else { 0 },
            sign: 0x80,
            whole: self.precision - self.scale,
            fraction: self.scale,
        }
    }

    /// Appends the number as the servers print it: at least one digit before the point, all digits of the scale after it,
    /// and no sign on zero.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        if self.is_negative() {
            out.push(b'-');
        }
        let mut whole = self.precision - self.scale;
        let mut started = false;
        let mut groups = self.groups();
        while whole > 0 {
            let Some(group) = groups.next() else { break };
            whole -= group.digits;
            if started {
                push_digits(out, group.value, usize::from(group.digits));
            } else if group.value != 0 {
                started = true;
                push_digits(out, group.value, digits_of(group.value));
            }
        }
        if !started {
            out.push(b'0');
        }
        if self.scale > 0 {
            out.push(b'.');
            for group in groups {
                push_digits(out, group.value, usize::from(group.digits));
            }
        }
    }

    /// The number times ten to the scale; `None` if the precision is above 38, where it may not fit.
    pub fn unscaled_i128(&self) -> Option<i128> {
        if self.precision > 38 {
            return None;
        }
        let magnitude =
            self.groups().fold(0_i128, |sum, group| sum * i128::from(power(group.digits)) + i128::from(group.value));
        Some(if self.sign_bit_clear() { -magnitude } else { magnitude })
    }

    /// The number times ten to the scale as a 256-bit integer: little-endian, two's complement. Every decimal fits: 65 digits
    /// take 216 bits. Its first 4, 8 or 16 bytes are the 32, 64 or 128-bit form where the precision is at most 9, 18 or 38.
    pub fn unscaled_le_bytes(&self) -> [u8; 32] {
        let mut limbs = [0_u64; 4];
        for group in self.groups() {
            multiply_add(&mut limbs, power(group.digits), group.value);
        }
        if self.sign_bit_clear() {
            let mut carry = true;
            for limb in &mut limbs {
                (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
            }
        }
        let mut bytes = [0; 32];
        for (place, limb) in bytes.chunks_exact_mut(8).zip(limbs) {
            place.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }
}

/// `limbs * factor + addend`, least significant limb first.
fn multiply_add(limbs: &mut [u64; 4], factor: u32, addend: u32) {
    let mut carry = u64::from(addend);
    for limb in limbs {
        let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
        let (low, high) = halves(wide);
        *limb = low;
        carry = high;
    }
}

/// The low and the high 64 bits.
fn halves(wide: u128) -> (u64, u64) {
    let bytes = wide.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    let half = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (half(low), half(high))
}

/// Decimal digits of a number that is not zero.
fn digits_of(value: u32) -> usize {
    POWERS.iter().take_while(|power| **power <= value).count()
}

/// Appends the last `digits` (at most nine) digits of `value`, zero-padded.
#[inline]
fn push_digits(out: &mut Vec<u8>, mut value: u32, digits: usize) {
    let mut text = [b'0'; 9];
    for place in text.iter_mut().rev().take(digits) {
        *place = digit(value % 10);
        value /= 10;
    }
    out.extend_from_slice(text.get(9 - digits..).unwrap_or(&text));
}

/// The ASCII digit of a number below ten.
#[inline]
fn digit(value: u32) -> u8 {
    b'0' + u8::try_from(value).unwrap_or_default()
}
