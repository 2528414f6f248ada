//! The dump: events in order, each verified against its checksum, with a bound on silence.
//!
//! The driver reads packets, strips the checksums and unpacks compressed transactions. Around it, this module
//! - verifies the checksum of every event that has one (the driver does not);
//! - knows which events came out of a compressed transaction, by counting the bytes that were announced: the driver
//!   passes over a transaction that it cannot unpack in silence, and the [decoder](super::decoder) must notice;
//! - turns the driver's panics on packets that are cut short into errors.
//!
//! What it cannot do: the driver allocates an event's announced size, and a compressed transaction's, before anyone
//! here sees them. A hostile server can make the process run out of memory; the source is trusted that far.
//!
//! Silence is bounded by heartbeats: the server is asked for one whenever it has sent nothing for [`HEARTBEAT`].

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::Stream;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event;
use mysql_async::{BinlogStreamRequest, Conn, Sid};

use super::compressed;
use super::error::BinlogError;
use super::event::{EventHeader, RawEvent};
use super::kind;
use crate::error::Failure;
use crate::source::mysql::connect::{classify, execute, is_about_the_binlog};
use crate::source::mysql::gtid::GtidSet;
use crate::source::mysql::start::{DumpBy, StartPoint};

/// After this much silence the server sends a heartbeat. It bounds how stale the reported lag of an idle server is.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Silence after which the connection is given up: many heartbeats, so that a busy server is not taken for a dead one.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes that can be read from the socket at once. The driver begins with room for 8 KiB, and keeps what the largest packet it has met
/// took: behind a row of this length, a dump of 120 MB took 505 calls where it had taken 3,787.
const READ_BUFFER: usize = 128 << 10;

/// The flag of a file that is being written; not part of its checksum.
const IN_USE: u16 = 1;

/// What is known about checksums in this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksums {
    /// No format description yet.
    Unknown,
    /// The source writes none.
    Off,
    /// CRC32.
    On,
}

/// An open dump.
pub struct BinlogStream {
    /// `None` once it has failed.
    driver: Option<mysql_async::BinlogStream>,
    event: Option<Event>,
    header: EventHeader,
    /// Bytes of the event's data that are not checksum.
    data_len: usize,
    unpacked: bool,
    /// Bytes of events that are still to come out of a compressed transaction.
    to_unpack: u64,
    checksums: Checksums,
    /// The server refused to send more.
    refused: bool,
}

impl std::fmt::Debug for BinlogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BinlogStream")
            .field("header", &self.header)
            .field("checksums", &self.checksums)
            .finish_non_exhaustive()
    }
}

impl BinlogStream {
    /// Asks for the dump from a checked start. The connection becomes the stream's.
    ///
    /// # Errors
    /// A classified [`Failure`].
    pub async fn open(mut connection: Conn, start: &StartPoint, server_id: u32) -> Result<Self, Failure> {
        let purpose = "set up the binlog dump";
        let period = HEARTBEAT.as_nanos();
        // Each server version reads the name it knows. MariaDB hides GTID events from readers below capability 4 (MDEV-26).
        let common = format!("SET @master_heartbeat_period = {period}, @source_heartbeat_period = {period}");
        let set = match &start.by {
            DumpBy::FilePos { mariadb: false } | DumpBy::MySqlGtid(_) => common,
            DumpBy::FilePos { mariadb: true } => format!("{common}, @mariadb_slave_capability = 4"),
            DumpBy::MariaDbGtid(list) => format!(
                "{common}, @mariadb_slave_capability = 4, @slave_connect_state = '{list}', \
                 @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0"
            ),
        };
        execute(&mut connection, &set, purpose).await?;
        execute(&mut connection, &format!("SELECT REPEAT('.', {READ_BUFFER})"), purpose).await?;
        let request = BinlogStreamRequest::new(server_id).with_hostname(b"replicator");
        let request = match &start.by {
            DumpBy::FilePos { .. } => {
                request.with_filename(start.position.file.as_bytes()).with_pos(start.position.pos)
            }
            DumpBy::MySqlGtid(set) => request.with_gtid().with_gtid_set(sids(set)?),
            // The state set above decides; no file is named.
            DumpBy::MariaDbGtid(_) => request,
        };
        let driver = connection.get_binlog_stream(request).await.map_err(|error| classify(error, purpose))?;
        Ok(Self {
            driver: Some(driver),
            event: None,
            header: EventHeader::default(),
            data_len: 0,
            unpacked: false,
            to_unpack: 0,
            checksums: Checksums::Unknown,
            refused: false,
        })
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// A [`Failure`]: to retry when the connection is lost or silent, fatal when the source refuses. The stream is of no
    /// use after it.
    pub async fn next(&mut self) -> Result<RawEvent<'_>, Failure> {
        // Nearly always the event is there already, and no timer is needed.
        let ready = poll_fn(|context| {
            Poll::Ready(match self.poll_event(context) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            })
        });
        match ready.await {
            Some(result) => result?,
            None => match tokio::time::timeout(SILENCE, poll_fn(|context| self.poll_event(context))).await {
                Ok(result) => result?,
                Err(_) => {
                    self.driver = None;
                    return Err(Failure::retry(format!(
                        "the source has sent nothing for {} s, not even a heartbeat",
                        SILENCE.as_secs()
                    )));
                }
            },
        }
        Ok(self.last())
    }

    /// The next event if it is there already. `None` means that [`Self::next`] would wait, or that the runtime wants this
    /// task to let others run.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Result<Option<RawEvent<'_>>, Failure> {
        match self.poll_event(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                result?;
                Ok(Some(self.last()))
            }
            Poll::Pending => Ok(None),
        }
    }

    /// Whether it ended because the server refused to send more, for what it finds in its binlog or misses there.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The event that came last, once more.
    pub fn last(&self) -> RawEvent<'_> {
        let data = self.event.as_ref().and_then(|event| event.data().get(..self.data_len)).unwrap_or_default();
        RawEvent { header: self.header, data, unpacked: self.unpacked }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(driver) = &mut self.driver else {
            return Poll::Ready(Err(Failure::retry("the binlog dump is closed")));
        };
        // Safe to look at after a panic, because it is never looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(driver).poll_next(context)));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(Ok(event)))) => self.accept(event),
            Ok(Poll::Ready(Some(Err(error)))) => {
                self.refused = is_about_the_binlog(&error);
                Err(classify(error, "read the binlog dump"))
            }
            Ok(Poll::Ready(None)) => Err(Failure::retry("the source has ended the binlog dump")),
            Err(_) => Err(Failure::retry("the source sent an event that is cut short")
                .hint("if this stays, something on the way alters packets, or the server writes events replicator does not know")),
        };
        if result.is_err() {
            self.driver = None;
            self.event = None;
        }
        Poll::Ready(result)
    }

    fn accept(&mut self, event: Event) -> Result<(), Failure> {
        let header = event.header();
        self.header = EventHeader {
            timestamp: header.timestamp(),
            kind: header.event_type_raw(),
            server_id: header.server_id(),
            size: header.event_size(),
            log_pos: header.log_pos(),
            flags: header.flags_raw(),
        };
        self.verify(&event).map_err(|error| {
            let (name, _) = kind::describe(self.header.kind);
            error.at(name, "offset", u64::from(self.header.log_pos))
        })?;
        self.event = Some(event);
        Ok(())
    }

    /// Checks the checksum, and sets how much of the event is data.
    fn verify(&mut self, event: &Event) -> Result<(), BinlogError> {
        let data = event.data();
        self.data_len = data.len();
        self.unpacked = self.to_unpack > 0;
        if self.unpacked {
            // Covered by the checksum of the event they came in. More than was announced is noticed by the decoder, as the
            // transaction's end is missing.
            self.to_unpack = self.to_unpack.saturating_sub(u64::from(self.header.size));
            return Ok(());
        }
        if self.header.kind == kind::FORMAT_DESCRIPTION {
            self.checksums = match event.footer().get_checksum_alg() {
                Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)) => Checksums::On,
                Ok(_) => Checksums::Off,
                Err(_) => return Err(BinlogError::Damaged { part: "checksum algorithm" }),
            };
        }
        match self.checksums {
            Checksums::Off => {}
            // The rotation in front of the format description may or may not have a checksum: it has one if it fits.
            Checksums::Unknown => {
                if let Some((body, footer)) = data.split_last_chunk::<4>()
                    && checksum(self.header, body, &[]) == u32::from_le_bytes(*footer)
                {
                    self.data_len = body.len();
                }
            }
            Checksums::On => {
                let found = event.checksum().map(u32::from_le_bytes).ok_or(BinlogError::Short { part: "checksum" })?;
                let mut header = self.header;
                let mut trailer = &[][..];
                if header.kind == kind::FORMAT_DESCRIPTION {
                    header.flags &= !IN_USE;
                    // The number of the algorithm stands between data and checksum; CRC32 is 1.
                    trailer = &[1];
                }
                let computed = checksum(header, data, trailer);
                if found != computed {
                    return Err(BinlogError::Checksum { found, computed });
                }
            }
        }
        if self.header.kind == kind::TRANSACTION_PAYLOAD {
            self.to_unpack = compressed::payload_size(data)?;
        }
        Ok(())
    }
}

fn checksum(header: EventHeader, data: &[u8], trailer: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header.to_bytes());
    hasher.update(data);
    hasher.update(trailer);
    hasher.finalize()
}

/// The set as the dump command takes it.
fn sids(set: &GtidSet) -> Result<Vec<Sid<'static>>, Failure> {
    set.sources()
        .map(|source| {
            source.parse().map_err(|error: std::io::Error| {
                Failure::fatal("the executed GTID set cannot be sent").caused_by(error)
            })
        })
        .collect()
}
