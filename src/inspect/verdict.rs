//! Whether a log is sound: the log crate's own checks, and that every frame can be decoded as far as its schemas go.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wal::{Finding, Lsn, Reader, VerifyReport};

use super::format::{check_format, unopened};
use super::values::RowReader;
use crate::codec::catalog::Catalog;
use crate::codec::frame::Frame;
use crate::error::Failure;
use crate::model::SchemaId;

/// Bytes of the log read at once.
const READ_BYTES: usize = 4 << 20;

/// What a verification has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Blocks read.
    pub blocks: u64,
    /// Frames read.
    pub frames: u64,
    /// Source transactions, snapshot chunks and changes.
    pub transactions: u64,
    /// Rows counted in the frames.
    pub rows: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// Everything that is wrong.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Of a log whose database cannot be read any further, and why.
    pub fn unreadable(why: &str) -> Self {
        Self { findings: vec![Finding::Database(why.to_owned()).to_string()], ..Self::default() }
    }

    fn of(report: &VerifyReport) -> Self {
        Self {
            blocks: report.blocks,
            frames: report.frames,
            transactions: report.groups,
            rows: 0,
            bytes: report.bytes,
            findings: report.findings.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Checks a whole log, and goes on after what it finds.
///
/// # Errors
/// Only when the log cannot be read at all.
pub fn verify(reader: &Reader) -> Result<Verdict, Failure> {
    let unreadable = |error| Failure::fatal("cannot read the log").caused_by(error);
    let report = reader.verify().map_err(unreadable)?;
    let mut verdict = Verdict::of(&report);
    if report.is_sound() {
        // A damaged block has no frames to look into, and has been reported.
        check_frames(reader, &mut verdict)?;
    }
    Ok(verdict)
}

/// As [`verify`], of the log of a stopped daemon, or a copy, at `path`. That it cannot be opened, because it is damaged, is a finding
/// like others.
///
/// # Errors
/// When the log is in use, is of another format, or is no log.
pub fn verify_stopped(path: &Path) -> Result<Verdict, Failure> {
    let report = Reader::verify_stopped(path).map_err(|error| unopened(path, error))?;
    if !report.is_sound() {
        return Ok(Verdict::of(&report));
    }
    let mut verdict = Verdict::of(&report);
    let reader = Reader::open_read_only(path).map_err(|error| unopened(path, error))?;
    check_format(&reader)?;
    check_frames(&reader, &mut verdict)?;
    Ok(verdict)
}

fn check_frames(reader: &Reader, verdict: &mut Verdict) -> Result<(), Failure> {
    let unreadable = |error: wal::Error| Failure::fatal("cannot read the log").caused_by(error);
    let mut catalog = Catalog::new(reader.clone());
    let mut readers: HashMap<SchemaId, Result<RowReader, String>> = HashMap::new();
    let positions = reader.positions();
    let mut at = Lsn::new(positions.first.raw().saturating_sub(1));
    while at < positions.durable {
        let blocks = match reader.read(at, READ_BYTES) {
            Ok(blocks) if blocks.is_empty() => return Ok(()),
            Ok(blocks) => blocks,
            // A running daemon trims while we look.
            Err(wal::Error::Trimmed { first, .. }) => {
                at = Lsn::new(first.raw().saturating_sub(1));
                continue;
            }
            Err(error) => return Err(unreadable(error)),
        };
        for block in &blocks {
            for frame in block.frames() {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => {
                        verdict.findings.push(format!("the block at lsn {} is damaged: {error}", block.first_lsn()));
                        return Ok(());
                    }
                };
                if frame.lsn <= at {
                    continue;
                }
                at = frame.lsn;
                match check_frame(frame.payload, &mut catalog, &mut readers) {
                    Ok(rows) => verdict.rows += rows,
                    Err(finding) => verdict.findings.push(format!("the frame at lsn {at}: {finding}")),
                }
            }
        }
    }
    Ok(())
}

/// Rows of a frame whose every image ends where it should.
fn check_frame(
    payload: &[u8],
    catalog: &mut Catalog,
    readers: &mut HashMap<SchemaId, Result<RowReader, String>>,
) -> Result<u64, String> {
    let frame = Frame::decode(payload).map_err(|error| error.to_string())?;
    let mut count = |schema: SchemaId, body: &[u8], images_per_row: u32, rows: u32| -> Result<u64, String> {
        let reader = readers.entry(schema).or_insert_with(|| {
            // What the binlog says of a schema that is not known is enough to find the ends of its images.
            let resolved = catalog.resolve(schema).map_err(|error| error.to_string())?;
            RowReader::new(Arc::clone(resolved.schema())).map_err(|failure| failure.chain())
        });
        let plan = reader.as_ref().map_err(Clone::clone)?.plan();
        let found = plan.count_rows(body, images_per_row).map_err(|error| error.to_string())?;
        if found == rows { Ok(u64::from(found)) } else { Err(format!("a section of {rows} rows holds {found}")) }
    };
    let mut rows = 0;
    for (section, body, _) in frame.sections() {
        rows += count(section.schema, body, section.op.images_per_row(), section.rows)?;
    }
    if let Some((check, body)) = frame.check() {
        rows += count(check.schema, body, 1, check.rows)?;
    }
    Ok(rows)
}
