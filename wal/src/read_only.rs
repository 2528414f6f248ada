//! Opening a log for reading while no daemon holds it: a stopped one's, or a copy.
//!
//! Promises: the file is not changed, even after an unclean stop; a log that a daemon has open is refused. What a crash left behind
//! the visible end stays where it is and is not shown.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::capacity::Limits;
use crate::error::{Error, storage};
use crate::guard::{Guarded, guard};
use crate::open::{LOG_FILE, builder, io, load, take_reader_lock};
use crate::overlay::Overlay;
use crate::read::Reader;
use crate::tail::{Published, Shared, Store};

/// redb's cache for reading: a few blocks.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

impl Reader {
    /// Opens the log at `path`, its directory or its file, for reading only.
    ///
    /// # Errors
    /// [`Error::Locked`] if a daemon has the log open; else as [`Wal::open`](crate::Wal::open).
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { path.join(LOG_FILE) } else { path.to_owned() };
        let lock = path.parent().map(take_reader_lock).transpose()?.flatten();
        let (store, id, log) = guard("open the log file", || {
            let store = Store { database: open_overlay(&path)?, path: Some(path), read_only: true, _lock: lock };
            let (id, log) = load(&store)?;
            Ok((store, id, log))
        })?;
        let published = Published { tail: log.tail, cursors: log.cursors, ..Published::default() };
        let limits = Limits::none();
        Ok(Self::new(Arc::new(Shared::new(id, limits, store, published))))
    }
}

pub(crate) fn open_overlay(path: &Path) -> Result<Guarded, Error> {
    let file = File::open(path).map_err(io("open", path))?;
    let overlay = Overlay::new(file).map_err(io("read the size of", path))?;
    builder(CACHE_BYTES).create_with_backend(overlay).map(Guarded::new).map_err(storage("open the log file"))
}
