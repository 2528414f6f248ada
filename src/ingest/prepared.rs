//! Two-phase transactions that were prepared before the log began: their names, as the source lists them, and the reads that wait for them.
//!
//! What such a transaction did is in no part of the binlog that is read, so its `XA COMMIT` is a doubt about every captured table. Reads that
//! begin after it bring its rows. So they wait until the transactions have ended, at most for `source.xa_wait`. An end that writes nothing
//! to the binlog shows in the list alone, which is asked for every few seconds meanwhile.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::core::Core;
use super::ledger::Log;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::{FilePos, Xid};
use crate::source::mysql::places::binlog_end;
use crate::source::mysql::question;
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::stream_server::StreamServer;
use crate::source::mysql::xa;

/// Time between two looks at the list while reads wait.
const EVERY: Duration = Duration::from_secs(2);
/// Time between two looks for a transaction that was not listed.
const AGAIN: Duration = Duration::from_secs(61);

/// What a look has found: the list, where the binlog ended after it, and when it was asked for. `None`: it could not be asked.
pub(super) type Looked = Option<(Vec<Xid>, FilePos, Instant)>;

/// Looks at the list for as long as reads wait, or it has to be seen whether a transaction is gone. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Looks {
    found: mpsc::Receiver<Looked>,
    task: Option<JoinHandle<()>>,
}

impl Looks {
    /// For a stream of this server. `waits`: reads wait; `is_listed`: a first list may lack a transaction. Otherwise nobody looks.
    pub(super) fn start(
        plan: SourcePlan,
        server: ServerInfo,
        stream_server: StreamServer,
        (waits, is_listed): (bool, bool),
    ) -> Self {
        let (tell, found) = mpsc::channel(1);
        let task = (waits || is_listed).then(|| {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(if waits { EVERY } else { AGAIN }).await;
                    let looked = look(&plan, &server, &stream_server).await.unwrap_or_else(|failure| {
                        debug!(error = %failure.chain(), "the prepared transactions are looked at again");
                        None
                    });
                    if tell.send(looked).await.is_err() {
                        return;
                    }
                }
            })
        });
        Self { found, task }
    }

    /// What the next look has found; never while nobody looks. A call that is dropped loses nothing.
    pub(super) async fn next(&mut self) -> Looked {
        match self.found.recv().await {
            Some(looked) => looked,
            None => std::future::pending().await,
        }
    }

    /// What a look has found that is there already.
    pub(super) fn try_next(&mut self) -> Option<Looked> {
        self.found.try_recv().ok()
    }

    /// Nothing is waited for any more.
    pub(super) fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.end();
    }
}

async fn look(plan: &SourcePlan, server: &ServerInfo, stream_server: &StreamServer) -> Result<Looked, Failure> {
    let mut conn = question::open(plan, stream_server).await?;
    let asked = Instant::now();
    let listed = xa::listed(&mut conn, server.flavour).await?;
    let end = binlog_end(&mut conn, server).await?;
    question::close(conn).await;
    Ok(listed.map(|listed| (listed, end, asked)))
}

/// The wait of the reads.
#[derive(Debug)]
pub(super) struct Wait {
    /// `None`: nothing is waited for any more.
    until: Option<Instant>,
}

impl Wait {
    /// For a daemon that resumes from a log.
    pub(super) fn none() -> Self {
        Self { until: None }
    }

    /// Of one that has just taken the position of its log.
    pub(super) fn begin<L: Log>(core: &Core<L>, longest: Duration) -> Self {
        let waits = core.unread_transactions();
        if waits.is_empty() {
            return Self::none();
        }
        for xid in &waits {
            warn!(
                %xid,
                "a transaction was prepared before the log began, and what it changed is not known: reads of tables wait for its end, at \
                 most for {} s (source.xa_wait)",
                longest.as_secs()
            );
        }
        Self { until: Some(Instant::now() + longest) }
    }

    /// Whether reads wait.
    pub(super) fn waits<L: Log>(&mut self, core: &Core<L>) -> bool {
        let Some(until) = self.until else { return false };
        let has_ended = core.unread_transactions().is_empty();
        if has_ended {
            info!("every transaction that was prepared before the log began has ended");
        } else if Instant::now() >= until {
            warn!(
                "reads of tables do not wait any longer for transactions that were prepared before the log began (source.xa_wait): every \
                 table is read again once one of them is committed"
            );
        } else {
            return true;
        }
        self.until = None;
        false
    }

    /// Names of the transactions that reads wait for.
    pub(super) fn names<L: Log>(&self, core: &Core<L>) -> Vec<String> {
        if self.until.is_none() {
            return Vec::new();
        }
        core.unread_transactions().iter().map(ToString::to_string).collect()
    }
}
