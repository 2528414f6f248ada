//! Row images of the 11-column benchmark table: skipping, counting, and decoding through a compiled plan.
//!
//! `read` is decoding into a row-oriented binary form, as a sink does it: every value is consumed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod orders;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orders::body::body;
use replicator::codec::row_image::{
    Bytes, Date, DateTime, Decimal, ImageError, Inet4, Inet6, Json, Plan, RowVisitor, Text, Time, Timestamp, Uuid,
    ValueError,
};

const ROWS: u32 = 10_000;

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
    fn uuid(&mut self, _: usize, value: Uuid) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.0);
        Ok(())
    }
    fn inet6(&mut self, _: usize, value: Inet6) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.0);
        Ok(())
    }
    fn inet4(&mut self, _: usize, value: Inet4) -> Result<(), ValueError> {
        self.out.extend_from_slice(&value.0);
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
    let schema = orders::schema();
    let plan = Plan::all(&schema).unwrap();
    let body = body(&schema, ROWS);
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
