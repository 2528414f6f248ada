//! Frames out of rows and changes.
//!
//! Rows are gathered into a frame until it fills a block of the log. The last frame of a group is held back, so that it
//! can carry the group's end; the frames before it leave this process's memory while the group is still being read.

use super::ledger::{Changes, Ledger, Log};
use crate::codec::frame::{Audience, FrameHeader, RowOp, RowsHeader, Section, encode_header};
use crate::error::Failure;
use crate::model::{Gtid, Origin, SchemaId};

use super::ledger::Boundary;

/// Row bytes after which a frame is closed: with its header it just fits a block of the log, so that little of the block's
/// power of two is wasted.
pub(super) const FRAME_BYTES: usize = 110 << 10;

/// The frames of the open group that are still in memory.
#[derive(Debug)]
pub(super) struct Frames {
    /// Row bytes after which a frame is closed.
    frame_bytes: usize,
    /// Whom the rows of the group are for.
    audience: Audience,
    sections: Vec<Section>,
    bodies: Vec<u8>,
    held: Option<FrameHeader>,
    header: Vec<u8>,
    /// Frames that have left for the log.
    left: u32,
    /// Rows of the frames that have left, by schema, as their headers say.
    encoded: Vec<(SchemaId, u64)>,
}

/// A place between two row changes that can be cut back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct FramesMark {
    left: u32,
    holds: bool,
    sections: usize,
    last: Option<Section>,
    bodies: usize,
}

impl Frames {
    pub(super) fn new(frame_bytes: usize) -> Self {
        Self {
            frame_bytes,
            audience: Audience::All,
            sections: Vec::new(),
            bodies: Vec::new(),
            held: None,
            header: Vec::new(),
            left: 0,
            encoded: Vec::new(),
        }
    }

    /// Whether the group has any frame.
    pub(super) fn is_empty(&self) -> bool {
        self.left == 0 && self.held.is_none() && self.sections.is_empty()
    }

    /// Whether frames have left for the log.
    pub(super) fn has_left(&self) -> bool {
        self.left > 0
    }

    /// Rows of the group are for these sinks: it has none of the stream.
    pub(super) fn set_audience(&mut self, audience: &Audience) {
        self.audience.clone_from(audience);
    }

    /// Adds rows of one table.
    pub(super) fn rows<L: Log>(
        &mut self,
        ledger: &mut Ledger<L>,
        section: (SchemaId, RowOp, u32),
        body: &[u8],
        origin: &Origin,
    ) -> Result<(), Failure> {
        let (schema, op, rows) = section;
        let full = !self.bodies.is_empty() && self.bodies.len() + body.len() > self.frame_bytes;
        if full || self.held.is_some() {
            self.close(ledger, origin)?;
        }
        let bytes = u32::try_from(body.len()).map_err(|_| {
            Failure::fatal(format!("one rows event has {} bytes, more than a frame can hold", body.len()))
        })?;
        self.bodies.extend_from_slice(body);
        match self.sections.last_mut() {
            Some(last) if last.schema == schema && last.op == op => {
                last.rows = last.rows.checked_add(rows).ok_or_else(too_many)?;
                last.bytes = last.bytes.checked_add(bytes).ok_or_else(too_many)?;
            }
            _ => self.sections.push(Section { schema, op, rows, bytes }),
        }
        Ok(())
    }

    /// Adds a frame without rows.
    pub(super) fn single<L: Log>(&mut self, ledger: &mut Ledger<L>, header: FrameHeader) -> Result<(), Failure> {
        let origin = header.origin().clone();
        self.close(ledger, &origin)?;
        self.held = Some(header);
        Ok(())
    }

    fn encode(&mut self, origin: &Origin) -> Result<bool, Failure> {
        let header = match self.held.take() {
            Some(header) => header,
            None if self.sections.is_empty() => return Ok(false),
            None => FrameHeader::Rows(RowsHeader {
                origin: origin.clone(),
                audience: self.audience.clone(),
                sections: std::mem::take(&mut self.sections),
            }),
        };
        encode_header(&header, &mut self.header)
            .map_err(|error| Failure::fatal("cannot write a frame's header").caused_by(error))?;
        if let FrameHeader::Rows(RowsHeader { mut sections, .. }) = header {
            for section in &sections {
                match self.encoded.last_mut() {
                    Some((schema, rows)) if *schema == section.schema => *rows += u64::from(section.rows),
                    _ => self.encoded.push((section.schema, u64::from(section.rows))),
                }
            }
            sections.clear();
            self.sections = sections;
        }
        Ok(true)
    }

    fn close<L: Log>(&mut self, ledger: &mut Ledger<L>, origin: &Origin) -> Result<(), Failure> {
        if self.encode(origin)? {
            ledger.fragment(&[&self.header, &self.bodies])?;
            self.left += 1;
            self.forget_bodies();
            self.merge_encoded();
        }
        Ok(())
    }

    /// Memory must not grow with the number of frames of a group.
    fn merge_encoded(&mut self) {
        if self.encoded.len() > 256 {
            self.encoded.sort_unstable_by_key(|(schema, _)| *schema);
            self.encoded.dedup_by(|(schema, rows), (before, sum)| {
                let same = schema == before;
                *sum += if same { *rows } else { 0 };
                same
            });
        }
    }

    fn forget_bodies(&mut self) {
        self.bodies.clear();
        // One huge row must not keep its memory.
        self.bodies.shrink_to(4 * self.frame_bytes);
    }

    /// Ends the group at the ledger. Returns the rows of its frames, by schema, as their headers say.
    pub(super) fn commit<L: Log>(
        &mut self,
        ledger: &mut Ledger<L>,
        origin: &Origin,
        changes: &Changes,
        after: Option<(Boundary<'_>, &Gtid)>,
    ) -> Result<&[(SchemaId, u64)], Failure> {
        if self.encode(origin)? {
            ledger.commit(Some(&[&self.header, &self.bodies]), changes, after)?;
        } else {
            ledger.commit(None, changes, after)?;
        }
        self.forget_bodies();
        Ok(&self.encoded)
    }

    /// Forgets everything; buffers stay for the next group.
    pub(super) fn clear(&mut self) {
        self.sections.clear();
        self.forget_bodies();
        self.held = None;
        self.left = 0;
        self.audience = Audience::All;
        self.encoded.clear();
    }

    /// The place after the last row change.
    pub(super) fn mark(&self) -> FramesMark {
        FramesMark {
            left: self.left,
            holds: self.held.is_some(),
            sections: self.sections.len(),
            last: self.sections.last().copied(),
            bodies: self.bodies.len(),
        }
    }

    /// Cuts back to a mark; false, and nothing is done, when frames after it have left.
    pub(super) fn cut_back(&mut self, mark: FramesMark) -> bool {
        if self.left != mark.left || self.held.is_some() != mark.holds {
            return false;
        }
        self.sections.truncate(mark.sections);
        if let (Some(last), Some(before)) = (self.sections.last_mut(), mark.last) {
            *last = before;
        }
        self.bodies.truncate(mark.bodies);
        true
    }
}

fn too_many() -> Failure {
    Failure::fatal("a frame has more rows or bytes than it can hold")
}
