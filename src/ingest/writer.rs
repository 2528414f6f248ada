//! Frames out of rows and changes.
//!
//! A group is everything that becomes visible as one unit: one source transaction, one snapshot chunk, one DDL statement.
//! Its frames are held back by one, so that the last of them can carry the group's end. Rows are gathered into a frame until
//! it fills a block of the log; a transaction larger than that goes on in further frames, and its finished frames leave
//! this process's memory while it is still being read.

use wal::{Appender, GroupEnd, Lsn};

use crate::codec::frame::{Audience, FrameHeader, RowOp, RowsHeader, Section, encode_header};
use crate::error::Failure;
use crate::model::{Origin, SchemaId};

/// Row bytes after which a frame is closed: with its header it just fits a block of the log, so that little of the block's
/// power of two is wasted.
const FRAME_BYTES: usize = 110 << 10;

/// Bytes handed to the log's writer at once. Below, commits are small and many; above, memory and latency grow.
const FLUSH_BYTES: usize = 1 << 20;

/// The log as the ingest loop writes it.
#[derive(Debug)]
pub(super) struct LogWriter {
    appender: Appender,
    sections: Vec<Section>,
    bodies: Vec<u8>,
    rows: u32,
    held: Option<FrameHeader>,
    header: Vec<u8>,
    /// State of the open group. It goes to the appender only when the group has ended: put earlier, it could become durable
    /// with the group before it.
    staged: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Frames of the open group have left for the appender.
    fragmented: bool,
}

pub(super) fn log_failure(error: wal::Error) -> Failure {
    Failure::fatal("the log cannot be written").caused_by(error)
}

impl LogWriter {
    pub(super) fn new(appender: Appender) -> Self {
        Self {
            appender,
            sections: Vec::new(),
            bodies: Vec::new(),
            rows: 0,
            held: None,
            header: Vec::new(),
            staged: Vec::new(),
            fragmented: false,
        }
    }

    /// Whether `bytes` more of rows close a frame of the open group. The first time in a group, the position behind the
    /// groups before it has to be put ([`LogWriter::checkpoint`]): a flush inside the group would otherwise make those
    /// groups durable without it.
    pub(super) fn fragments_with(&self, bytes: usize) -> bool {
        self.held.is_some() || (!self.bodies.is_empty() && self.bodies.len() + bytes > FRAME_BYTES)
    }

    /// Whether frames of the open group have already left.
    pub(super) fn is_fragmented(&self) -> bool {
        self.fragmented
    }

    /// Stores a value that belongs to the groups that have ended. Only while no frame of an open group has left.
    pub(super) fn checkpoint(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(!self.fragmented, "a checkpoint inside a fragmented group would become durable with its end");
        self.appender.put_state(key, Some(value));
    }

    /// Adds rows of one table. `origin` is asked only when a frame fills up before the transaction ends; behind it the caller flushes
    /// when [`LogWriter::wants_flush`] says so.
    pub(super) fn rows(
        &mut self,
        schema: SchemaId,
        op: RowOp,
        rows: u32,
        body: &[u8],
        origin: impl Fn() -> Origin,
    ) -> Result<(), Failure> {
        let full = !self.bodies.is_empty() && self.bodies.len() + body.len() > FRAME_BYTES;
        if full || self.held.is_some() {
            self.close_frame(origin(), GroupEnd::More)?;
        }
        let bytes = u32::try_from(body.len()).map_err(|_| {
            Failure::fatal(format!("one rows event has {} bytes, more than a frame can hold", body.len()))
        })?;
        self.bodies.extend_from_slice(body);
        self.rows += rows;
        match self.sections.last_mut() {
            Some(last) if last.schema == schema && last.op == op => {
                last.rows += rows;
                last.bytes += bytes;
            }
            _ => self.sections.push(Section { schema, op, rows, bytes }),
        }
        Ok(())
    }

    /// Adds a frame without rows.
    pub(super) fn single(&mut self, header: FrameHeader) -> Result<(), Failure> {
        let origin = header.origin().clone();
        self.close_frame(origin, GroupEnd::More)?;
        self.held = Some(header);
        Ok(())
    }

    /// Ends the group; a group without frames leaves nothing. True when something was appended.
    pub(super) fn end(&mut self, origin: impl FnOnce() -> Origin) -> Result<bool, Failure> {
        let any = !self.sections.is_empty() || self.held.is_some();
        if any {
            self.close_frame(origin(), GroupEnd::Ends)?;
        }
        self.fragmented = false;
        for (key, value) in self.staged.drain(..) {
            self.appender.put_state(&key, value.as_deref());
        }
        Ok(any)
    }

    fn close_frame(&mut self, origin: Origin, end: GroupEnd) -> Result<(), Failure> {
        let header = match self.held.take() {
            Some(header) => header,
            None if self.sections.is_empty() => return Ok(()),
            None => FrameHeader::Rows(RowsHeader {
                origin,
                audience: Audience::All,
                sections: std::mem::take(&mut self.sections),
            }),
        };
        encode_header(&header, &mut self.header)
            .map_err(|error| Failure::fatal("cannot write a frame's header").caused_by(error))?;
        let rows = matches!(header, FrameHeader::Rows(_));
        let bodies: &[u8] = if rows { &self.bodies } else { &[] };
        self.fragmented = true;
        self.appender.append(&[&self.header, bodies], end).map_err(log_failure)?;
        if let FrameHeader::Rows(RowsHeader { mut sections, .. }) = header {
            sections.clear();
            self.sections = sections;
            self.rows = 0;
            self.bodies.clear();
            // One huge row must not hold its memory for ever.
            self.bodies.shrink_to(4 * FRAME_BYTES);
        }
        Ok(())
    }

    /// Stores a value with the end of the group.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.staged.push((key.to_vec(), Some(value.to_vec())));
    }

    /// Removes a value with the end of the group.
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.staged.push((key.to_vec(), None));
    }

    /// Last LSN given out.
    pub(super) fn last_lsn(&self) -> Lsn {
        self.appender.next_lsn().prev()
    }

    /// Whether enough has gathered to hand over.
    pub(super) fn wants_flush(&self) -> bool {
        self.appender.pending_bytes() >= FLUSH_BYTES
    }

    /// Hands what has gathered to the log's writer; waits while the log is full.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.appender.flush().await.map_err(log_failure)
    }

    /// Hands over and waits until it is durable.
    pub(super) async fn flush_durable(&mut self) -> Result<(), Failure> {
        self.appender.flush_durable().await.map_err(log_failure)
    }

    /// Forgets the group that has not ended.
    pub(super) async fn abort(&mut self) -> Result<(), Failure> {
        self.sections.clear();
        self.bodies.clear();
        self.rows = 0;
        self.held = None;
        self.staged.clear();
        self.fragmented = false;
        self.appender.abort_group().await.map_err(log_failure)
    }
}
