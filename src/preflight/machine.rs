//! What `check` looks at on this machine: the log's directory and disk, and the address to listen on.

use std::path::{Path, PathBuf};

use wal::Lsn;

use crate::codec::stored;
use crate::config::{HttpPlan, WalPlan, show_size};
use crate::error::Failure;
use crate::model::CheckItem;

/// The causes of an error.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or(String::new(), ToString::to_string)
}

/// Whether the log is there, or can be made.
pub(super) fn log(plan: &WalPlan, running: bool) -> CheckItem {
    const NAME: &str = "log";
    let path = plan.path.display();
    if running {
        return CheckItem::ok(NAME, format!("in use by the running daemon, in \"{path}\""));
    }
    if !plan.path.exists() {
        return match writable(&existing_parent(&plan.path)) {
            Ok(()) => CheckItem::ok(NAME, format!("start will make it in \"{path}\"")),
            Err(error) => {
                CheckItem::fail(NAME, format!("cannot be made in \"{path}\": {error}"), Some(mend_directory(plan)))
            }
        };
    }
    if let Err(error) = writable(&plan.path) {
        return CheckItem::fail(NAME, format!("\"{path}\" cannot be written: {error}"), Some(mend_directory(plan)));
    }
    match wal::Reader::open_read_only(&plan.path) {
        Ok(reader) => {
            let durable = reader.positions().durable;
            match stored::check_format(&reader, durable == Lsn::ZERO) {
                Ok(()) => CheckItem::ok(NAME, format!("in \"{path}\", up to lsn {durable}")),
                Err(failure) => {
                    let hint = failure.hint.clone();
                    CheckItem::fail(NAME, Failure { hint: None, ..failure }.chain(), hint)
                }
            }
        }
        Err(wal::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            CheckItem::ok(NAME, format!("start will make it in \"{path}\""))
        }
        Err(error) => CheckItem::fail(NAME, format!("{error} {}", cause(&error)).trim_end().to_owned(), None),
    }
}

fn mend_directory(plan: &WalPlan) -> String {
    format!("make \"{}\" a directory that this user may write, or change wal.path", plan.path.display())
}

/// The closest directory above that exists.
fn existing_parent(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|path| path.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn writable(directory: &Path) -> std::io::Result<()> {
    if !directory.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
    }
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// The log may take its limit: what it does not take yet must be free.
pub(super) fn disk(plan: &WalPlan) -> CheckItem {
    const NAME: &str = "disk for the log";
    let place = existing_parent(&plan.path);
    let free = match rustix::fs::statvfs(&place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            return CheckItem::fail(NAME, format!("cannot be measured in \"{}\": {error}", place.display()), None);
        }
    };
    let taken =
        wal::Reader::open_read_only(&plan.path).and_then(|reader| reader.stats()).map_or(0, |stats| stats.disk_bytes);
    let needed = plan.max_size.saturating_sub(taken);
    let detail = format!("{} free, the log may take {} more", show_rounded(free), show_rounded(needed));
    if free >= needed {
        return CheckItem::ok(NAME, detail);
    }
    let mend = format!("set wal.max_size below {}, or make room", show_rounded(free.saturating_add(taken)));
    CheckItem::warn(NAME, detail, Some(mend))
}

fn show_rounded(bytes: u64) -> String {
    if bytes < 1 << 20 { show_size(bytes) } else { bytesize::ByteSize::b(bytes).display().iec().to_string() }
}

/// Whether the address of `http.listen` can be had.
pub(super) async fn listener(plan: HttpPlan, running: bool) -> CheckItem {
    const NAME: &str = "http.listen";
    let Some(address) = plan.listen else { return CheckItem::ok(NAME, "off") };
    if running {
        return CheckItem::ok(NAME, format!("{address}, in use by the running daemon"));
    }
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) if address.ip().is_loopback() => CheckItem::ok(NAME, address.to_string()),
        Ok(_) => CheckItem::warn(
            NAME,
            format!("{address} is reached from other machines, without a password"),
            Some("listen on 127.0.0.1, or keep others out by a firewall".to_owned()),
        ),
        Err(error) => CheckItem::fail(
            NAME,
            format!("cannot listen on {address}: {error}"),
            Some("choose another address in http.listen, or none".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus;

    fn wal_plan(path: &Path) -> WalPlan {
        WalPlan { path: path.to_owned(), max_size: 64 << 20 }
    }

    #[test]
    fn a_log_that_start_can_make_is_right_and_one_it_cannot_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(log(&wal_plan(&directory.path().join("new/deep")), false).status, CheckStatus::Ok);
        assert_eq!(log(&wal_plan(directory.path()), false).status, CheckStatus::Ok);
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(log(&wal_plan(&file), false).status, CheckStatus::Fail);
        assert_eq!(log(&wal_plan(&file.join("below")), false).status, CheckStatus::Fail);
    }

    #[test]
    fn a_log_that_may_outgrow_its_disk_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(disk(&WalPlan { path: directory.path().to_owned(), max_size: 1 << 60 }).status, CheckStatus::Warn);
        assert_eq!(disk(&wal_plan(directory.path())).status, CheckStatus::Ok);
    }

    #[tokio::test]
    async fn a_listener_is_checked_by_taking_its_address() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plan = HttpPlan { listen: Some(taken.local_addr().unwrap()), table_metrics: true };
        assert_eq!(listener(plan, false).await.status, CheckStatus::Fail);
        assert_eq!(listener(plan, true).await.status, CheckStatus::Ok);
        drop(taken);
        assert_eq!(listener(plan, false).await.status, CheckStatus::Ok);
        assert_eq!(listener(HttpPlan { listen: None, table_metrics: true }, false).await.detail, "off");
    }
}
