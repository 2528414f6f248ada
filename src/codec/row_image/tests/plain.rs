//! Each type of the source in the kind that text-like targets take it in.

use super::*;
use crate::codec::row_image::{ImageWriter, PlainVisitor, ReadError, Scratch, ValueError};

/// What is given, one line a value.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    #[expect(clippy::unnecessary_wraps, reason = "it ends the methods of a visitor")]
    fn add(&mut self, line: String) -> Result<(), ValueError> {
        self.0.push(line);
        Ok(())
    }
}

impl PlainVisitor for Lines {
    type Error = ValueError;

    fn null(&mut self, column: usize) -> Result<(), ValueError> {
        self.add(format!("{column} null"))
    }

    fn int(&mut self, column: usize, value: i64) -> Result<(), ValueError> {
        self.add(format!("{column} int {value}"))
    }

    fn uint(&mut self, column: usize, value: u64) -> Result<(), ValueError> {
        self.add(format!("{column} uint {value}"))
    }

    fn real(&mut self, column: usize, value: f64) -> Result<(), ValueError> {
        self.add(format!("{column} real {value:?}"))
    }

    fn text(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.add(format!("{column} text {}", std::str::from_utf8(value).unwrap()))
    }

    fn bytes(&mut self, column: usize, value: &[u8]) -> Result<(), ValueError> {
        self.add(format!("{column} bytes {value:?}"))
    }
}

/// Types, a value as the server prints it (`None`: NULL), and what comes of it.
fn cases() -> Vec<(ColumnType, Option<&'static [u8]>, &'static str)> {
    use ColumnType as T;
    let unsigned = |width| T::Int { width, unsigned: true };
    vec![
        (int(IntWidth::W4), None, "null"),
        (int(IntWidth::W1), Some(b"-128"), "int -128"),
        (unsigned(IntWidth::W1), Some(b"255"), "uint 255"),
        (unsigned(IntWidth::W8), Some(b"18446744073709551615"), "uint 18446744073709551615"),
        (T::Float, Some(b"0.1"), "real 0.10000000149011612"),
        (T::Double, Some(b"-0.0"), "real -0.0"),
        (T::Decimal { precision: 12, scale: 2 }, Some(b"-1.5"), "text -1.50"),
        (T::Year, Some(b"2024"), "int 2024"),
        (T::Date, Some(b"0000-00-00"), "text 0000-00-00"),
        (T::Time { fsp: 2 }, Some(b"-838:59:59.5"), "text -838:59:59.50"),
        (T::DateTime { fsp: 6 }, Some(b"2024-02-29 01:02:03.5"), "text 2024-02-29 01:02:03.500000"),
        (T::Timestamp { fsp: 0 }, Some(b"2024-02-29 01:02:03"), "text 2024-02-29 01:02:03"),
        (T::Bit { bits: 3 }, Some(b"\x05"), "uint 5"),
        (varchar(20, "utf8mb4"), Some("\u{e9}\0".as_bytes()), "text \u{e9}\0"),
        (varchar(20, "latin1"), Some(b"\xe9"), "text \u{e9}"),
        (varchar(20, "latin1"), Some(b"plain"), "text plain"),
        (varchar(20, "utf16"), Some(b"\0\xe9"), "text \u{e9}"),
        (T::Binary { length: 3 }, Some(b"\xff"), "bytes [255, 0, 0]"),
        (T::Binary { length: 1 }, Some(b"\xff"), "bytes [255]"),
        (T::VarBinary { max_bytes: 3 }, Some(b"\xff"), "bytes [255]"),
        (T::Enum { members: members(&["a", "b"]) }, Some(b"b"), "text b"),
        (T::Set { members: members(&["a", "b", "c"]) }, Some(b"a,c"), "text a,c"),
        (T::Set { members: members(&["a"]) }, Some(b""), "text "),
        (T::Uuid, Some(b"12345678-9abc-1ef0-8234-567890abcd00"), "text 12345678-9abc-1ef0-8234-567890abcd00"),
        (T::Inet6, Some(b"::ffff:1.2.3.4"), "text ::ffff:1.2.3.4"),
        (T::Inet4, Some(b"1.2.3.0"), "text 1.2.3.0"),
    ]
}

#[test]
fn each_type_has_one_of_six_kinds() {
    let cases = cases();
    let schema = table(cases.iter().map(|(ty, ..)| ty.clone()).collect());
    let writer = ImageWriter::new(&schema).unwrap();
    let mut image = Vec::new();
    let mut row = writer.row(&mut image);
    for (ty, text, _) in &cases {
        let written = match text {
            None => row.null(),
            Some(text) => row.text_protocol(text),
        };
        written.unwrap_or_else(|error| panic!("{ty:?}: {error}"));
    }
    row.finish().unwrap();

    let plan = Plan::all(&schema).unwrap();
    let (mut lines, mut scratch) = (Lines::default(), Scratch::default());
    assert_eq!(plan.read_plain(&image, &mut lines, &mut scratch).unwrap(), image.len());
    let expected: Vec<_> = cases.iter().enumerate().map(|(place, (.., line))| format!("{place} {line}")).collect();
    assert_eq!(lines.0, expected);
}

#[test]
fn bytes_of_every_length_come_as_they_are() {
    let schema = table(vec![ColumnType::Geometry, ColumnType::Vector, ColumnType::Json]);
    // Each has its length in four bytes; the document is the literal `true`.
    let image = b"\x00\x03\0\0\0\x01\x02\x03\x04\0\0\0\0\0\x80\x3f\x02\0\0\0\x04\x01";
    let plan = Plan::all(&schema).unwrap();
    let mut lines = Lines::default();
    plan.read_plain(image, &mut lines, &mut Scratch::default()).unwrap();
    assert_eq!(lines.0, ["0 bytes [1, 2, 3]", "1 bytes [0, 0, 128, 63]", "2 text true"]);
}

#[test]
fn malformed_text_is_an_error_and_a_cell_alone_is_read_alike() {
    let schema = table(vec![varchar(20, "utf8mb4"), varchar(20, "latin1")]);
    let plan = Plan::all(&schema).unwrap();
    let (mut lines, mut scratch) = (Lines::default(), Scratch::default());
    let failed = plan.read_plain(b"\x00\x01\xff\x00", &mut lines, &mut scratch);
    assert!(matches!(failed, Err(ReadError::Visitor(ValueError::Text { .. }))), "{failed:?}");
    plan.cell_plain(1, b"\x01\xe9", &mut lines, &mut scratch).unwrap();
    assert_eq!(lines.0, ["1 text \u{e9}"]);
}

#[test]
fn rows_of_every_type_allocate_nothing_once_the_scratch_has_grown() {
    /// Takes everything and keeps nothing.
    struct Nothing;
    impl PlainVisitor for Nothing {
        type Error = ValueError;
        fn null(&mut self, _: usize) -> Result<(), ValueError> {
            Ok(())
        }
        fn int(&mut self, _: usize, _: i64) -> Result<(), ValueError> {
            Ok(())
        }
        fn uint(&mut self, _: usize, _: u64) -> Result<(), ValueError> {
            Ok(())
        }
        fn real(&mut self, _: usize, _: f64) -> Result<(), ValueError> {
            Ok(())
        }
        fn text(&mut self, _: usize, _: &[u8]) -> Result<(), ValueError> {
            Ok(())
        }
        fn bytes(&mut self, _: usize, _: &[u8]) -> Result<(), ValueError> {
            Ok(())
        }
    }
    let cases = cases();
    let schema = table(cases.iter().map(|(ty, ..)| ty.clone()).collect());
    let writer = ImageWriter::new(&schema).unwrap();
    let mut image = Vec::new();
    let mut row = writer.row(&mut image);
    for (_, text, _) in &cases {
        if let Some(text) = text { row.text_protocol(text) } else { row.null() }.unwrap();
    }
    row.finish().unwrap();
    let plan = Plan::all(&schema).unwrap();
    let mut scratch = Scratch::default();
    plan.read_plain(&image, &mut Nothing, &mut scratch).unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            plan.read_plain(&image, &mut Nothing, &mut scratch).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
}
