//! What the driver's and the servers' errors mean: try again, or stop, and the way out.

use std::io;

use mysql_async::{DriverError, Error, IoError, ServerError};

use crate::error::{ErrorClass, Failure, SameServerId, Unusable};
use crate::source::mysql::start::RESYNC;
use crate::source::mysql::stream_server::AnotherServer;
use crate::tls::{tls_error, tls_hint, tls_may_recover};

/// What an error of the driver means: try again, or stop, and the way out. `purpose` is "verb + object".
pub fn classify(error: Error, purpose: &str) -> Failure {
    let message = format!("cannot {purpose}");
    // The cause is the inner error: the driver's outer ones only repeat it.
    match error {
        Error::Server(server) if names_another_replica(&server) => Failure::fatal(format!(
            "{message}: another replica of the source has connected with the number in source.server_id"
        ))
        .hint(format!("the source serves one replica of a number, and has ended this one; {ONE_ID}, then start again"))
        .caused_by(SameServerId(server.to_string())),
        Error::Server(server) => by_code(&server, message).caused_by(server),
        Error::Io(IoError::Io(io)) => by_io(&io, message).caused_by(io),
        Error::Io(IoError::Tls(tls)) => by_tls(tls_error(&tls), message).caused_by(tls),
        Error::Driver(driver) => by_driver(&driver, message).caused_by(driver),
        Error::Url(url) => Failure::fatal(message).hint("check source.url").caused_by(url),
        Error::Other(other) => Failure::fatal(message).caused_by(other),
    }
}

/// Whether a failure that may pass is about the server, or the way to it, and says nothing of the table that was asked for.
pub fn is_about_the_server(failure: &Failure) -> bool {
    let Some(cause) = failure.source.as_ref().filter(|_| failure.class == ErrorClass::Retry) else { return false };
    cause.is::<AnotherServer>()
        || cause.is::<io::Error>()
        || cause.is::<DriverError>()
        // Too many connections, denied while the password changes, shutdown, killed, gone.
        || cause.downcast_ref::<ServerError>().is_some_and(|error| {
            matches!(error.code, 1040 | ACCESS_DENIED | 1053 | 1203 | 1226 | 1317 | 1927 | 2002..=2013 | 3168 | 4031)
        })
}

/// `ER_ACCESS_DENIED_ERROR`.
pub const ACCESS_DENIED: u16 = 1045;

pub(super) const TURN_TLS_ON: &str = "set source.tls.mode to verify_identity";

/// Whether the server let the account not in, or so it says.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Server(error) if error.code == ACCESS_DENIED)
}

fn by_io(error: &io::Error, message: String) -> Failure {
    if let Some(tls) = tls_error(error) {
        return by_tls(Some(tls), message);
    }
    match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::fatal(message).hint("check that a MySQL or MariaDB server is at host and port of source.url")
        }
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Failure::fatal(message).hint("check that the file in source.tls.ca_file can be read")
        }
        _ => Failure::retry(message).hint("check that the server runs, and host and port in source.url"),
    }
}

fn by_tls(error: Option<&rustls::Error>, message: String) -> Failure {
    match error {
        Some(error) if tls_may_recover(error) => Failure::retry(message),
        Some(error) => Failure::fatal(message).hint(tls_hint(error, "source.")),
        None => Failure::fatal(message).hint("check source.tls.ca_file, and that source.url has a valid host name"),
    }
}

fn by_driver(error: &DriverError, message: String) -> Failure {
    match error {
        DriverError::ConnectionClosed | DriverError::PoolDisconnected => Failure::retry(message),
        DriverError::NoClientSslFlagFromServer => Failure::fatal(message)
            .hint("the server offers no TLS; set it up there, or set source.tls.mode to disabled"),
        DriverError::CleartextPluginDisabled => Failure::fatal(message).hint(
            "the account's password would be sent in clear text; set source.tls.mode to verify_ca or verify_identity",
        ),
        DriverError::UnknownAuthPlugin { .. } | DriverError::MysqlOldPasswordDisabled => Failure::fatal(message)
            // MySQL asks an account that does not exist for some plugin too, so that nobody learns which ones do.
            .hint("check that the account of source.url exists, and give it a plugin that is supported: caching_sha2_password on MySQL, ed25519 or mysql_native_password on MariaDB"),
        _ => Failure::fatal(message),
    }
}

fn by_code(error: &ServerError, message: String) -> Failure {
    match error.code {
        // The second one is ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
        ACCESS_DENIED | 1698 => Failure::fatal(message)
            .hint("check the user in source.url, and REPLICATOR_SOURCE_PASSWORD or source.password_file"),
        // ER_HOST_NOT_PRIVILEGED.
        1130 => Failure::fatal(message).hint("create the account of source.url for the host replicator runs on"),
        // ER_HOST_IS_BLOCKED.
        1129 => {
            Failure::fatal(message).hint("run FLUSH HOSTS, or TRUNCATE performance_schema.host_cache, on the source")
        }
        // ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL and of MariaDB, ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN.
        3118 | 4151 | 1820 | 1862 => {
            Failure::fatal(message).hint("unlock the account of source.url, or renew its password")
        }
        // ER_SECURE_TRANSPORT_REQUIRED.
        3159 => Failure::fatal(message).hint(format!("the server demands TLS; {TURN_TLS_ON}")),
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
        1044 | 1142 | 1143 | 1227 => Failure::fatal(message).hint(
            "the account of source.url lacks a privilege; run `replicator check`, which names the GRANT statement",
        ),
        // ER_MASTER_FATAL_ERROR_READING_BINLOG: the dump thread's word for many things, told apart by its text.
        1236 => dump_error(&error.message, message),
        // Too many connections, out of memory, shutdown, network, lock wait, deadlock, killed, server gone, read-only, starting.
        1040
        | 1041
        | 1053
        | 1152..=1161
        | 1184
        | 1203
        | 1205
        | 1213
        | 1226
        | 1290
        | 1317
        | 1927
        | 2002..=2013
        | 3024
        | 3168
        | 4031 => Failure::retry(message),
        _ => Failure::fatal(message),
    }
}

/// What to do where two replicas have one number.
const ONE_ID: &str = "give source.server_id a value that no other replica of the source has, or stop the other replica";

/// Whether a server ends a dump for what it finds in its binlog, or misses there. Then a check of the position may say
/// better why.
pub fn is_about_the_binlog(error: &Error) -> bool {
    matches!(error, Error::Server(error) if error.code == 1236 && !names_another_replica(error))
}

/// Whether a server has ended a dump because another replica came with the same number: MySQL by an error of the dump
/// thread, MariaDB by one of its own (`ER_SLAVE_SAME_ID`).
fn names_another_replica(error: &ServerError) -> bool {
    let text = error.message.to_ascii_lowercase();
    let is_said = ["same server_uuid", "same server_id", "same server-id"].iter().any(|part| text.contains(part));
    error.code == 4052 || (error.code == 1236 && is_said)
}

fn dump_error(text: &str, message: String) -> Failure {
    let text = text.to_ascii_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let failure = Failure::fatal(message);
    if is(&["misconfigured", "server_id"]) {
        return failure.hint("set server_id on the source, and a source.server_id that differs from it");
    }
    // The position was checked against the server before.
    let failure = failure.unusable(if is(&["purged"]) { Unusable::Purged } else { Unusable::Otherwise });
    failure.hint(
        if is(&["purged", "could not find first log", "could not find gtid state", "missing", "not in the master's binlog"]) {
            format!("the source no longer has what the log needs; keep binlogs longer (binlog_expire_logs_seconds); {RESYNC}")
        } else if is(&["impossible position", "bogus data", "log event entry exceeded"]) {
            format!("the position is not the start of an event: check source.specific, or whether the source's binlogs were reset; {RESYNC}")
        } else if is(&["anonymous transaction"]) {
            format!("transactions without GTIDs follow a position that has only GTIDs; keep gtid_mode = ON; {RESYNC}")
        } else if is(&["checksum"]) {
            format!(
                "the source cannot verify its own binlog: check the file with mysqlbinlog --verify-binlog-checksum; if it stays damaged, {RESYNC}"
            )
        } else {
            format!("see the source's error log; if its binlog cannot be read on, {RESYNC}")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Failure {
        let error = ServerError { code, message: message.into(), state: "HY000".into() };
        classify(Error::Server(error), "do it")
    }

    #[test]
    fn errors_that_time_can_cure_are_retried_and_the_others_stop_with_a_hint() {
        for code in [1040, 1053, 1205, 2013, 1159] {
            assert_eq!(server(code, "").class, ErrorClass::Retry, "{code}");
        }
        for (code, setting) in [
            (1045, "REPLICATOR_SOURCE_PASSWORD"),
            (1130, "source.url"),
            (1227, "replicator check"),
            (4151, "unlock the account"),
            (3159, "source.tls.mode"),
        ] {
            let failure = server(code, "");
            assert_eq!(failure.class, ErrorClass::Fatal, "{code}");
            assert!(failure.hint.unwrap().contains(setting), "{code}");
        }
        let gone = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(Error::Io(IoError::Io(gone)), "do it").class, ErrorClass::Retry);
        assert_eq!(classify(Error::Driver(DriverError::NoClientSslFlagFromServer), "do it").class, ErrorClass::Fatal);
    }

    const SAME_ID: &str = "A replica with the same server_uuid/server_id as this replica has connected to the source";

    #[test]
    fn a_replica_of_the_same_number_is_an_error_of_its_own_at_both_servers() {
        for (code, text) in
            [(1236, SAME_ID), (4052, "A slave with the same server_uuid/server_id is already connected")]
        {
            let failure = server(code, text);
            assert_eq!(failure.class, ErrorClass::Fatal, "{code}");
            assert!(failure.source.as_ref().unwrap().is::<SameServerId>(), "{code}");
            assert!(failure.fact().contains("source.server_id") && failure.fact().contains(text), "{}", failure.fact());
            assert!(failure.hint.unwrap().contains("give source.server_id a value"), "{code}");
        }
    }

    #[test]
    fn the_dump_threads_errors_are_told_apart_by_their_text() {
        for (text, part) in [
            (SAME_ID, "source.server_id"),
            ("Cannot replicate because the source purged required binary logs.", "replicator start --resync"),
            ("Could not find first log file name in binary log index file", "replicator start --resync"),
            ("Client requested source to start replication from impossible position", "source.specific"),
            ("Cannot replicate anonymous transaction when AUTO_POSITION = 1", "gtid_mode = ON"),
            ("something else", "error log"),
        ] {
            let failure = server(1236, text);
            // A check of the position would not find the other replica, and the two would throw each other out, again and
            // again.
            let error = Error::Server(ServerError { code: 1236, message: text.into(), state: "HY000".into() });
            assert_eq!(is_about_the_binlog(&error), part != "source.server_id", "{text}");
            assert_eq!(failure.class, ErrorClass::Fatal);
            assert!(failure.hint.as_deref().unwrap().contains(part), "{text}: {:?}", failure.hint);
            let unusable = match part {
                "source.server_id" => None,
                _ if text.contains("purged") => Some(Unusable::Purged),
                _ => Some(Unusable::Otherwise),
            };
            assert_eq!(failure.unusable, unusable, "{text}");
        }
    }
}
