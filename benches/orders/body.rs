//! Rows of the table as the images of one body.

use replicator::codec::row_image::{ImageWriter, Timestamp};
use replicator::model::TableSchema;

/// Rows like those of the benchmark's `fill` procedure: three notes in ten are NULL, the others have 0 to 79 characters.
pub(crate) fn body(schema: &TableSchema, rows: u32) -> Vec<u8> {
    let writer = ImageWriter::new(schema).unwrap();
    let mut out = Vec::new();
    for n in 0..rows {
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
