//! Reading allocates nothing per value: not at all, once the buffers of the visitor have grown.

use super::super::{
    Bytes, Date, DateTime, Decimal, ImageWriter, Inet4, Inet6, Json, RowVisitor, Text, Time, Timestamp, Uuid,
    ValueError,
};
use super::*;

/// Turns every value into its longest form, in two buffers.
struct Print {
    bytes: Vec<u8>,
    text: String,
    seen: usize,
}

impl Print {
    #[expect(clippy::unnecessary_wraps, reason = "what the visitor's methods return")]
    fn take(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ValueError> {
        self.bytes.clear();
        write(&mut self.bytes);
        self.seen += 1;
        Ok(())
    }
}

impl RowVisitor for Print {
    type Error = ValueError;

    fn null(&mut self, _: usize) -> Result<(), ValueError> {
        self.take(|_| ())
    }
    fn int(&mut self, _: usize, value: i64) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn uint(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn float(&mut self, _: usize, value: f32) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn double(&mut self, _: usize, value: f64) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn decimal(&mut self, _: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        self.take(|out| {
            value.write_text(out);
            out.extend_from_slice(&value.unscaled_le_bytes());
            out.extend_from_slice(&value.unscaled_i128().unwrap_or_default().to_le_bytes());
        })
    }
    fn year(&mut self, _: usize, value: u16) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn date(&mut self, _: usize, value: Date) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn time(&mut self, _: usize, value: Time) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn datetime(&mut self, _: usize, value: DateTime) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn timestamp(&mut self, _: usize, value: Timestamp) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn bit(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&value.to_le_bytes()))
    }
    fn text(&mut self, _: usize, value: Text<'_>) -> Result<(), ValueError> {
        self.text.clear();
        value.write_utf8(&mut self.text)?;
        self.take(|_| ())
    }
    fn bytes(&mut self, _: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        self.take(|out| value.write_to(out))
    }
    fn enumeration(&mut self, _: usize, _: u16, label: &str) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(label.as_bytes()))
    }
    fn set(&mut self, _: usize, mask: u64, _: &[String]) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(&mask.to_le_bytes()))
    }
    fn json(&mut self, _: usize, value: Json<'_>) -> Result<(), ValueError> {
        self.bytes.clear();
        value.write_text(&mut self.bytes)?;
        self.seen += 1;
        Ok(())
    }
    fn geometry(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(value))
    }
    fn vector(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.take(|out| out.extend_from_slice(value))
    }
    fn uuid(&mut self, _: usize, value: Uuid) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn inet6(&mut self, _: usize, value: Inet6) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
    fn inet4(&mut self, _: usize, value: Inet4) -> Result<(), ValueError> {
        self.take(|out| value.write_text(out))
    }
}

fn every_type() -> (TableSchema, Vec<Vec<u8>>) {
    let char_of = |charset| ColumnType::Char { max_bytes: 40, charset: Charset::new(charset) };
    let cells: Vec<(ColumnType, &[u8])> = vec![
        (int(IntWidth::W8), b"-5"),
        (ColumnType::Float, b"1.5"),
        (ColumnType::Double, b"1.5"),
        (ColumnType::Decimal { precision: 38, scale: 10 }, b"-1234567890.0123456789"),
        (ColumnType::Year, b"2020"),
        (ColumnType::Date, b"2020-02-29"),
        (ColumnType::Time { fsp: 6 }, b"-838:59:59.000000"),
        (ColumnType::DateTime { fsp: 6 }, b"2020-02-29 12:34:56.789012"),
        (ColumnType::Timestamp { fsp: 3 }, b"2020-02-29 12:34:56.789"),
        (ColumnType::Bit { bits: 9 }, b"\x01\x01"),
        (char_of("utf8mb4"), "\u{e9}\u{65e5}".as_bytes()),
        (char_of("latin1"), b"caf\xe9"),
        (char_of("sjis"), b"\x93\xfa\x81\x60"),
        (char_of("ujis"), b"\xa4\xa2\xf5\xa1"),
        (char_of("utf16"), b"\0a\xd8\x3d\xde\x00"),
        (ColumnType::Binary { length: 20 }, b"ab"),
        (ColumnType::Enum { members: members(&["a", "b"]) }, b"b"),
        (ColumnType::Set { members: members(&["a", "b"]) }, b"a,b"),
        (ColumnType::Json, b"{\"a\": 1}"),
        (ColumnType::Geometry, b"1234"),
        (ColumnType::Vector, b"1234"),
        (ColumnType::Uuid, b"12345678-9abc-1ef0-8234-567890abcd00"),
        (ColumnType::Inet6, b"2001:db8::1.2.3.4"),
        (ColumnType::Inet4, b"255.0.10.1"),
    ];
    let (types, texts): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    (table(types), texts.into_iter().map(<[u8]>::to_vec).collect())
}

fn allocations(plan: &Plan, body: &[u8], values: usize) -> u64 {
    let mut print = Print { bytes: Vec::with_capacity(512), text: String::with_capacity(512), seen: 0 };
    let counted = allocation_counter::measure(|| {
        let mut rest = body;
        while !rest.is_empty() {
            let len = plan.read(rest, &mut print).unwrap();
            assert_eq!(plan.image_len(rest), Ok(len));
            plan.key_hash(&[0, 3, 10], rest).unwrap();
            assert!(plan.same_key(&[0, 3, 10], rest, body).unwrap());
            rest = &rest[len..];
        }
    });
    assert_eq!(print.seen, values);
    counted.count_total
}

#[test]
fn reading_every_type_allocates_nothing() {
    let (schema, texts) = every_type();
    let plan = Plan::all(&schema).unwrap();
    let writer = ImageWriter::new(&schema).unwrap();
    let mut body = Vec::new();
    for _ in 0..100 {
        let mut row = writer.row(&mut body);
        for text in &texts {
            row.text_protocol(text).unwrap();
        }
        row.finish().unwrap();
    }
    assert_eq!(allocations(&plan, &body, 100 * texts.len()), 0);
}

#[test]
fn reading_a_servers_json_document_allocates_nothing() {
    // {"a": [1.5, "text", -0.05]} in the server's form, the decimal as an opaque value.
    let mut document = vec![0, 1, 0];
    let mut array = vec![3, 0, 0, 0, 0x0b, 13, 0, 0x0c, 21, 0, 0x0f, 26, 0];
    array.extend_from_slice(&1.5_f64.to_le_bytes());
    array.extend_from_slice(b"\x04text\xf6\x03\x02\x02\x7a");
    let len = u8::try_from(array.len()).unwrap();
    array[2] = len;
    document.extend_from_slice(&[12 + len, 0, 11, 0, 1, 0, 2, 12, 0, b'a']);
    document.append(&mut array);
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(document.len()).unwrap().to_le_bytes());
    body.append(&mut document);
    let schema = table(vec![ColumnType::Json]);
    let plan = Plan::all(&schema).unwrap();
    assert_eq!(read_all(&plan, &body), [Value::Json("{\"a\": [1.5, \"text\", -0.05]}".to_owned())]);
    let mut print = Print { bytes: Vec::with_capacity(512), text: String::new(), seen: 0 };
    let counted = allocation_counter::measure(|| {
        plan.read(&body, &mut print).unwrap();
    });
    assert_eq!((print.seen, counted.count_total), (1, 0));
}
