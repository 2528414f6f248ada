//! Server settings.

use crate::config::{SourcePlan, SpecificStart, Startup};
use crate::model::{CheckItem, Names};
use crate::source::mysql::server::{Flavour, GtidMode, NAMES, ROW_METADATA, ServerInfo};

/// Binlogs kept for less than this are gone before anyone has slept over a failure.
const SHORT_RETENTION: u64 = 86_400;

pub(super) fn checks(server: &ServerInfo, source: &SourcePlan) -> Vec<CheckItem> {
    let mut items = Vec::new();
    let wrong = server.unusable_settings();
    for name in ["log_bin", "binlog_format", "binlog_row_image", "binlog_row_value_options"] {
        match wrong.iter().find(|setting| setting.name == name) {
            Some(setting) => items.push(CheckItem::fail(
                name,
                format!("is \"{}\": {}", setting.found, setting.why),
                Some(setting.mend.clone()),
            )),
            None => {
                if let Some(value) = server.variable(name) {
                    items.push(CheckItem::ok(name, if value.is_empty() { "empty" } else { value }));
                }
            }
        }
    }
    items.push(metadata(server));
    items.push(names(server));
    items.push(checksum(server));
    items.push(gtids(server, source));
    items.push(retention(server));
    items.push(server_id(server, source));
    items
}

fn metadata(server: &ServerInfo) -> CheckItem {
    let found = server.variable(ROW_METADATA).unwrap_or("NO_LOG");
    if server.tells_names() {
        return CheckItem::ok(ROW_METADATA, found);
    }
    CheckItem::warn(
        ROW_METADATA,
        format!(
            "is {found}: the binlog does not name the columns of rows, so the daemon asks the server after each change of a table; \
             with FULL it need not ask, reads fewer tables again after it was away, and sees a change that was kept out of the binlog \
             with the table's next rows and not up to 10 minutes later"
        ),
        Some(server.set(ROW_METADATA, "'FULL'")),
    )
}

fn names(server: &ServerInfo) -> CheckItem {
    let setting = server.variable(NAMES).unwrap_or_default();
    let detail = match server.names {
        Names::Exact => format!("{setting}: names of databases and tables are as written"),
        Names::Folded => {
            format!(
                "{setting}: names of databases and tables compare without case, and are in lower case at every sink"
            )
        }
    };
    CheckItem::ok(NAMES, detail)
}

fn checksum(server: &ServerInfo) -> CheckItem {
    let name = "binlog_checksum";
    match server.variable(name) {
        Some(value) if value.eq_ignore_ascii_case("NONE") => CheckItem::warn(
            name,
            "is NONE: damage to binlog events is not noticed",
            Some("SET GLOBAL binlog_checksum = CRC32".to_owned()),
        ),
        value => CheckItem::ok(name, value.unwrap_or_default()),
    }
}

fn gtids(server: &ServerInfo, source: &SourcePlan) -> CheckItem {
    let name = "gtid_mode";
    if server.flavour == Flavour::MariaDb {
        return CheckItem::ok(name, "MariaDB always has GTIDs");
    }
    let found = server.variable(name).unwrap_or("OFF");
    if server.gtid_mode == GtidMode::On {
        return CheckItem::ok(name, found);
    }
    let mend = "SET PERSIST enforce_gtid_consistency = ON, then SET PERSIST gtid_mode = OFF_PERMISSIVE, ON_PERMISSIVE, ON, one after the other";
    if matches!(source.startup, Startup::Specific(SpecificStart::Gtid(_))) {
        return CheckItem::fail(name, format!("is {found}, and source.specific.gtid needs ON"), Some(mend.to_owned()));
    }
    CheckItem::warn(
        name,
        format!(
            "is {found}: the log can follow this server only, not another one after a failover, and the snapshot needs LOCK TABLES"
        ),
        Some(mend.to_owned()),
    )
}

fn retention(server: &ServerInfo) -> CheckItem {
    let name = "binlog retention";
    let mend = match server.flavour {
        Flavour::MySql => "SET PERSIST binlog_expire_logs_seconds = 604800".to_owned(),
        Flavour::MariaDb => {
            "SET GLOBAL expire_logs_days = 7, and the same in the server's configuration file".to_owned()
        }
    };
    match server.binlog_retention_seconds() {
        Some(0) => CheckItem::ok(name, "binlogs are kept until they are purged by hand"),
        Some(seconds) if seconds < SHORT_RETENTION => CheckItem::warn(
            name,
            format!(
                "binlogs are kept for {seconds} s: if replicator is down for longer, every table has to be read again (start --resync)"
            ),
            Some(mend),
        ),
        Some(seconds) => CheckItem::ok(name, format!("{} h", seconds / 3600)),
        None => CheckItem::warn(name, "the server does not say how long binlogs are kept", None),
    }
}

fn server_id(server: &ServerInfo, source: &SourcePlan) -> CheckItem {
    let name = "server ids";
    if server.server_id == 0 {
        let mend = "SET GLOBAL server_id = 1, and the same in the server's configuration file";
        return CheckItem::fail(name, "the source's server_id is 0: it serves no replicas", Some(mend.to_owned()));
    }
    if source.server_id == server.server_id {
        return CheckItem::fail(
            name,
            format!("source.server_id is {}, the source's own", source.server_id),
            Some("give source.server_id a value that no server and no other replica uses".to_owned()),
        );
    }
    CheckItem::ok(name, format!("{} at the source, {} for replicator", server.server_id, source.server_id))
}
