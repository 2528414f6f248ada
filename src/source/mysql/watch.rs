//! The watch beside the stream: whether the server still has the binlog that is read.
//!
//! A dump says nothing of what happens to the binlog under it. When the binlogs are reset, the server goes on sending
//! heartbeats for files that are gone; when the address moves to another server, the old connection lives on. So every
//! [`EVERY`] a new connection to the address asks who is there, and where its binlog ends. A look ends the stream only
//! where it is certain that something does not fit, because its answer is compared with what the stream had *before* it
//! was asked:
//!
//! | found | what it means |
//! |---|---|
//! | another server, [`CONFIRMED`] times in a row | the address has moved; once may be a proxy that leads to several servers |
//! | an end before the stream's position | the binlogs were reset |
//! | the end of a look [`STALLED`] ago or more, which a stream that has read all that came has not reached | the dump is stuck |
//! | `gtid_mode` that is not ON under a stream by GTIDs | the dump would fail at the next transaction |
//!
//! The watch only ends the session, with an error that is tried again. The stream is then opened again from the log's
//! position, where [`start`](super::start) and the decoder check the position against the server that is there, say
//! what is wrong and the way out, or go on.
//!
//! A look that fails says nothing, and is tried again. While none has succeeded for [`PROVEN`], nothing proves that the
//! stream is at the end of the binlog, whatever heartbeats it gets, and the lag grows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::places::end_of_binlog;
use super::server::{GtidMode, Known};
use super::stream_server::{StreamServer, another};
use super::{connect, question};
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::{FilePos, ServerIdentity};

/// Pause between two looks. With [`LIMIT`] and [`SOON`] it keeps what is noticed within 30 s, also where one look
/// fails.
const EVERY: Duration = Duration::from_secs(8);
/// Pause before a look that confirms another one, or takes the place of one that failed.
const SOON: Duration = Duration::from_secs(1);
/// Longest look; longer ones fail.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a look counts.
const PROVEN: Duration = Duration::from_secs(30);
/// Looks in a row that have to reach another server.
const CONFIRMED: u32 = 3;
/// A stream that has had nothing to read so long after the server's binlog was further is stuck.
const STALLED: Duration = Duration::from_secs(4);
/// A stream that had read everything so recently still has nothing to read: heartbeats come more often.
const STILL: Duration = Duration::from_secs(3);

/// The longest way to a verdict: an end is found, the look after it fails, and the next one sees a stream that has not
/// come to it.
const _: () = assert!(2 * EVERY.as_secs() + 2 * LIMIT.as_secs() + SOON.as_secs() < 30);

/// What the stream was opened with.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The server.
    pub identity: ServerIdentity,
    /// It was asked for by GTIDs of MySQL.
    pub by_gtid: bool,
}

/// Where the stream is.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Its last boundary; `None` while it does not know its file.
    at: Option<FilePos>,
    /// When it last had read everything that had come, at this boundary.
    dry: Option<Instant>,
}

/// Where the stream was before a look.
#[derive(Clone, Debug)]
struct Before {
    place: Place,
    /// When the look began.
    asked: Instant,
}

/// What a look has found.
#[derive(Clone, Debug)]
struct Looked {
    identity: ServerIdentity,
    gtid_mode: GtidMode,
    /// The end of the binlog; not asked of another server.
    end: Option<FilePos>,
}

/// What a look means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Fits,
    AnotherServer,
    Reset { end: FilePos, read: FilePos },
    Stuck { end: FilePos, read: FilePos },
    GtidsOff(GtidMode),
}

/// Judges a look. `earlier`: the end that an earlier look found, and when.
fn judge(watched: &Watched, before: &Before, earlier: Option<&(FilePos, Instant)>, looked: &Looked) -> Verdict {
    if looked.identity != watched.identity {
        return Verdict::AnotherServer;
    }
    let Before { place: Place { at, dry }, asked } = before;
    if let (Some(read), Some(end)) = (at, &looked.end) {
        // A name without a number is the decoder's business.
        if end.reaches(read) == Some(false) {
            return Verdict::Reset { end: end.clone(), read: read.clone() };
        }
        if let Some((end, found)) = earlier
            && read.reaches(end) == Some(false)
            && dry.is_some_and(|dry| dry >= *found + STALLED && dry + STILL >= *asked)
        {
            return Verdict::Stuck { end: end.clone(), read: read.clone() };
        }
    }
    if watched.by_gtid && looked.gtid_mode != GtidMode::On {
        return Verdict::GtidsOff(looked.gtid_mode);
    }
    Verdict::Fits
}

/// The watch of one session of the stream. It ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<Failure>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    place: Mutex<Place>,
    proof: Mutex<Proof>,
}

#[derive(Debug)]
struct Proof {
    /// When the last look that fits was asked.
    at: Instant,
    /// Why later ones failed.
    failed: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Watches a stream whose position has just been checked.
    pub fn start(plan: SourcePlan, server: StreamServer, watched: Watched) -> Self {
        let proof = Proof { at: Instant::now(), failed: None };
        let shared = Arc::new(Shared { place: Mutex::default(), proof: Mutex::new(proof) });
        let (end, ended) = oneshot::channel();
        let looking = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let failure = look_on(&plan, &server, &watched, &looking).await;
            // A session that has ended by itself needs no reason.
            drop(end.send(failure));
        });
        Self { shared, ended, task }
    }

    /// The stream is at a boundary; `dry`: it has read all that has come.
    pub fn at(&self, (file, pos): (&str, u64), dry: bool) {
        let mut place = lock(&self.shared.place);
        let is_there = place.at.as_ref().is_some_and(|at| at.pos == pos && at.file == file);
        if !is_there {
            place.at = (!file.is_empty()).then(|| FilePos { file: file.to_owned(), pos });
            place.dry = None;
        }
        if dry {
            place.dry = Some(Instant::now());
        }
    }

    /// Why nothing proves any more that the binlog is the one that is read.
    pub fn unproven(&self) -> Option<String> {
        let proof = lock(&self.shared.proof);
        if proof.at.elapsed() < PROVEN {
            return None;
        }
        let why = proof.failed.as_deref().unwrap_or("it does not answer");
        Some(format!(
            "the server has not confirmed for {} s that its binlog is the one that is read: {why}",
            PROVEN.as_secs()
        ))
    }

    /// Why the session has to end; never while it may go on. A call that is dropped loses nothing.
    pub async fn verdict(&mut self) -> Failure {
        match (&mut self.ended).await {
            Ok(failure) => failure,
            Err(_) => std::future::pending().await,
        }
    }

    /// [`Watch::verdict`], if it is there.
    pub fn try_verdict(&mut self) -> Option<Failure> {
        self.ended.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks until something does not fit.
async fn look_on(plan: &SourcePlan, server: &StreamServer, watched: &Watched, shared: &Shared) -> Failure {
    let mut earlier: Option<(FilePos, Instant)> = None;
    let mut others = 0;
    let mut pause = EVERY;
    let mut gtid_mode = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Others that have met another server wait for the stream to follow; each of them pauses between its tries.
            () = server.another_met(), if others == 0 => {}
        }
        let before = Before { place: lock(&shared.place).clone(), asked: Instant::now() };
        let looked = match tokio::time::timeout(LIMIT, look(plan, watched)).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(failure)) => {
                debug!(error = %failure.chain(), "the server could not be asked about its binlog, it is asked again");
                lock(&shared.proof).failed = Some(failure.chain());
                pause = SOON;
                continue;
            }
            Err(_) => {
                lock(&shared.proof).failed = Some(format!("no answer in {} s", LIMIT.as_secs()));
                pause = SOON;
                continue;
            }
        };
        let verdict = judge(watched, &before, earlier.as_ref(), &looked);
        if verdict == Verdict::AnotherServer {
            others += 1;
            if others < CONFIRMED {
                pause = SOON;
                continue;
            }
        }
        if let Some(failure) = failure(watched, &looked, &verdict) {
            return failure;
        }
        others = 0;
        pause = EVERY;
        *lock(&shared.proof) = Proof { at: before.asked, failed: None };
        if gtid_mode.replace(looked.gtid_mode).is_some_and(|known| known != looked.gtid_mode) {
            warn!(gtid_mode = %looked.gtid_mode, "the source's gtid_mode has changed; only with ON can another server take its place");
        }
        // The oldest end that the stream has not come to.
        let reached = |end: &FilePos| before.place.at.as_ref().is_some_and(|at| at.reaches(end) == Some(true));
        if earlier.as_ref().is_none_or(|(end, _)| reached(end)) {
            earlier = looked.end.map(|end| (end, Instant::now()));
        }
    }
}

/// One look, on a connection of its own: only a new one is led to where the address leads now.
async fn look(plan: &SourcePlan, watched: &Watched) -> Result<Looked, Failure> {
    let mut conn = connect::connect(plan).await?;
    let Known { flavour, version, identity, gtid_mode, .. } = Known::ask(&mut conn).await?;
    let end = if identity == watched.identity { Some(end_of_binlog(&mut conn, flavour, version).await?) } else { None };
    question::close(conn).await;
    Ok(Looked { identity, gtid_mode, end })
}

/// Why the session ends; it is tried again.
fn failure(watched: &Watched, looked: &Looked, verdict: &Verdict) -> Option<Failure> {
    let show = |at: &FilePos| format!("{}:{}", at.file, at.pos);
    let checked = "the position is checked against the server again";
    match verdict {
        Verdict::Fits => None,
        Verdict::AnotherServer => Some(another(&watched.identity, &looked.identity)),
        Verdict::Reset { end, read } => Some(Failure::retry(format!(
            "the source's binlog ends at {}, and the stream had read up to {}; {checked}",
            show(end),
            show(read)
        ))),
        Verdict::Stuck { end, read } => Some(Failure::retry(format!(
            "the source's binlog had reached {}, and the stream has stayed at {}; {checked}",
            show(end),
            show(read)
        ))),
        Verdict::GtidsOff(mode) => Some(Failure::retry(format!(
            "the source's gtid_mode is {mode}, and the stream was asked for by GTIDs; {checked}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> FilePos {
        let (file, pos) = text.split_once(':').unwrap();
        FilePos { file: format!("binlog.{file}"), pos: pos.parse().unwrap() }
    }

    fn server(id: u32) -> ServerIdentity {
        ServerIdentity::MariaDb { server_id: id, domain_id: 0 }
    }

    #[test]
    fn a_look_ends_the_stream_only_where_something_does_not_fit() {
        let found = Instant::now();
        let asked = found + EVERY;
        let late = Some(asked);
        let reset = |end, read| Verdict::Reset { end: place(end), read: place(read) };
        let stuck = |end, read| Verdict::Stuck { end: place(end), read: place(read) };
        // (where the stream was, when it was dry, the end of an earlier look, the end now, what that means)
        for (read, dry, earlier, end, wanted) in [
            ("3:100", late, None, "3:100", Verdict::Fits),
            ("3:100", late, None, "3:900", Verdict::Fits),
            ("3:100", late, None, "4:4", Verdict::Fits),
            ("999999:100", late, None, "1000000:4", Verdict::Fits),
            ("3:100", late, None, "3:99", reset("3:99", "3:100")),
            ("3:100", None, None, "1:900", reset("1:900", "3:100")),
            // An end that the stream has come to since.
            ("3:100", late, Some("3:100"), "3:900", Verdict::Fits),
            // One that it has not come to, while there was nothing to read.
            ("3:100", late, Some("3:101"), "3:900", stuck("3:101", "3:100")),
            ("3:100", late, Some("500:4"), "500:4", stuck("500:4", "3:100")),
            // It has been reading since, or has only just come to rest.
            ("3:100", None, Some("3:101"), "3:900", Verdict::Fits),
            ("3:100", Some(found + STALLED / 2), Some("3:101"), "3:900", Verdict::Fits),
            // It had nothing to read for a while, and has begun a transaction since.
            ("3:100", Some(found + STALLED), Some("3:101"), "3:900", Verdict::Fits),
        ] {
            let watched = Watched { identity: server(1), by_gtid: false };
            let before = Before { place: Place { at: Some(place(read)), dry }, asked };
            let earlier = earlier.map(|end| (place(end), found));
            let looked = Looked { identity: server(1), gtid_mode: GtidMode::Off, end: Some(place(end)) };

            let verdict = judge(&watched, &before, earlier.as_ref(), &looked);

            assert_eq!(verdict, wanted, "{before:?}, {earlier:?}, {end}");
            assert_eq!(failure(&watched, &looked, &verdict).is_none(), wanted == Verdict::Fits);
        }
    }

    #[test]
    fn another_server_is_another_whatever_its_binlog_says_and_gtids_matter_to_a_stream_by_them() {
        let before = Before { place: Place::default(), asked: Instant::now() };
        for (by_gtid, id, gtid_mode, wanted) in [
            (true, 1, GtidMode::On, Verdict::Fits),
            (false, 1, GtidMode::Off, Verdict::Fits),
            (true, 1, GtidMode::OnPermissive, Verdict::GtidsOff(GtidMode::OnPermissive)),
            (true, 2, GtidMode::Off, Verdict::AnotherServer),
        ] {
            let watched = Watched { identity: server(1), by_gtid };
            let looked = Looked { identity: server(id), gtid_mode, end: None };
            assert_eq!(judge(&watched, &before, None, &looked), wanted, "{by_gtid} {id} {gtid_mode}");
        }
    }
}
