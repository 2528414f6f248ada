//! A log whose disk is full: whichever verb meets it, it ends with what is free and what to do.

use std::path::Path;

use crate::config::Plan;

/// What to do about an error that says that the disk of the log is full; `None` for any other.
pub(super) fn hint(error: &anyhow::Error, config: &Path) -> Option<String> {
    if !error.chain().any(is_full) {
        return None;
    }
    // It was read before: an error that says this is of a log that the configuration names.
    let plan = super::load(config).ok()?;
    Some(hint_of(&plan))
}

fn is_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<wal::Error>() {
        return error.is_disk_full();
    }
    let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
}

fn hint_of(plan: &Plan) -> String {
    let place = plan.wal.path.display();
    let free = match rustix::fs::statvfs(&plan.wal.path) {
        Ok(stat) => bytesize::ByteSize::b(stat.f_bavail.saturating_mul(stat.f_frsize)).display().iec().to_string(),
        Err(_) => "an unknown number of bytes".to_owned(),
    };
    format!(
        "the disk of wal.path (\"{place}\") is full, {free} are free: make room there, or stop, move the directory to a larger disk and set \
         wal.path to it; then start again: the log continues where it is, and loses nothing"
    )
}
