//! The open target: its tables, the rows of the round on their way, and the tables that are stopped.
//!
//! A round has an INSERT per table, or two for a table with many rows, all of them under way at once, and the next round's are made while the server stores them. Each
//! is one block of the server, so it is stored as a whole or not at all; the cursor follows when all are stored. Row versions make a
//! repeated INSERT harmless, so a round of which anything failed is simply sent again.
//!
//! What is wrong with one table stops that table: its rows of the round are dropped, the stop is written down, and the others go on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;
use tokio::runtime::Handle;
use wal::{LogId, Lsn};

use super::batch::Stored;
use super::client::Client;
use super::creation::Creations;
use super::cursor::Cursor;
use super::error::Refused;
use super::halving::{Halved, Kept};
use super::layout::ClickHouse;
use super::names::literal;
use super::registry;
use super::report::{Acknowledged, Reports};
use super::round::{Ended, EndedInsert, RoundRows};
use super::writer::Rows;
use super::{cursor, open, refusals};
use crate::config::SinkPlan;
use crate::error::{ErrorClass, Failure};
use crate::model::{RowCounts, TableName};
use crate::sink::claim::{Claim, Opener, taken};
use crate::sink::clickhouse::ClickHousePlan;
use crate::sink::counts::Counts;
use crate::sink::definitions::Followed;
use crate::sink::epoch::Owner;
use crate::sink::follow::Lookup;
use crate::sink::refusals::{accepted, weigh};
use crate::sink::rows;
use crate::sink::stops;
use crate::sink::{Line, SentBatch, TakeOver, TargetState};
use crate::telemetry::BatchesLive;

/// How often the server is asked for the parts of each table.
const PARTS_EVERY: Duration = Duration::from_secs(15);
/// And how long it is left alone after it has not told them.
const PARTS_AGAIN: Duration = Duration::from_hours(1);

/// An open target.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) plan: SinkPlan,
    pub(super) clickhouse: ClickHousePlan,
    /// This log, and the epoch of the versions of its rows.
    pub(super) owner: Owner,
    /// Under which it is open.
    claim: Claim,
    pub(super) dialect: ClickHouse,
    /// Its tables and their changes.
    pub(super) followed: Followed<String, Rows>,
    pub(super) rows: RoundRows,
    pub(super) creations: Creations,
    on_their_way: Option<OnTheirWay>,
    /// Of the rounds that have settled.
    settled: Counts,
    /// How the server's count of rows is read.
    pub(super) reports: Reports,
    sent: Vec<SentBatch>,
    parts_asked: Instant,
}

/// A round whose INSERTs have ended and are being stored.
struct OnTheirWay {
    /// First frame of their round.
    since: Lsn,
    /// Its end, if it has ended.
    end: Option<Lsn>,
    counts: Counts,
    inserts: Ended,
}

impl Target {
    /// Connects, and reads what the target holds of this sink.
    pub(super) async fn open(
        plan: &SinkPlan,
        clickhouse: &ClickHousePlan,
        runtime: Handle,
        log: LogId,
        opener: &mut Opener,
    ) -> Result<(Self, TargetState), Failure> {
        Self::open_as(plan, clickhouse, runtime, log, (None, opener)).await
    }

    /// Connects, and takes the target over, at `at`.
    pub(super) async fn take_over(
        plan: &SinkPlan,
        clickhouse: &ClickHousePlan,
        runtime: Handle,
        taking: TakeOver<'_>,
        opener: &mut Opener,
    ) -> Result<(Self, TargetState), Failure> {
        Self::open_as(plan, clickhouse, runtime, taking.log, (Some(taking), opener)).await
    }

    async fn open_as(
        plan: &SinkPlan,
        clickhouse: &ClickHousePlan,
        runtime: Handle,
        log: LogId,
        (take_over, opener): (Option<TakeOver<'_>>, &mut Opener),
    ) -> Result<(Self, TargetState), Failure> {
        let client = Client::new(clickhouse, runtime)?;
        open::reach(&client, clickhouse).await?;
        cursor::create(&client, &clickhouse.database).await?;
        registry::create(&client).await.map_err(|error| error.failure("make the sink's own tables"))?;
        let read = |what: &'static str| move |error: Refused| error.failure(what);
        let (found, lines) = tokio::try_join!(cursor::read(&client, &plan.name), registry::load(&client, &plan.name))?;
        let seen = cursor::state(found, log, !lines.0.is_empty() || !lines.1.is_empty());
        let cursor = found.cursor();
        let stored = cursor.map(|cursor| cursor.owner);
        let (owner, state) = match take_over {
            None => (Owner::of(&plan.name, stored, log)?, seen),
            Some(TakeOver { at, is_again, .. }) => {
                let newest = match seen {
                    TargetState::Lost(_) => registry::newest_epoch(&client, &plan.name, &lines.0, &clickhouse.database)
                        .await
                        .map_err(read("look for the newest epoch"))?,
                    TargetState::Fresh | TargetState::At { .. } => stored.map(|owner| owner.epoch),
                };
                let again = stored.filter(|owner| is_again && owner.log == log);
                let owner = again.map_or_else(|| Owner::taking_over(&plan.name, newest, log), Ok)?;
                (owner, TargetState::At { log, epoch: owner.epoch, applied: at })
            }
        };
        let (changes, stops, refusals) = tokio::try_join!(
            registry::load_changes(&client, &plan.name, owner.epoch)
                .map_err(read("read how far the tables' changes have come")),
            registry::load_stops(&client, &plan.name, owner.epoch).map_err(read("read the sink's stopped tables")),
            refusals::load(&client, &plan.name).map_err(read("read how long the server has refused tables")),
        )?;
        let Some(claim) = opener.next(cursor.map(|cursor| cursor.claim)) else {
            return Err(taken(&plan.name, "database", (log, stored.map_or(log, |stored| stored.log))));
        };
        if take_over.is_some() && found == cursor::Found::Unreadable {
            cursor::void(&client, &plan.name).await?;
        }
        // Before anything of it is there. One of another log is not claimed by looking at it.
        if state.is_for(log) {
            cursor::claim(&client, &plan.name, Cursor { owner, claim, applied: state.applied() }).await?;
            opener.holds(claim);
        }
        let mut target = Self {
            client,
            plan: plan.clone(),
            clickhouse: clickhouse.clone(),
            owner,
            claim,
            dialect: ClickHouse(clickhouse.types),
            followed: Followed::new(lines, stops, changes, state),
            rows: RoundRows::new(plan.batch),
            creations: Creations::default(),
            on_their_way: None,
            settled: Counts::default(),
            reports: Reports::default(),
            sent: Vec::new(),
            parts_asked: Instant::now(),
        };
        target.followed.refusals = refusals;
        Ok((target, state))
    }

    /// Bytes of the round's rows.
    pub(super) fn round_bytes(&self) -> usize {
        usize::try_from(self.rows.bytes()).unwrap_or(usize::MAX)
    }

    /// Ends every INSERT of the round; the server stores them while the next round's rows come.
    pub(super) async fn send(&mut self, end: Lsn) -> Result<(), Failure> {
        self.end_creations().await?;
        let since = self.followed.began.take().unwrap_or(end);
        let mut counts = std::mem::take(&mut self.followed.counts);
        let inserts = self.rows.end_all(&self.client, &mut counts);
        self.followed.letters.close(end);
        self.on_their_way = Some(OnTheirWay { since, end: Some(end), counts, inserts });
        Ok(())
    }

    /// Stores what there is of a round that has not ended.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.end_creations().await?;
        let since = self.followed.began.unwrap_or(Lsn::ZERO);
        let mut counts = std::mem::take(&mut self.followed.counts);
        let inserts = self.rows.end_all(&self.client, &mut counts);
        self.on_their_way = Some(OnTheirWay { since, end: None, counts, inserts });
        self.settle().await
    }

    /// Waits until the server has stored the round that was sent, then writes the cursor.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        let Some(OnTheirWay { since, end, mut counts, mut inserts }) = self.on_their_way.take() else { return Ok(()) };
        let mut first = None;
        let mut whole = BTreeSet::new();
        let mut halved: Vec<Halved> = Vec::new();
        let mut stored_rows: BTreeMap<TableName, Vec<Kept>> = BTreeMap::new();
        let mut refused: BTreeMap<TableName, Failure> = BTreeMap::new();
        while let Some(done) = inserts.join_next().await {
            let EndedInsert { table, taken, kept, opening, stored } =
                done.map_err(|error| Refused::interrupted(&error).failure("insert rows"))?;
            match stored {
                Ok(stored) => {
                    let Stored { live, taken, .. } = stored;
                    tracing::debug!(
                        sink = %self.plan.name, %table, rows = live.rows, bytes = live.bytes, seconds = live.seconds, "batch stored"
                    );
                    let Acknowledged { rows: acknowledged, sent } = self.acknowledged(&table, &stored).await?;
                    counts.add(&table, RowCounts { acknowledged, sent, ..taken });
                    whole.insert(table.clone());
                    stored_rows.entry(table.clone()).or_default().extend(kept);
                    self.sent.push(SentBatch { table, batch: live });
                }
                Err(error) if error.is_of_rows() && !kept.is_empty() => {
                    halved.push(Halved { table, taken, kept, opening, error });
                }
                Err(error) => {
                    let failure = error.failure(&format!("insert into the table of {table}"));
                    let taken = taken.taken;
                    // They are left out if the table stops; if not, the round is given up.
                    counts.skip(&table, taken);
                    // Of two, the one that is about the table.
                    match refused.get_mut(&table) {
                        Some(other) if other.class == ErrorClass::Row => {}
                        Some(other) => *other = failure,
                        None => drop(refused.insert(table, failure)),
                    }
                }
            }
        }
        // A later row ends letters of earlier ones.
        halved.sort_by_key(Halved::begin);
        for refusal in halved {
            let (table, taken) = (refusal.table.clone(), refusal.taken.taken);
            let others = stored_rows.get(&table).map(Vec::as_slice).unwrap_or_default();
            match self.halve(refusal, others).await? {
                Ok(counted) => counts.add(&table, counted),
                Err(failure) => {
                    counts.skip(&table, taken);
                    refused.insert(table, failure);
                }
            }
        }
        // One of a table's INSERTs that is stored says nothing of another one, and a piece of a transaction nothing of the next.
        if end.is_some() {
            for table in whole.iter().filter(|table| !refused.contains_key(*table)) {
                if let Err(failure) = accepted(self, table).await {
                    first.get_or_insert(failure);
                }
            }
        }
        for (table, failure) in refused {
            let failure = weigh(self, &table, failure).await;
            if failure.class == ErrorClass::Row {
                stops::stop_at(self, &table, since, &failure.chain());
            } else {
                first.get_or_insert(failure);
            }
        }
        if let Some(failure) = first {
            return Err(failure);
        }
        stops::write_stops(self).await?;
        let Some(end) = end else {
            self.followed.counts.append(counts);
            return self.followed.letters.store_early().await;
        };
        // Durable before the cursor is where their rows are left out.
        self.followed.letters.store().await?;
        cursor::advance(&self.client, &self.plan.name, Cursor { owner: self.owner, claim: self.claim, applied: end })
            .await?;
        self.followed.applied = end;
        self.settled.append(counts);
        if self.parts_asked.elapsed() >= PARTS_EVERY {
            self.parts_asked = Instant::now();
            self.ask_parts().await;
        }
        Ok(())
    }

    /// Writes a line of a history that is kept as a dead letter. Its version makes it harmless where it is there already, and a line that the
    /// server refuses once more says nothing of its table.
    pub(super) async fn try_line(&mut self, line: Line<'_>, lookup: &mut Lookup<'_>) -> Result<bool, Failure> {
        self.end_creations().await?;
        let counts = std::mem::take(&mut self.followed.counts);
        let tried = rows::try_line(self, line, lookup);
        let written = match tried {
            Ok(true) => self.send_line().await,
            tried => {
                self.rows.drop_table(&line.letter.table);
                tried
            }
        };
        self.followed.counts = counts;
        written
    }

    /// Sends a line, with no other row at hand; says whether the server takes it.
    async fn send_line(&mut self) -> Result<bool, Failure> {
        let mut inserts = self.rows.end_all(&self.client, &mut Counts::default());
        let mut is_taken = true;
        while let Some(done) = inserts.join_next().await {
            let EndedInsert { table, stored, .. } =
                done.map_err(|error| Refused::interrupted(&error).failure("insert rows"))?;
            match stored.map_err(|error| error.failure(&format!("insert into the table of {table}"))) {
                Ok(_) => {}
                Err(failure) if failure.class == ErrorClass::Row => {
                    tracing::warn!(sink = %self.plan.name, %table, error = %failure.chain(), "the server refuses the line of a dead letter");
                    is_taken = false;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(is_taken)
    }

    /// What became of the rows of the rounds that have settled since the last call.
    pub(super) fn take_counts(&mut self) -> Vec<(TableName, RowCounts)> {
        self.settled.take()
    }

    /// What was sent since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<SentBatch> {
        std::mem::take(&mut self.sent)
    }

    /// Parts are shown and decide nothing, so a server that does not tell them is no error.
    async fn ask_parts(&mut self) {
        let sql = format!(
            "SELECT table, count() FROM system.parts WHERE database = {} AND active GROUP BY table",
            literal(&self.clickhouse.database)
        );
        let parts: HashMap<String, u64> = match self.client.rows::<(String, u64)>(&sql).await {
            Ok(rows) => rows.into_iter().collect(),
            Err(refused) => {
                tracing::warn!(sink = %self.plan.name, error = %refused, "the server does not tell its parts");
                // A privilege that is missing stays missing: the log is not for repeating it.
                self.parts_asked = Instant::now() + PARTS_AGAIN;
                return;
            }
        };
        for (name, table) in &self.followed.tables {
            let parts = Some(parts.get(&table.layout.target).copied().unwrap_or(0));
            self.sent.push(SentBatch { table: name.clone(), batch: BatchesLive { parts, ..BatchesLive::default() } });
        }
    }
}
