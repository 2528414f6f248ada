//! Values with a unit or a form of their own: sizes, addresses, globs, the source's URL.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use globset::{Glob, GlobBuilder};

use super::tree::Node;
use crate::model::{Names, TableName};

/// A size: `20GiB`, `500MB`, or a plain number of bytes.
///
/// # Errors
/// What is wrong with the text.
pub fn size(text: &str) -> Result<u64, String> {
    let form = || format!("\"{text}\" is not a size; write it like 20GiB, 500MB, or as a number of bytes");
    let bytes = text.trim().parse::<ByteSize>().map_err(|_| form())?.as_u64();
    // The parser ends at the largest number without a word; no disk is of that size.
    if bytes == u64::MAX { Err(form()) } else { Ok(bytes) }
}

/// A length of time: `1s`, `50ms`, `5min`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|_| format!("\"{text}\" is not a length of time; write it like 1s, 50ms or 5min"))
}

/// A length of time between two bounds, or a default that is one.
pub fn duration_between(key: &Node<'_>, default: Duration, least: Duration, most: Duration) -> Duration {
    duration_within(key, least, most).unwrap_or(default)
}

/// A length of time between two bounds.
pub(super) fn duration_within(key: &Node<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let value = key.parsed(duration)?;
    if !(least..=most).contains(&value) {
        let show = humantime::format_duration;
        key.problem(format!("must be from {} to {}", show(least), show(most)));
        return None;
    }
    Some(value)
}

/// A size as messages show it: exact, in the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Where to listen; `none` is nowhere.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!("\"{text}\" is not an address and port such as 127.0.0.1:9180 or [::1]:9180; \"none\" turns it off")
    })
}

/// A glob over `database.table`.
///
/// # Errors
/// What is wrong with the text.
pub fn table_glob(text: &str) -> Result<Glob, String> {
    if !text.contains('.') {
        return Err(format!("\"{text}\" has no dot and matches no table; write database.table, such as \"{text}.*\""));
    }
    GlobBuilder::new(text).build().map_err(|error| format!("\"{text}\" is not a glob: {}", error.kind()))
}

/// A glob over names in lower case, for one over names as written.
pub fn glob_in_lower_case(glob: &Glob) -> Glob {
    let text = Names::Folded.fold(glob.glob());
    // A class such as `[A-_]` is empty in lower case: it is asked without case.
    let without_case = || GlobBuilder::new(glob.glob()).case_insensitive(true).build();
    GlobBuilder::new(&text).build().or_else(|_| without_case()).unwrap_or_else(|_| glob.clone())
}

/// The table that an entry of `include` names, if it holds no glob. Of several dots the first divides it: few databases have one in
/// their names.
pub(super) fn literal_table(text: &str) -> Option<TableName> {
    if text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return None;
    }
    text.split_once('.').map(|(database, table)| TableName::new(database, table))
}

/// `mysql://user@host:port`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
}

impl SourceUrl {
    const FORM: &'static str = "write it like mysql://user@host:3306";

    /// No message repeats the text: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("not a URL ({error}); {}", Self::FORM))?;
        if url.password().is_some() {
            return Err("must not hold a password; set REPLICATOR_SOURCE_PASSWORD, or name a file in \
                        source.password_file"
                .to_owned());
        }
        if url.scheme() != "mysql" {
            return Err(format!("has the scheme \"{}\"; {}", url.scheme(), Self::FORM));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(format!("names no host; {}", Self::FORM));
        };
        if url.username().is_empty() {
            return Err(format!("names no user; {}", Self::FORM));
        }
        if !matches!(url.path(), "" | "/") {
            return Err("must end after the port; source.include says which databases are read".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must end after the port; TLS is set in source.tls".to_owned());
        }
        let user = decode_percent(url.username()).ok_or("has a user name that is not UTF-8 when decoded")?;
        let port = url.port().unwrap_or(3306);
        if port == 0 {
            return Err("has port 0".to_owned());
        }
        // An IPv6 address stands in brackets only inside a URL.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, user })
    }

    /// Whether the connection never leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host is this machine, so that nobody else hears what is said to it.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn decode_percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if let (b'%', Some((code, after))) = (first, tail.split_first_chunk::<2>()) {
            let code = std::str::from_utf8(code).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// That a text is a level of log lines, or a filter such as `info,replicator::source=debug`. A misspelt level would be taken for the name of
/// a module, and silence everything.
pub fn log_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |directive: &str| {
        let (_, level) = directive.split_once('=').unwrap_or(("", directive));
        LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
    };
    if text.split(',').all(is_level) {
        return Ok(());
    }
    Err(format!("\"{text}\" is not a log level such as info, or a filter such as info,replicator::source=debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert_eq!(size("1234"), Ok(1234));
        for wrong in ["", "much", "-1GiB", "1 parsec", "99999999999999EiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_exactly() {
        assert_eq!(show_size(20 << 30), "20GiB");
        assert_eq!(show_size(1 << 40), "1TiB");
        assert_eq!(show_size(1025), "1025B");
        assert_eq!(show_size(0), "0B");
    }

    #[test]
    fn a_source_url_gives_host_port_and_user() {
        let url = |host: &str, port, user: &str| SourceUrl { host: host.into(), port, user: user.into() };
        assert_eq!(SourceUrl::parse("mysql://repl@db.example:3307"), Ok(url("db.example", 3307, "repl")));
        assert_eq!(SourceUrl::parse("mysql://repl@db.example/"), Ok(url("db.example", 3306, "repl")));
        assert_eq!(SourceUrl::parse("mysql://a%40b@[::1]:3306"), Ok(url("::1", 3306, "a@b")));
    }

    #[test]
    fn a_source_url_that_cannot_be_is_refused_with_its_reason_and_without_its_password() {
        for (text, reason) in [
            ("mysql://u:hunter2@h:3306", "REPLICATOR_SOURCE_PASSWORD"),
            ("postgres://u@h:5432", "scheme \"postgres\""),
            ("mysql://h:3306", "no user"),
            ("mysql://u@h:3306/shop", "source.include"),
            ("mysql://u@h:3306?ssl=true", "source.tls"),
            ("mysql://u@h:99999", "port"),
            ("127.0.0.1:3306", "not a URL"),
        ] {
            let message = SourceUrl::parse(text).unwrap_err();
            assert!(message.contains(reason), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        for (host, loopback) in [("127.0.0.1", true), ("localhost", true), ("[::1]", true), ("10.0.0.1", false)] {
            assert_eq!(SourceUrl::parse(&format!("mysql://u@{host}")).unwrap().is_loopback(), loopback, "{host}");
        }
    }
}
