//! Values given as text, by what the column's type reads in it.

use super::value::Slot;
use crate::codec::row_image::address::{Inet4, Inet6, Uuid};
use crate::codec::row_image::error::WriteError;
use crate::codec::row_image::parse;
use crate::model::ColumnType;

impl Slot {
    /// A literal of `information_schema.COLUMN_DEFAULT`, in UTF-8.
    pub(super) fn default_literal(&self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), WriteError> {
        match &self.column_type {
            ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Text { .. } => {
                let utf8 = std::str::from_utf8(text).map_err(|_| self.literal("UTF-8"))?;
                let encoded = self.encoding.and_then(|encoding| encoding.encode(utf8));
                let encoded = encoded.ok_or_else(|| self.literal("within the column's character set"))?;
                self.bytes(out, &encoded)
            }
            ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. } => {
                let bytes = parse::hex(text).ok_or_else(|| self.literal("0x and pairs of hex digits"))?;
                self.bytes(out, &bytes)
            }
            ColumnType::Bit { .. } => {
                let bits = parse::bits(text).ok_or_else(|| self.literal("like b'101'"))?;
                self.bit(out, bits)
            }
            _ => self.text_protocol(out, text),
        }
    }

    /// A value of the text protocol.
    pub(super) fn text_protocol(&self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), WriteError> {
        match &self.column_type {
            ColumnType::Int { unsigned, .. } => {
                let number =
                    if *unsigned { parse::unsigned(text).map(i128::from) } else { parse::signed(text).map(i128::from) };
                self.int(out, number.ok_or_else(|| self.literal("an integer"))?)
            }
            ColumnType::Float => {
                let number = parse::float(text).ok_or_else(|| self.literal("a finite number"))?;
                self.float(out, number)
            }
            ColumnType::Double => {
                let number = parse::double(text).ok_or_else(|| self.literal("a finite number"))?;
                self.double(out, number)
            }
            ColumnType::Decimal { .. } => self.decimal(out, text),
            ColumnType::Year => {
                let year = parse::year(text).ok_or_else(|| self.literal("a year like 2020"))?;
                self.year(out, year)
            }
            ColumnType::Date => {
                let date = parse::date(text).ok_or_else(|| self.literal("a date like 2020-01-31"))?;
                self.date(out, date)
            }
            ColumnType::Time { fsp } => {
                let time = parse::time(text, *fsp).ok_or_else(|| self.literal("a time like -12:34:56.789"))?;
                self.time(out, time)
            }
            ColumnType::DateTime { fsp } => {
                let datetime = parse::datetime(text, *fsp)
                    .ok_or_else(|| self.literal("a datetime like 2020-01-31 12:34:56.789"))?;
                self.datetime(out, datetime)
            }
            ColumnType::Timestamp { fsp } => {
                let fields = parse::datetime(text, *fsp)
                    .ok_or_else(|| self.literal("a datetime like 2020-01-31 12:34:56.789"))?;
                self.timestamp_utc(out, fields)
            }
            ColumnType::Bit { .. } => {
                let mut bits = 0_u64;
                for byte in text {
                    bits = bits.checked_mul(256).ok_or_else(|| self.range("more bits are set than the column has"))?
                        | u64::from(*byte);
                }
                self.bit(out, bits)
            }
            ColumnType::Char { .. }
            | ColumnType::VarChar { .. }
            | ColumnType::Text { .. }
            | ColumnType::Binary { .. }
            | ColumnType::VarBinary { .. }
            | ColumnType::Blob { .. } => self.bytes(out, text),
            ColumnType::Enum { members } => {
                let ordinal = if text.is_empty() && !members.iter().any(String::is_empty) {
                    Some(0)
                } else {
                    member(members, text).and_then(|index| u16::try_from(index + 1).ok())
                };
                self.enumeration(out, ordinal.ok_or_else(|| self.literal("one of the members"))?)
            }
            ColumnType::Set { members } => {
                let mut mask = 0_u64;
                if !text.is_empty() {
                    for label in text.split(|byte| *byte == b',') {
                        let index = member(members, label).ok_or_else(|| self.literal("a list of members"))?;
                        mask |= 1 << index;
                    }
                }
                self.set(out, mask)
            }
            ColumnType::Json => self.json(out, text),
            ColumnType::Geometry => self.geometry(out, text),
            ColumnType::Vector => self.vector(out, text),
            ColumnType::Uuid => {
                let uuid = Uuid::parse(text).ok_or_else(|| self.literal("a UUID of 32 digits and 4 hyphens"))?;
                self.bytes(out, &uuid.0)
            }
            ColumnType::Inet6 => {
                let address = Inet6::parse(text).ok_or_else(|| self.literal("an IPv6 address"))?;
                self.bytes(out, &address.0)
            }
            ColumnType::Inet4 => {
                let address = Inet4::parse(text).ok_or_else(|| self.literal("an IPv4 address"))?;
                self.bytes(out, &address.0)
            }
            ColumnType::Unsupported { .. } => Err(self.kind("any value")),
        }
    }
}

/// The place of a label.
fn member(members: &[String], label: &[u8]) -> Option<usize> {
    members.iter().position(|member| member.as_bytes() == label)
}
