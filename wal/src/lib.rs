//! A durable log of frames with named cursors, on redb.
//!
//! # Promises
//! - A **frame** is bytes with a place, its [`Lsn`]: dense, from 1. Frames form **groups**, which readers see as a
//!   whole or not at all; a group becomes visible when the frame that ends it is durable.
//! - State (opaque keys and values) that is put with a group becomes durable in the same transaction as the end of that
//!   group; a cursor's token and state, in the same transaction as the cursor.
//! - What was acknowledged as durable survives the loss of power. What was not is gone as a whole: opening the log
//!   discards an unfinished group.
//! - A log takes at most `max_size` on disk, and at most twice the sum of what it held at its fullest and 4 MiB
//!   ([`most_on_disk`]), however much goes through it. A full log makes the appender wait; it neither fails nor drops
//!   anything.
//! - After a failed write nothing works until the log is opened again: see [`Error::Poisoned`].
//!
//! It knows bytes, positions and cursors; not where frames come from, where they go, or what they mean.
//!
//! # Positions
//! *appended* >= *durable* >= *applied* (a cursor) >= *trimmed*. [`Appender::next_lsn`] is one past what is appended;
//! [`Positions`] has the others.
//!
//! # The files
//! In the order in which a frame passes them: `append` packs frames into blocks (`record`), `command` carries them to
//! the `writer` thread, which puts what has queued into one `commit`, publishes it (`tail`), and trims behind the
//! slowest `cursor`; `read` gives blocks back. `tables` names what is stored, `open` locks and recovers, `file`
//! reserves room on disk, `read_only` and its `overlay` do without changing the file, `verify` checks everything,
//! `handle` owns the thread, `capacity` keeps the file within its limit,
//! `pieces` cuts large blocks, `guard` turns panics of redb into errors.
//!
//! # Example
//! ```
//! use wal::{GroupEnd, Lsn, Options, Wal};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20))?;
//! wal.create_cursor("local", Lsn::ZERO).await?;
//!
//! appender.append(&[b"hello ", b"world"], GroupEnd::Ends)?;
//! appender.put_state(b"position", Some(b"binlog.000001:157"));
//! appender.flush_durable().await?;
//!
//! for block in wal.reader().read(Lsn::ZERO, 1 << 20)? {
//!     for frame in block.frames() {
//!         let frame = frame.map_err(|source| wal::Error::Damaged { block: block.first_lsn(), source })?;
//!         assert_eq!(frame.payload, b"hello world");
//!         wal.ack("local", frame.lsn, b"token", Vec::new()).await?;
//!     }
//! }
//! wal.shutdown().await?;
//! # Ok::<(), wal::Error>(())
//! # }).unwrap();
//! ```
#![warn(clippy::missing_errors_doc)]

mod append;
mod capacity;
mod command;
mod commit;
mod create;
mod cursor;
mod error;
mod file;
mod guard;
mod handle;
mod log;
mod lsn;
mod open;
mod overlay;
mod pieces;
mod read;
mod read_only;
pub mod record;
mod stats;
mod tables;
mod tail;
mod verify;
mod writer;

pub use append::{Appender, GroupEnd};
pub use capacity::most_on_disk;
pub use cursor::CursorInfo;
pub use error::Error;
pub use log::Wal;
pub use lsn::{LogId, Lsn};
pub use open::Options;
pub use read::{Reader, StateEntry};
pub use record::{Block, FrameRef, Frames, stored_frame};
pub use stats::Stats;
pub use tail::Positions;
pub use verify::{Finding, VerifyReport};
