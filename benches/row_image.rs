//! Row images of the 11-column benchmark table: skipping, counting, and decoding through a compiled plan.
//!
//! `read` is decoding into a row-oriented binary form, as a sink does it: every value is consumed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use replicator::codec::row_image::{
    Bytes, Date, DateTime, Decimal, ImageError, ImageWriter, Json, Plan, RowVisitor, Text, Time, Timestamp, ValueError,
};
use replicator::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, TableName, TableSchema};

const ROWS: u32 = 10_000;

fn orders() -> TableSchema {
    let int = |width, unsigned| ColumnType::Int { width, unsigned };
    let varchar = |max_bytes| ColumnType::VarChar { max_bytes, charset: Charset::new("utf8mb4") };
    let labels = ["new", "paid", "shipped", "done"];
    let columns = [
        ("id", int(IntWidth::W8, true)),
        ("customer_id", int(IntWidth::W4, false)),
        ("status", ColumnType::Enum { members: labels.map(str::to_owned).to_vec() }),
        ("email", varchar(256)),
        ("note", varchar(1020)),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("qty", int(IntWidth::W2, false)),
        ("is_gift", int(IntWidth::W1, false)),
        ("created_at", ColumnType::DateTime { fsp: 6 }),
        ("updated_at", ColumnType::Timestamp { fsp: 3 }),
        ("score", ColumnType::Double),
    ];
    TableSchema {
        name: TableName::new("bench", "orders"),
        columns: columns
            .into_iter()
            .map(|(name, ty)| Column {
                nullable: matches!(name, "note" | "score"),
                name: name.to_owned(),
                ty,
                default: ColumnDefault::Unknown,
            })
            .collect(),
        key: None,
    }
}

/// Rows like those of the benchmark's `fill` procedure: three notes in ten are NULL, the others have 0 to 79 characters.
fn body(schema: &TableSchema) -> Vec<u8> {
    let writer = ImageWriter::new(schema).unwrap();
    let mut out = Vec::new();
    for n in 0..ROWS {
        let spread = n.wrapping_mul(2_654_435_761);
        let mut row = writer.row(&mut out);
        row.uint(n.into()).unwrap();
        row.int((spread % 1_000_000).into()).unwrap();
        row.enumeration(u16::try_from(1 + spread % 4).unwrap()).unwrap();
        row.bytes(format!("{spread:032x}@example.com").as_bytes()).unwrap();
        if spread % 10 < 3 {
            row.null().unwrap();
        } else {
            row.bytes("x".repeat((spread / 16 % 80).try_into().unwrap()).as_bytes()).unwrap();
        }
        row.decimal(format!("{}.{:02}", spread % 10_000, n % 100).as_bytes()).unwrap();
        row.int((spread % 100).into()).unwrap();
        row.int((spread % 10 / 9).into()).unwrap();
        let created = Timestamp { seconds: 1_700_000_000 + n, micros: n % 1_000_000, fsp: 6 };
        row.datetime(created.utc()).unwrap();
        row.timestamp(Timestamp { micros: n % 1000 * 1000, ..created }).unwrap();
        row.double(f64::from(spread) / f64::from(u32::MAX)).unwrap();
        row.finish().unwrap();
    }
    out
}

/// Appends every value in a fixed binary form. Only what the table has is filled in; the rest is refused.
struct Encode {
    out: Vec<u8>,
}

impl RowVisitor for Encode {
    type Error = ValueError;

    fn null(&mut self, _: usize) -> Result<(), ValueError> {
        self.out.push(1);
        Ok(())
    }
    fn int(&mut self, _: usize, value: i64) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn uint(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn float(&mut self, _: usize, value: f32) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn double(&mut self, _: usize, value: f64) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn decimal(&mut self, _: usize, value: Decimal<'_>) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.unscaled_i128().unwrap_or_default().to_le_bytes());
        Ok(())
    }
    fn year(&mut self, _: usize, value: u16) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn date(&mut self, _: usize, value: Date) -> Result<(), ValueError> {
        value.write_text(&mut self.out);
        Ok(())
    }
    fn time(&mut self, _: usize, value: Time) -> Result<(), ValueError> {
        value.write_text(&mut self.out);
        Ok(())
    }
    fn datetime(&mut self, _: usize, value: DateTime) -> Result<(), ValueError> {
        value.write_text(&mut self.out);
        Ok(())
    }
    fn timestamp(&mut self, _: usize, value: Timestamp) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.seconds.to_le_bytes());
        self.out.extend_from_slice(&value.micros.to_le_bytes());
        Ok(())
    }
    fn bit(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn text(&mut self, _: usize, value: Text<'_>) -> Result<(), ValueError> {
        self.out.extend_from_slice(value.as_utf8()?.as_bytes());
        Ok(())
    }
    fn bytes(&mut self, _: usize, value: Bytes<'_>) -> Result<(), ValueError> {
        value.write_to(&mut self.out);
        Ok(())
    }
    fn enumeration(&mut self, _: usize, ordinal: u16, _: &str) -> Result<(), ValueError> {
        self.out.extend_from_slice(&ordinal.to_le_bytes());
        Ok(())
    }
    fn set(&mut self, _: usize, mask: u64, _: &[String]) -> Result<(), ValueError> {
        self.out.extend_from_slice(&mask.to_le_bytes());
        Ok(())
    }
    fn json(&mut self, _: usize, value: Json<'_>) -> Result<(), ValueError> {
        value.write_text(&mut self.out)
    }
    fn geometry(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.out.extend_from_slice(value);
        Ok(())
    }
    fn vector(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.out.extend_from_slice(value);
        Ok(())
    }
}

fn skip(plan: &Plan, mut body: &[u8]) -> Result<usize, ImageError> {
    let mut images = 0;
    while !body.is_empty() {
        let len = plan.image_len(body)?;
        body = body.get(len..).unwrap_or_default();
        images += 1;
    }
    Ok(images)
}

fn row_image(criterion: &mut Criterion) {
    let schema = orders();
    let plan = Plan::all(&schema).unwrap();
    let body = body(&schema);
    assert_eq!(plan.count_rows(&body, 1), Ok(ROWS));
    let mut group = criterion.benchmark_group("row_image");
    group.throughput(Throughput::Elements(ROWS.into()));
    group.bench_function("image_len", |bencher| {
        bencher.iter(|| skip(&plan, black_box(&body)).unwrap());
    });
    group.bench_function("count_rows", |bencher| {
        bencher.iter(|| plan.count_rows(black_box(&body), 1).unwrap());
    });
    let mut encode = Encode { out: Vec::new() };
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            encode.out.clear();
            let mut rest = black_box(body.as_slice());
            while !rest.is_empty() {
                let len = plan.read(rest, &mut encode).unwrap();
                rest = rest.get(len..).unwrap_or_default();
            }
            black_box(encode.out.len())
        });
    });
    group.bench_function("key_hash", |bencher| {
        bencher.iter(|| {
            let mut rest = black_box(body.as_slice());
            while !rest.is_empty() {
                black_box(plan.key_hash(&[0], rest).unwrap());
                rest = rest.get(plan.image_len(rest).unwrap()..).unwrap_or_default();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, row_image);
criterion_main!(benches);
