//! Any bytes under any schema are an image or an error: no panic, no allocation by a hostile length, and the walk that skips agrees
//! with the one that reads.
//!
//! The input: the number of columns, one byte per column that picks its type, and the images.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replicator::codec::row_image::{
    Bytes, Date, DateTime, Decimal, ImageError, Inet4, Inet6, Json, Plan, ReadError, RowVisitor, Text, Time, Timestamp,
    Uuid, ValueError,
};
use replicator::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, TableName, TableSchema};

/// Prints every value into one buffer.
struct Print {
    text: Vec<u8>,
    utf8: String,
}

impl RowVisitor for Print {
    type Error = ValueError;

    fn null(&mut self, _: usize) -> Result<(), ValueError> {
        Ok(())
    }
    fn int(&mut self, _: usize, value: i64) -> Result<(), ValueError> {
        self.text.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn uint(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.text.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn float(&mut self, _: usize, value: f32) -> Result<(), ValueError> {
        self.text.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn double(&mut self, _: usize, value: f64) -> Result<(), ValueError> {
        self.text.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn decimal(&mut self, _: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        let before = self.text.len();
        value.write_text(&mut self.text);
        let text = std::str::from_utf8(&self.text[before..]).expect("ascii");
        let digits = text.replace('.', "");
        if let Some(number) = value.unscaled_i128() {
            assert_eq!(digits.parse(), Ok(number));
            assert_eq!(value.unscaled_le_bytes()[..16], number.to_le_bytes());
        }
        Ok(())
    }
    fn year(&mut self, _: usize, value: u16) -> Result<(), ValueError> {
        assert!(value == 0 || (1901..=2155).contains(&value));
        Ok(())
    }
    fn date(&mut self, _: usize, value: Date) -> Result<(), ValueError> {
        value.write_text(&mut self.text);
        Ok(())
    }
    fn time(&mut self, _: usize, value: Time) -> Result<(), ValueError> {
        value.write_text(&mut self.text);
        Ok(())
    }
    fn datetime(&mut self, _: usize, value: DateTime) -> Result<(), ValueError> {
        value.write_text(&mut self.text);
        Ok(())
    }
    fn timestamp(&mut self, _: usize, value: Timestamp) -> Result<(), ValueError> {
        value.write_text(&mut self.text);
        Ok(())
    }
    fn bit(&mut self, _: usize, _: u64) -> Result<(), ValueError> {
        Ok(())
    }
    fn text(&mut self, _: usize, value: Text<'_>) -> Result<(), ValueError> {
        let before = self.utf8.len();
        let borrowed = value.as_utf8();
        let appended = value.write_utf8(&mut self.utf8);
        match borrowed {
            Ok(text) => assert_eq!(text, self.utf8[before..]),
            Err(_) => assert_eq!(before, self.utf8.len()),
        }
        appended
    }
    fn bytes(&mut self, _: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        value.write_to(&mut self.text);
        Ok(())
    }
    fn enumeration(&mut self, _: usize, ordinal: u16, label: &str) -> Result<(), ValueError> {
        assert_eq!(ordinal == 0, label.is_empty());
        Ok(())
    }
    fn set(&mut self, _: usize, mask: u64, members: &[String]) -> Result<(), ValueError> {
        assert!(members.len() == 64 || mask >> members.len() == 0);
        Ok(())
    }
    fn json(&mut self, _: usize, value: Json<'_>) -> Result<(), ValueError> {
        let before = self.text.len();
        let written = value.write_text(&mut self.text);
        assert!(std::str::from_utf8(&self.text[before..]).is_ok());
        assert!(written.is_ok() || before == self.text.len());
        written
    }
    fn geometry(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.text.extend_from_slice(value);
        Ok(())
    }
    fn vector(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        assert_eq!(value.len() % 4, 0);
        Ok(())
    }
    fn uuid(&mut self, _: usize, value: Uuid) -> Result<(), ValueError> {
        self.text.clear();
        value.write_text(&mut self.text);
        assert_eq!(Uuid::parse(&self.text), Some(value));
        Ok(())
    }
    fn inet6(&mut self, _: usize, value: Inet6) -> Result<(), ValueError> {
        self.text.clear();
        value.write_text(&mut self.text);
        assert_eq!(Inet6::parse(&self.text), Some(value));
        Ok(())
    }
    fn inet4(&mut self, _: usize, value: Inet4) -> Result<(), ValueError> {
        self.text.clear();
        value.write_text(&mut self.text);
        assert_eq!(Inet4::parse(&self.text), Some(value));
        Ok(())
    }
}

const WIDTHS: [IntWidth; 5] = [IntWidth::W1, IntWidth::W2, IntWidth::W3, IntWidth::W4, IntWidth::W8];

const CHARSETS: [&str; 16] = [
    "utf8mb4", "ascii", "latin1", "cp1250", "swe7", "big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "sjis",
    "ujis", "ucs2", "utf16le", "utf32",
];

/// The type that a byte of the input picks: the low four bits its kind, the high four its parameters.
fn column_type(pick: u8) -> ColumnType {
    let parameter = pick >> 4;
    let fsp = parameter % 7;
    let charset = || Charset::new(CHARSETS[usize::from(parameter)]);
    let labels = |count: u8| (0..count).map(|label| format!("m{label}")).collect();
    match pick & 15 {
        0 => ColumnType::Int { width: WIDTHS[usize::from(parameter % 5)], unsigned: parameter > 7 },
        1 => ColumnType::Double,
        2 => ColumnType::Decimal { precision: 1 + parameter * 4, scale: parameter },
        3 if parameter > 12 => ColumnType::Uuid,
        3 if parameter > 10 => ColumnType::Inet6,
        3 if parameter > 9 => ColumnType::Inet4,
        3 if parameter > 7 => ColumnType::Year,
        3 => ColumnType::Date,
        4 => ColumnType::Time { fsp },
        5 => ColumnType::DateTime { fsp },
        6 => ColumnType::Timestamp { fsp },
        7 => ColumnType::Bit { bits: 1 + parameter * 4 },
        8 => ColumnType::Char { max_bytes: u16::from(parameter) * 20, charset: charset() },
        9 => ColumnType::Text { length_bytes: 1 + parameter % 4, charset: charset() },
        10 => ColumnType::Binary { length: u16::from(parameter) * 20 },
        11 => ColumnType::Blob { length_bytes: 1 + parameter % 4 },
        12 => ColumnType::Enum { members: labels(1 + parameter) },
        13 => ColumnType::Set { members: labels(1 + parameter * 4) },
        14 => ColumnType::Json,
        _ if parameter > 7 => ColumnType::Vector,
        _ => ColumnType::Geometry,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((picks, body)) = rest.split_at_checked(usize::from(*count)) else { return };
    let columns = picks.iter().enumerate().map(|(index, pick)| Column {
        name: format!("c{index}"),
        ty: column_type(*pick),
        nullable: true,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    });
    let schema = TableSchema { name: TableName::new("d", "t"), columns: columns.collect(), key: None };
    let Ok(plan) = Plan::all(&schema) else { return };

    let len = plan.image_len(body);
    let mut print = Print { text: Vec::new(), utf8: String::new() };
    match (plan.read(body, &mut print), &len) {
        (Ok(consumed), _) => assert_eq!(len, Ok(consumed)),
        // A value may mean nothing and have a length all the same.
        (Err(_), Ok(_)) => {}
        (Err(ReadError::Image(_) | ReadError::Visitor(_)), Err(_)) => {}
    }
    if let Ok(len) = len {
        let (image, _) = body.split_at(len);
        // The bits past the last column are all set or all clear in what a server writes.
        let used = usize::from(*count) % 8;
        let filler = image.get(usize::from(*count) / 8).map_or(0, |byte| byte >> used);
        let is_written = used == 0 || filler == 0 || filler == u8::MAX >> used;
        let counted = if is_written { Ok(1) } else { Err(ImageError::NoImage { offset: 0 }) };
        assert_eq!(plan.count_rows(image, 1), counted);
        let key: Vec<u16> = (0..u16::from(*count)).collect();
        assert_eq!(plan.same_key(&key, image, body), Ok(true));
        assert_eq!(plan.key_hash(&key, image), plan.key_hash(&key, body));
        assert!(image.is_empty() || plan.image_len(&image[..len - 1]).is_err());
    }
    let _counted = plan.count_rows(body, 2);
});
