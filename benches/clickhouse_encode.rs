//! Row images of the 11-column benchmark table to ClickHouse's RowBinary: whole rows, and tombstones. One core must make at
//! least 4,000,000 rows a second.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod orders;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orders::body::body;
use replicator::config::{ValuePolicy, ZeroDates};
use replicator::sink::clickhouse::{Encoder, Scratch};

const ROWS: u32 = 10_000;

/// The types of the table's columns in ClickHouse.
const TYPES: [&str; 11] = [
    "UInt64",
    "Int32",
    "LowCardinality(String)",
    "String",
    "Nullable(String)",
    "Decimal(12, 2)",
    "Int16",
    "Int8",
    "DateTime64(6, 'UTC')",
    "DateTime64(3, 'UTC')",
    "Nullable(Float64)",
];

fn clickhouse_encode(criterion: &mut Criterion) {
    let schema = orders::schema();
    let body = body(&schema, ROWS);
    let values = ValuePolicy::new(ZeroDates::Null);
    let columns: Vec<(usize, &str)> = TYPES.into_iter().enumerate().collect();
    let encoder = Encoder::new(&schema, &columns, &[0], values).unwrap();
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    let mut group = criterion.benchmark_group("clickhouse_encode");
    group.throughput(Throughput::Elements(ROWS.into()));
    group.bench_function("rows", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut rest = black_box(body.as_slice());
            while !rest.is_empty() {
                let len = encoder.encode(rest, &mut out, &mut scratch).unwrap();
                rest = rest.get(len..).unwrap();
            }
            black_box(out.len())
        });
    });
    group.bench_function("tombstones", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut rest = black_box(body.as_slice());
            while !rest.is_empty() {
                let len = encoder.encode_key(rest, &mut out, &mut scratch).unwrap();
                rest = rest.get(len..).unwrap();
            }
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, clickhouse_encode);
criterion_main!(benches);
