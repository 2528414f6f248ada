//! The first words with the source at a start: which tables there are, and where the stream begins.
//!
//! In a log without a position, the position and the tables to be read are stored in one commit before anything is read, so
//! that a crash at any moment neither moves the start nor forgets a table. So are a new position in place of one that is of no use any
//! more ([`position`]), and the reads of every table that follow from it.

mod position;

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_async::Conn;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wal::{Reader, Wal};

use self::position::{Continues, InLog, Leave, continues};
use crate::backoff::Backoff;
use crate::codec::stored::{
    FORMAT, LOG_FORMAT, LogFormat, SOURCE_NAMES, SOURCE_POSITION, SOURCE_REFUSED, StoredPosition, encode, source_names,
};
use crate::config::{Plan, Startup};
use crate::error::{ErrorClass, Failure};
use crate::ingest;
use crate::model::{SourcePosition, TableName, Xid};
use crate::pipeline::StartOptions;
use crate::rule_names;
use crate::source::mysql::meet::Met;
use crate::source::mysql::places::binlog_end;
use crate::source::mysql::schema;
use crate::source::mysql::schema::{Existence, Listed, Listing, Nature, Unmatched, Why};
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::xa;
use crate::table::{self, Capture, Presence, Started, Starting, TableRecord};
use crate::telemetry::{Live, SourcePhase, now_micros};

/// What the source said.
#[derive(Debug)]
pub struct Contact {
    /// The connection, for the stream to go on with.
    pub met: Met,
    /// The configuration under the source's rule for names.
    pub plan: Box<Plan>,
    /// The log has a position that was taken just now.
    pub is_new: bool,
}

/// Attempts of a `--once` start to reach a source that is away.
const ONCE_ATTEMPTS: u32 = 8;

/// Talks to the source until it answers; `None` when told to stop first.
///
/// # Errors
/// When the source or the configuration does not fit; with `once`, also when the source stays away.
pub async fn make(
    plan: &Plan,
    options: &StartOptions,
    wal: &Wal,
    live: &Arc<Live>,
    stop: &CancellationToken,
) -> Result<Option<Contact>, Failure> {
    let mut backoff = Backoff::default();
    loop {
        // What it writes is one commit, which is there or not when it is left.
        let attempted = tokio::select! {
            attempted = attempt(plan, options, wal, live) => attempted,
            () = stop.cancelled() => return Ok(None),
        };
        let failure = match attempted {
            Ok(contact) => return Ok(Some(contact)),
            Err(failure) => failure,
        };
        let given_up = options.once && backoff.attempts() >= ONCE_ATTEMPTS;
        if failure.class != ErrorClass::Retry || given_up {
            live.source.phase(SourcePhase::Failed, Some(failure.chain()));
            return Err(failure);
        }
        let wait = backoff.next_wait();
        warn!(error = %failure.chain(), attempt = backoff.attempts(), ?wait, "source not reached, trying again");
        live.source.phase(SourcePhase::Connecting, Some(failure.chain()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

async fn attempt(plan: &Plan, options: &StartOptions, wal: &Wal, live: &Live) -> Result<Contact, Failure> {
    let reader = wal.reader();
    let stored = ingest::stored_position(&reader)?;
    if options.resume && stored.is_none() {
        return Err(Failure::fatal(format!("the log in '{}' has no position to resume from", plan.wal.path.display()))
            .hint("run `replicator start` without --resume: it begins the log as source.startup_mode says"));
    }
    let Met { mut conn, server } = Met::meet(&plan.source).await?;
    let plan = Box::new(plan.under(server.names)?);
    let records = table::records(&reader)?;
    let names = source_names(&reader)?;
    let log = InLog { stored: stored.as_ref(), names, known: records.iter().map(|(table, _)| table).collect() };
    let leave = Leave { operator: options.new_position, on_purged: plan.source.on_purged };
    let Continues { from, skipped } = continues(&mut conn, &server, (&plan, leave), log, &reader).await?;
    let began = stored.is_none() || skipped.is_some();
    let prepared = if began { prepared(&mut conn, &server).await? } else { Vec::new() };
    let may_be_unseen = began && xa::may_be_unseen(&mut conn, server.flavour).await?;
    let listing = schema::list(&mut conn, &plan.source.filter).await?;
    let tables: Vec<TableName> = listing.tables.iter().map(|listed| listed.table.clone()).collect();
    if tables.is_empty() {
        warn!("no table matches source.include; tables created later are captured");
    }
    for unknown in rule_names::look_up(&mut conn, &server, &plan, &tables).await? {
        warn!(hint = rule_names::HINT, "{unknown}");
    }
    let found = found(&mut conn, &plan, &listing, &records, skipped.is_some()).await?;
    let end = binlog_end(&mut conn, &server).await?;
    let is_there = end.file == from.position.file && end.pos == from.position.pos;
    let asked = ingest::asked_beside(&reader)?;
    let cursors: Vec<String> = wal.cursors().into_iter().map(|cursor| cursor.name).collect();
    let configured: Vec<String> = plan.sinks.iter().map(|sink| sink.name.clone()).collect();
    let mut changes: Vec<_> = asked.iter().map(|(table, _)| ingest::forget_beside(table)).collect();
    let awaited = records.iter().filter(|(_, record)| record.awaits.is_some());
    let awaited: Vec<TableName> = awaited.map(|(table, _)| table.clone()).collect();
    let starting = Starting {
        records,
        asked,
        found: &found,
        end,
        is_there,
        configured: &configured,
        captures: |table: &TableName| plan.source.filter.captures(&table.database, &table.table),
        rules: |table: &TableName| plan.source.doubts.rules_for(table, plan.source.filter.names()),
        sinks: &cursors,
        initial: plan.source.startup == Startup::Initial,
        skipped: skipped.as_deref(),
    };
    let at = (wal.positions().borrow().durable.next(), now_micros());
    let Started { changed, told } = table::start(starting, at);
    for (table, what) in told {
        warn!(%table, "{what}");
    }
    for (table, record) in &changed {
        changes.push(record.change(table)?);
    }
    let is_left = |record: &TableRecord| matches!(record.capture, Capture::Left(_));
    let left: Vec<&TableName> = changed.iter().filter(|(_, record)| is_left(record)).map(|(table, _)| table).collect();
    changes.extend(ingest::left_definitions(&reader, &left)?);
    let is_new = |table: &TableName, record: &TableRecord| record.is_captured_from(at.0) && !awaited.contains(table);
    let captured = changed.iter().filter(|(table, record)| is_new(table, record));
    let captured: Vec<TableName> = captured.map(|(table, _)| table.clone()).collect();
    changes.extend(ingest::captured_from_here(&reader, &captured)?);
    if let Some(why) = &skipped {
        changes.extend(ingest::unseen_definitions(&reader, why)?);
    }
    if skipped.is_some() || is_over(&reader, stored.as_ref())? {
        changes.push((SOURCE_REFUSED.key().to_vec(), None));
    }
    if stored.is_none() {
        changes.push((FORMAT.key().to_vec(), Some(encode(&LogFormat(LOG_FORMAT))?)));
    }
    if began {
        changes.extend(ingest::unread_transactions(&reader, &prepared)?);
        if may_be_unseen {
            changes.push(ingest::unseen_commits(now_micros())?);
        }
        changes.push((SOURCE_POSITION.key().to_vec(), Some(encode(&StoredPosition::MySql(from.position.clone()))?)));
    }
    if stored.is_none() || names != server.names {
        changes.push((SOURCE_NAMES.key().to_vec(), Some(encode(&server.names)?)));
    }
    // Shown before it is stored: whoever sees the position sees what is still to be read.
    for (table, record) in changed {
        live.record(&table, record);
    }
    if !changes.is_empty() {
        wal.put_state(changes).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))?;
    }
    if stored.is_none() {
        info!(file = %from.position.file, pos = from.position.pos, gtid = %from.position.gtid, tables = tables.len(), "a new log begins");
    }
    Ok(Contact { met: Met { conn, server }, plan, is_new: began })
}

/// The transactions that are prepared at the source: what they did is before the position that was taken, and their end after it.
async fn prepared(conn: &mut Conn, server: &ServerInfo) -> Result<Vec<Xid>, Failure> {
    let listed = xa::listed(conn, server.flavour).await?;
    if listed.is_none() {
        info!(
            "the account may not ask which XA transactions are prepared at the source, so reads wait for none: if one is committed, every \
             table is read again (GRANT {} ON *.* allows it to)",
            xa::GRANT
        );
    }
    Ok(listed.unwrap_or_default())
}

/// Whether what a stream met at a position is over, because the log has another one.
fn is_over(reader: &Reader, stored: Option<&SourcePosition>) -> Result<bool, Failure> {
    Ok(ingest::refused_position(reader)?.is_some_and(|refused| Some(&refused.position) != stored))
}

/// What the source says of every table that is captured, or was.
async fn found(
    conn: &mut Conn,
    plan: &Plan,
    listing: &Listing,
    records: &[(TableName, TableRecord)],
    is_skipped: bool,
) -> Result<BTreeMap<TableName, Presence>, Failure> {
    let mut found = BTreeMap::new();
    for Listed { table, nature } in &listing.tables {
        let presence = match nature {
            Nature::Copied => Presence::Listed,
            Nature::LeftOut(by) => Presence::ByNature(by.to_string()),
        };
        found.insert(table.clone(), presence);
    }
    for unmatched in &listing.unmatched {
        warn!(table = %unmatched.table, remedy = %unmatched.remedy(), "source.include names it, and {}", unmatched.reason());
        if let Why::Denied { .. } = unmatched.why {
            found.insert(plan.source.filter.names().table(unmatched.table.clone()), denied(unmatched));
        }
    }
    // What is not listed of the tables that come back, or are left out, may be hidden, or gone. After a new position, all of them come back.
    for (table, record) in records {
        let is_out = record.is_captured() && record.left_out.is_some();
        let is_back = (is_skipped && record.is_captured()) || is_out || matches!(record.capture, Capture::Left(_));
        let is_back = is_back && plan.source.filter.captures(&table.database, &table.table);
        if is_back && !found.contains_key(table) {
            let presence = match schema::existence(conn, table).await? {
                Existence::Exists | Existence::Broken { .. } => Presence::Unknown,
                Existence::NoSuchTable => Presence::Missing,
                Existence::Denied { grant } => Presence::Denied(format!("the account may not read it ({grant})")),
            };
            found.insert(table.clone(), presence);
        }
    }
    Ok(found)
}

fn denied(unmatched: &Unmatched) -> Presence {
    Presence::Denied(format!("{} ({})", unmatched.reason(), unmatched.remedy()))
}
