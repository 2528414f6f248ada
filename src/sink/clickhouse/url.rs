//! The address of a server, as the configuration writes it.

use crate::config::is_loopback;

/// `http://host:port` or `https://host:port`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpUrl {
    /// The caller fills in the default port.
    pub(super) text: String,
    pub(super) is_https: bool,
    host: String,
}

impl HttpUrl {
    const FORM: &'static str = "write it like http://127.0.0.1:8123 or https://clickhouse.example:8443";

    /// No message repeats the text: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("not a URL ({error}); {}", Self::FORM))?;
        if url.password().is_some() || !url.username().is_empty() {
            return Err("must not hold a user or a password; they have keys of their own".to_owned());
        }
        let is_https = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("has the scheme \"{other}\"; {}", Self::FORM)),
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(format!("names no host; {}", Self::FORM));
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must end before \"?\"; settings have a key of their own".to_owned());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { text: url.to_string(), is_https, host })
    }

    /// Whether the connection never leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}
