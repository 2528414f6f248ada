//! The dump: events in order, each verified against its checksum, with a bound on silence.
//!
//! An event lies where its packet was read ([`wire`](super::super::wire)); nothing copies it. The events of a compressed transaction come
//! after the event that has them, one by one ([`payload`](super::payload)). A large event is in memory until the next one is asked for, or
//! until [`BinlogStream::release`].
//!
//! What it trusts the source with: memory for the largest event that the server sends, 1 GiB at most.
//!
//! Silence is bounded by heartbeats: the server is asked for one whenever it has sent nothing for [`HEARTBEAT`].

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mysql_async::{Error, IoError, Sid};
use mysql_common::packets::binlog_request::BinlogRequest;
use tokio::time::Instant;

use super::error::BinlogError;
use super::event::{EventHeader, HEADER_LEN, RawEvent};
use super::kind;
use super::payload::Payload;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::ServerIdentity;
use crate::source::mysql::connect::{classify, is_about_the_binlog};
use crate::source::mysql::gtid::GtidSet;
use crate::source::mysql::start::{DumpBy, StartPoint};
use crate::source::mysql::stream_server::another;
use crate::source::mysql::wire::{Packets, Session, Socket, server_error};

/// After this much silence the server sends a heartbeat. It bounds how stale the reported lag of an idle server is.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Silence after which the connection is given up: many heartbeats, so that a busy server is not taken for a dead one.
const SILENCE: Duration = Duration::from_secs(30);

/// Waits without a byte, after that, before it is: a process that was held up finds what has come meanwhile.
const LAST_WAITS: u8 = 3;

/// The longest of them.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Time for everything that is said before the dump begins.
const SET_UP: Duration = Duration::from_mins(1);

/// The flag of a file that is being written; not part of its checksum.
const IN_USE: u16 = 1;

/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// What comes in front of an event in its packet: a zero.
const OK: usize = 1;

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
#[derive(Debug)]
pub struct BinlogStream {
    /// `None` once it has failed.
    packets: Option<Packets<Socket>>,
    /// The compressed transaction whose events come out.
    payload: Option<Payload>,
    header: EventHeader,
    /// Bytes of the event's data that are not checksum.
    data_len: usize,
    checksums: Checksums,
    /// The server refused to send more.
    refused: bool,
    /// Bytes that had come when the last of them were noticed, and when that was. A wait that another one takes the place of counts on.
    heard: (u64, Instant),
    /// Waits since then that were over without a byte.
    last_waits: u8,
}

impl BinlogStream {
    /// Asks for the dump from a checked start, on a connection of its own.
    ///
    /// # Errors
    /// A classified [`Failure`]; to retry, where the connection has reached another server than the one that the start was checked
    /// against.
    pub async fn open(source: &SourcePlan, start: &StartPoint, server_id: u32) -> Result<Self, Failure> {
        let set_up = Self::set_up(source, start, server_id);
        tokio::time::timeout(SET_UP, set_up).await.unwrap_or_else(|_| {
            let what =
                format!("the source has not answered in {} s while the binlog dump was set up", SET_UP.as_secs());
            Err(Failure::retry(what))
        })
    }

    async fn set_up(source: &SourcePlan, start: &StartPoint, server_id: u32) -> Result<Self, Failure> {
        let purpose = "set up the binlog dump";
        let mut session = Session::open(source).await?;
        require(&mut session, &start.position.server).await?;
        let period = HEARTBEAT.as_nanos();
        // Each server version reads the name it knows. MariaDB hides GTID events from readers below capability 4 (MDEV-26). A checksum
        // comes with every event that has one in its file.
        let common = format!(
            "SET @master_binlog_checksum = 'ALL', @master_heartbeat_period = {period}, @source_heartbeat_period = {period}"
        );
        let set = match &start.by {
            DumpBy::FilePos { mariadb: false } | DumpBy::MySqlGtid(_) => common,
            DumpBy::FilePos { mariadb: true } => format!("{common}, @mariadb_slave_capability = 4"),
            DumpBy::MariaDbGtid(list) => format!(
                "{common}, @mariadb_slave_capability = 4, @slave_connect_state = '{list}', \
                 @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0"
            ),
        };
        session.execute(&set, purpose).await?;
        let request = BinlogRequest::new(server_id);
        let request = match &start.by {
            DumpBy::FilePos { .. } => {
                request.with_filename(start.position.file.as_bytes()).with_pos(start.position.pos)
            }
            DumpBy::MySqlGtid(set) => request.with_use_gtid(true).with_sids(sids(set)?),
            // The state set above decides; no file is named.
            DumpBy::MariaDbGtid(_) => request,
        };
        let packets = session.dump(&request, purpose).await?;
        Ok(Self {
            packets: Some(packets),
            payload: None,
            header: EventHeader::default(),
            data_len: 0,
            checksums: Checksums::Unknown,
            refused: false,
            heard: (0, Instant::now()),
            last_waits: 0,
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
            None => self.wait().await?,
        }
        Ok(self.last())
    }

    /// Waits for an event as long as bytes come.
    async fn wait(&mut self) -> Result<(), Failure> {
        loop {
            let received = self.packets.as_ref().map_or(0, Packets::received);
            if received != self.heard.0 {
                self.heard = (received, Instant::now());
                self.last_waits = 0;
            }
            let mut left = SILENCE.saturating_sub(self.heard.1.elapsed());
            if left.is_zero() {
                if self.last_waits == LAST_WAITS {
                    self.packets = None;
                    return Err(Failure::retry(format!(
                        "the source has sent nothing for {} s, not even a heartbeat",
                        SILENCE.as_secs()
                    )));
                }
                self.last_waits += 1;
                left = LAST_WAIT;
            }
            if let Ok(result) = tokio::time::timeout(left, poll_fn(|context| self.poll_event(context))).await {
                return result;
            }
        }
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

    /// The event that came last, once more; without its data if it was released.
    pub fn last(&self) -> RawEvent<'_> {
        if let Some(payload) = &self.payload {
            return RawEvent { header: payload.header(), data: payload.data(), unpacked: true };
        }
        let packet = self.packets.as_ref().map(Packets::last).unwrap_or_default();
        let begin = data_begins();
        let data = packet.get(begin..begin + self.data_len).unwrap_or_default();
        RawEvent { header: self.header, data, unpacked: false }
    }

    /// Gives back the room of the last event, if it is large. What is to be kept of it was copied.
    pub fn release(&mut self) {
        if self.header.kind == kind::TRANSACTION_PAYLOAD && self.payload.is_none() {
            // Its events are still to come out of it.
            return;
        }
        if let Some(payload) = &mut self.payload {
            payload.release();
        } else if let Some(packets) = &mut self.packets {
            packets.release();
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.unpack() {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
            Err(error) => return Poll::Ready(Err(self.failed(error))),
        }
        let Some(packets) = &mut self.packets else {
            return Poll::Ready(Err(Failure::retry("the binlog dump is closed")));
        };
        let result = match packets.poll_read(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.accept(),
            Poll::Ready(Err(error)) => Err(classify(Error::Io(IoError::Io(error)), "read the binlog dump")),
        };
        if result.is_err() {
            self.packets = None;
        }
        Poll::Ready(result)
    }

    /// The next event of the compressed transaction that came last, or whose events come out. False: there is none.
    fn unpack(&mut self) -> Result<bool, BinlogError> {
        if self.payload.is_none()
            && self.header.kind == kind::TRANSACTION_PAYLOAD
            && let Some(packets) = &mut self.packets
        {
            // Not once more, after its events have come out.
            self.header.kind = 0;
            self.payload = Some(Payload::new(packets.take_last(), data_begins(), self.data_len)?);
        }
        let Some(payload) = &mut self.payload else { return Ok(false) };
        if payload.advance()? {
            return Ok(true);
        }
        self.payload = None;
        Ok(false)
    }

    /// What is said of an event in a compressed transaction.
    fn failed(&mut self, error: BinlogError) -> Failure {
        self.packets = None;
        self.payload = None;
        let (name, _) = kind::describe(kind::TRANSACTION_PAYLOAD);
        error.at(name, "offset", u64::from(self.header.log_pos))
    }

    /// Takes the packet that was just read.
    fn accept(&mut self) -> Result<(), Failure> {
        let packet = self.packets.as_ref().map(Packets::last).unwrap_or_default();
        match packet {
            [0, event @ ..] => {
                let parsed = EventHeader::parse(event);
                let data = event.get(usize::try_from(HEADER_LEN).unwrap_or(usize::MAX)..).unwrap_or_default();
                let header = parsed.map_err(|error| error.at("next", "offset", u64::from(self.header.log_pos)))?;
                let verified = verify(header, data, &mut self.checksums);
                self.header = header;
                self.data_len = verified.map_err(|error| {
                    let (name, _) = kind::describe(header.kind);
                    error.at(name, "offset", u64::from(header.log_pos))
                })?;
                Ok(())
            }
            [0xfe, ..] if packet.len() < 9 => Err(Failure::retry("the source has ended the binlog dump")),
            _ => {
                let error = server_error(packet);
                self.refused = is_about_the_binlog(&error);
                Err(classify(error, "read the binlog dump"))
            }
        }
    }
}

/// Where in a packet the data of its event begins.
fn data_begins() -> usize {
    OK + usize::try_from(HEADER_LEN).unwrap_or(0)
}

/// Refuses any server but the one that the start was checked against: an address may lead to several.
async fn require(session: &mut Session, wanted: &ServerIdentity) -> Result<(), Failure> {
    let purpose = "ask the source who it is";
    let reached = match wanted {
        ServerIdentity::MySql { .. } => {
            // MariaDB has none of this name.
            let row = session.row("SHOW GLOBAL VARIABLES LIKE 'server_uuid'", purpose).await?;
            ServerIdentity::MySql { server_uuid: row.into_iter().nth(1).unwrap_or_default() }
        }
        ServerIdentity::MariaDb { .. } => {
            let of = async |session: &mut Session, name: &str| {
                let row = session.row(&format!("SHOW GLOBAL VARIABLES LIKE '{name}'"), purpose).await?;
                Ok::<u32, Failure>(row.get(1).and_then(|value| value.parse().ok()).unwrap_or_default())
            };
            ServerIdentity::MariaDb {
                server_id: of(session, "server\\_id").await?,
                domain_id: of(session, "gtid\\_domain\\_id").await?,
            }
        }
    };
    if reached == *wanted { Ok(()) } else { Err(another(wanted, &reached)) }
}

/// Checks the checksum of an event. Returns how much of what follows its header is data.
fn verify(header: EventHeader, data: &[u8], checksums: &mut Checksums) -> Result<usize, BinlogError> {
    let short = || BinlogError::Short { part: "checksum" };
    if header.kind == kind::FORMAT_DESCRIPTION {
        // It always has the number of the algorithm and room for a checksum at its end; CRC32 is 1.
        let (data, footer) = data.split_last_chunk::<CHECKSUM>().ok_or_else(short)?;
        let (algorithm, body) = data.split_last().ok_or_else(short)?;
        *checksums = match algorithm {
            0 => Checksums::Off,
            1 => Checksums::On,
            _ => return Err(BinlogError::Damaged { part: "checksum algorithm" }),
        };
        if *checksums == Checksums::On {
            let header = EventHeader { flags: header.flags & !IN_USE, ..header };
            require_equal(u32::from_le_bytes(*footer), checksum(header, data))?;
        }
        return Ok(body.len());
    }
    match (*checksums, data.split_last_chunk::<CHECKSUM>()) {
        (Checksums::On, None) => Err(short()),
        (Checksums::On, Some((body, footer))) => {
            require_equal(u32::from_le_bytes(*footer), checksum(header, body))?;
            Ok(body.len())
        }
        // The rotation in front of the format description may or may not have a checksum: it has one if it fits.
        (Checksums::Unknown, Some((body, footer))) if checksum(header, body) == u32::from_le_bytes(*footer) => {
            Ok(body.len())
        }
        (Checksums::Unknown | Checksums::Off, _) => Ok(data.len()),
    }
}

fn require_equal(found: u32, computed: u32) -> Result<(), BinlogError> {
    if found == computed { Ok(()) } else { Err(BinlogError::Checksum { found, computed }) }
}

fn checksum(header: EventHeader, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header.to_bytes());
    hasher.update(data);
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
