//! The first words with the source at a start: which tables there are, and where the stream begins.
//!
//! In a log without a position, the position and the tables to be read are stored in one commit before anything is read, so
//! that a crash at any moment neither moves the start nor forgets a table.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wal::Wal;

use crate::backoff::Backoff;
use crate::codec::stored::{FORMAT, LOG_FORMAT, LogFormat, SOURCE_POSITION, StoredPosition, encode, table_of_key};
use crate::config::{Plan, Startup, clashes};
use crate::error::{ErrorClass, Failure};
use crate::ingest;
use crate::model::TableName;
use crate::pipeline::StartOptions;
use crate::source::mysql::meet::Met;
use crate::source::mysql::snapshot::{STATE_PREFIX, initial_progress, is_unfinished};
use crate::source::mysql::{schema, start};
use crate::telemetry::{Live, SourcePhase};

/// What the source said.
#[derive(Debug)]
pub struct Contact {
    /// Captured tables that exist.
    pub tables: Vec<TableName>,
    /// Tables of them that have to be read from their start.
    pub initial: Vec<TableName>,
    /// Stored progress of snapshots: (key, value).
    pub progress: Vec<(Vec<u8>, Vec<u8>)>,
    /// The connection, for the stream to go on with.
    pub met: Met,
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
            .hint("start without --resume to begin by source.startup_mode"));
    }
    let Met { mut conn, server } = Met::meet(&plan.source).await?;
    let from = start::resolve(&mut conn, &server, stored.as_ref(), &plan.source.startup).await?;
    let tables = schema::list_tables(&mut conn, &plan.source.filter).await?;
    refuse_clashes(plan, &tables)?;
    if tables.is_empty() {
        warn!("no table matches source.include; tables created later are captured");
    }
    let progress = reader
        .state_prefix(STATE_PREFIX)
        .map_err(|error| Failure::fatal("cannot read the snapshot's progress from the log").caused_by(error))?;
    let wanted = plan.source.startup == Startup::Initial;
    let seen: HashSet<TableName> = progress
        .iter()
        .filter_map(|(key, _)| table_of_key(STATE_PREFIX, key))
        .chain(ingest::known_tables(&reader)?)
        .collect();
    let initial: Vec<TableName> =
        if wanted { tables.iter().filter(|table| !seen.contains(table)).cloned().collect() } else { Vec::new() };
    // Shown before it is stored: whoever sees the position sees what is still to be read.
    live.snapshot.set_asked(initial.iter().cloned().chain(unfinished(&reader)?).collect());
    let mut asked = Vec::with_capacity(initial.len());
    for table in &initial {
        let (key, value) = initial_progress(table)?;
        asked.push((key, Some(value)));
    }
    if stored.is_none() {
        let mut changes = vec![
            (FORMAT.key().to_vec(), Some(encode(&LogFormat(LOG_FORMAT))?)),
            (SOURCE_POSITION.key().to_vec(), Some(encode(&StoredPosition::MySql(from.position.clone()))?)),
        ];
        changes.append(&mut asked);
        wal.put_state(changes).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))?;
        info!(file = %from.position.file, pos = from.position.pos, gtid = %from.position.gtid, tables = tables.len(), "a new log begins");
    } else if !asked.is_empty() {
        // Tables that are captured since: stored before anything of them is read, so that no restart forgets them.
        wal.put_state(asked).await.map_err(|error| Failure::fatal("the log cannot be written").caused_by(error))?;
    }
    let progress = reader
        .state_prefix(STATE_PREFIX)
        .map_err(|error| Failure::fatal("cannot read the snapshot's progress from the log").caused_by(error))?;
    Ok(Contact { tables, initial, progress, met: Met { conn, server } })
}

/// Tables whose reading the log asks for and does not hold to its end.
///
/// # Errors
/// When the log cannot be read or an entry is damaged.
pub fn unfinished(reader: &wal::Reader) -> Result<Vec<TableName>, Failure> {
    let progress = reader
        .state_prefix(STATE_PREFIX)
        .map_err(|error| Failure::fatal("cannot read the snapshot's progress from the log").caused_by(error))?;
    let mut tables: Vec<TableName> = ingest::rereads(reader)?.into_iter().map(|reread| reread.table).collect();
    for (key, value) in progress {
        // An entry that cannot be read is shown by the coordinator, as a failed table.
        if let Some(table) = table_of_key(STATE_PREFIX, &key)
            && is_unfinished(&table, &value).unwrap_or(true)
        {
            tables.push(table);
        }
    }
    Ok(tables)
}

fn refuse_clashes(plan: &Plan, tables: &[TableName]) -> Result<(), Failure> {
    for sink in &plan.sinks {
        if let Some(clash) = clashes(tables, sink).into_iter().next() {
            return Err(Failure::fatal(clash.to_string()).hint(format!(
                "put {{database}} into table_name of sink '{}', or exclude one of the tables",
                sink.name
            )));
        }
    }
    Ok(())
}
