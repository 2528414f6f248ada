//! One frame of the log, given to the sink or passed over.

use std::sync::Arc;
use std::time::Instant;

use wal::FrameRef;

use super::followed;
use super::open::Open;
use super::pending::first_undecided;
use super::run::Delivery;
use super::tables::Apart;
use super::tally::{Ours, TableEvent};
use super::walk::damaged_frame;
use crate::codec::catalog::Resolved;
use crate::codec::frame::{Frame, FrameHeader, RowOp, TableChange};
use crate::codec::version::FramePlace;
use crate::error::Failure;
use crate::model::{Origin, SchemaId, TableName};
use crate::sink::{NOT_TAKEN, Schemas};

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
                FrameHeader::Mark { mark, .. } => {
                    let event = TableEvent::of_mark(mark, frame.lsn);
                    if self.sink.takes(event.table()) {
                        open.tally.events.push(event);
                    } else {
                        self.reaches(open, event.table(), Some((NOT_TAKEN, None))).await?;
                    }
                }
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
        let (mut rows, mut passed_over, mut filled) = (0, Vec::new(), Vec::new());
        for section in decoded.described() {
            let section_rows = u64::from(section.rows);
            let ours = if let Some(ours) = open.tally.ours.get_mut(&section.schema) {
                ours
            } else {
                let resolved = open.catalog.resolve(section.schema)?;
                let left_out = matches!(resolved, Resolved::LeftOut { .. });
                let schema = Arc::clone(resolved.schema());
                let why = self.sink.leaves_out(&schema);
                let table = &schema.name;
                let limits = if left_out || why.is_some() { None } else { self.sink.limits_for(table) };
                let own = limits.map(|limits| open.round.own.enter(table, limits, Instant::now()));
                let new = Ours { rows: 0, left_out, apart: why.is_some(), own };
                if !left_out || !self.sink.takes(table) {
                    let apart = why.map(|why| self.apart(table, why, section.schema));
                    self.reaches(open, table, apart).await?;
                }
                open.tally.ours.entry(section.schema).or_insert(new)
            };
            ours.rows += section_rows;
            if ours.apart {
                passed_over.push(section.schema);
                continue;
            }
            if ours.left_out {
                passed_over.push(section.schema);
                let resolved = open.catalog.resolve(section.schema)?;
                open.tally.lose(&resolved.schema().name);
                continue;
            }
            let own = ours.own;
            rows += section_rows;
            if section.op == RowOp::Snapshot {
                let schema = open.catalog.get(section.schema)?;
                let table = &schema.name;
                if self.sink.rules_rows_out(table) && open.tables.is_filled(table, self.events(open)) {
                    filled.push(section.schema);
                }
            }
            if let Some(own) = own {
                open.round.own.add(own, section_rows, usize::try_from(section.bytes).unwrap_or(usize::MAX));
            }
            if !self.sink.is_prepared(section.schema) {
                self.sink.prepare(frame.lsn, section.schema, &mut Schemas::new(&mut open.catalog)).await?;
            }
        }
        for schema in passed_over {
            decoded.leave_out(schema);
        }
        for schema in filled {
            decoded.fill(schema);
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
        let reaching = match reaching {
            None => {
                open.tally.events.extend(TableEvent::of_change(change, None));
                None
            }
            Some(known) => {
                let taken = self.taken(known.into_owned(), open).await?;
                open.tally.events.extend(taken.as_ref().and_then(|taken| TableEvent::of_change(taken, Some(taken))));
                taken
            }
        };
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

    /// Why a table does not reach the sink: because of its name, or because of this schema.
    fn apart(&self, table: &TableName, why: &'static str, schema: SchemaId) -> (&'static str, Option<SchemaId>) {
        (why, self.sink.takes(table).then_some(schema))
    }

    /// What of a change reaches a sink that is configured not to get some tables. A rename to one of those is the end of the table.
    async fn taken(&mut self, change: TableChange, open: &mut Open) -> Result<Option<TableChange>, Failure> {
        let schema = match &change {
            TableChange::Schema { to, .. } => Some(*to),
            TableChange::ReplaceBegin { schema, .. } | TableChange::Rename { schema, .. } => Some(*schema),
            TableChange::Truncate { .. }
            | TableChange::Drop { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => None,
        };
        let Some(id) = schema else { return Ok(self.sink.takes(change.table()).then_some(change)) };
        let schema = open.catalog.get(id)?;
        let why = self.sink.leaves_out(&schema);
        let TableChange::Rename { from, to, .. } = &change else {
            // A replace brings what there is, whatever was before.
            if why.is_some() || !matches!(change, TableChange::ReplaceBegin { .. }) {
                let apart = why.map(|why| self.apart(change.table(), why, id));
                self.reaches(open, change.table(), apart).await?;
            }
            if let (None, TableChange::Schema { table, from: Some(from), .. }) = (why, &change) {
                let before = open.catalog.get(*from)?;
                if let Some(why) = self.sink.distrusts(&before, &schema) {
                    open.tally.events.push(TableEvent::Distrusted { table: table.clone(), why });
                }
            }
            return Ok(why.is_none().then_some(change));
        };
        let was_apart = self.is_apart(from, open) || !self.sink.takes(from);
        let (gone, come) = (TableChange::Drop { table: from.clone() }, to.clone());
        match (was_apart, why) {
            (false, None) => Ok(Some(change)),
            (_, Some(why)) => {
                let apart = self.apart(&come, why, id);
                self.reaches(open, &come, Some(apart)).await?;
                if self.sink.takes(from) {
                    // Also what it had of it before it did not get it any more.
                    return Ok(Some(gone));
                }
                open.tally.events.push(TableEvent::Gone { table: from.clone() });
                Ok(None)
            }
            (true, None) => {
                let apart = Apart { why: format!("it was {from} before"), schema: None };
                open.tally.events.push(TableEvent::Apart { table: come.clone(), apart });
                open.tally.events.push(TableEvent::Back { table: come });
                if self.sink.takes(from) {
                    return Ok(Some(gone));
                }
                open.tally.events.push(TableEvent::Gone { table: from.clone() });
                Ok(None)
            }
        }
    }
}
