//! One frame of the log, given to the sink or passed over.

use std::time::Instant;

use wal::FrameRef;

use super::followed;
use super::open::Open;
use super::pending::first_undecided;
use super::run::Delivery;
use super::tally::{Ours, TableEvent};
use super::walk::damaged_frame;
use crate::codec::catalog::Resolved;
use crate::codec::frame::{Frame, FrameHeader, TableChange};
use crate::codec::version::FramePlace;
use crate::error::Failure;
use crate::model::Origin;
use crate::sink::Schemas;

impl Delivery {
    /// Gives one frame to the sink, or passes it over; false if the delivery ends before that is decided.
    pub(super) async fn take(&mut self, frame: &FrameRef<'_>, open: &mut Open) -> Result<bool, Failure> {
        let mut decoded = Frame::decode(frame.payload).map_err(|error| damaged_frame(frame.lsn, error))?;
        let commit_micros = decoded.header.origin().commit_micros;
        let place = FramePlace { lsn: frame.lsn, position: frame.position };
        let (mut rows, mut is_barrier) = (0, false);
        if decoded.header.audience().includes(&self.name) {
            if let Some(undecided) = first_undecided(&decoded.header, frame.lsn, &mut open.catalog)?
                && !self.wait_for(undecided, open).await?
            {
                return Ok(false);
            }
            match &decoded.header {
                FrameHeader::Rows(_) => rows = self.rows(frame, place, &mut decoded, open).await?,
                FrameHeader::Change { origin, change, .. } => {
                    is_barrier = self.change(place, origin, change, open).await?;
                }
                FrameHeader::Mark { mark, .. } => open.tally.events.push(TableEvent::of_mark(mark, frame.lsn)),
                FrameHeader::Check(_) => {
                    return Err(Failure::fatal(format!(
                        "a check frame at lsn {} is newer than this program",
                        frame.lsn
                    ))
                    .hint("start the version that wrote it"));
                }
            }
        } else {
            open.tally.pass_over(&decoded);
            self.live.passed_over();
        }
        open.round.add(frame.lsn, frame.payload.len(), rows, frame.end_of_group, commit_micros);
        open.at = frame.lsn;
        open.between_groups = frame.end_of_group;
        self.live.delivered(frame.lsn);
        if is_barrier && open.round.end().is_some() {
            self.commit(open).await?;
            self.settle(open).await?;
        }
        Ok(true)
    }

    /// Gives the rows of a frame to the sink, without those whose schema is left out; returns how many.
    async fn rows(
        &mut self,
        frame: &FrameRef<'_>,
        place: FramePlace,
        decoded: &mut Frame<'_>,
        open: &mut Open,
    ) -> Result<u64, Failure> {
        let (mut rows, mut left_out) = (0, Vec::new());
        for section in decoded.described() {
            let section_rows = u64::from(section.rows);
            let ours = if let Some(ours) = open.tally.ours.get_mut(&section.schema) {
                ours
            } else {
                let resolved = open.catalog.resolve(section.schema)?;
                let left_out = matches!(resolved, Resolved::LeftOut { .. });
                let table = &resolved.schema().name;
                let limits = if left_out { None } else { self.sink.limits_for(table) };
                let own = limits.map(|limits| open.round.own.enter(table, limits, Instant::now()));
                let new = Ours { rows: 0, left_out, own };
                open.tally.ours.entry(section.schema).or_insert(new)
            };
            ours.rows += section_rows;
            if ours.left_out {
                left_out.push(section.schema);
                let resolved = open.catalog.resolve(section.schema)?;
                open.tally.lose(&resolved.schema().name);
                continue;
            }
            rows += section_rows;
            if let Some(own) = ours.own {
                open.round.own.add(own, section_rows, usize::try_from(section.bytes).unwrap_or(usize::MAX));
            }
            if !self.sink.is_prepared(section.schema) {
                self.sink.prepare(frame.lsn, section.schema, &mut Schemas::new(&mut open.catalog)).await?;
            }
        }
        for schema in left_out {
            decoded.leave_out(schema);
        }
        if rows > 0 {
            self.sink.write(place, decoded, &mut Schemas::new(&mut open.catalog))?;
        }
        // At the end of a transaction the round is committed instead.
        if !frame.end_of_group && self.sink.pending_bytes() > self.sink.limits().spill_bytes {
            self.settle(open).await?;
            self.sink.spill().await?;
        }
        Ok(rows)
    }

    /// Gives a change to the sink, or passes it over; true if the round has to end after it.
    async fn change(
        &mut self,
        place: FramePlace,
        origin: &Origin,
        change: &TableChange,
        open: &mut Open,
    ) -> Result<bool, Failure> {
        let reaching = followed(change, &mut open.catalog)?;
        open.tally.events.extend(TableEvent::of_change(change, reaching.as_deref()));
        let Some(change) = reaching else {
            self.live.passed_over();
            return Ok(false);
        };
        let is_barrier = self.sink.is_barrier(place.lsn, &change);
        if is_barrier {
            self.commit(open).await?;
            self.settle(open).await?;
        }
        self.sink.change(place, origin, &change, &mut Schemas::new(&mut open.catalog)).await?;
        self.letters.follow(&change);
        self.has_changed = true;
        Ok(is_barrier)
    }
}
