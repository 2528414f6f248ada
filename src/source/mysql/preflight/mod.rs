//! What `check` looks at in the source: every condition that would stop the stream or the snapshot, or lose
//! something, found before it does, each with the statement that fixes it.
//!
//! It reads only. It does not ask for a dump: a second one under the daemon's server id would end the daemon's own.

mod grants;
mod replicas;
mod settings;
mod tables;

use mysql_async::{Conn, ServerError};

use super::account::Account;
use super::connect::{ACCESS_DENIED, connect, login_without_password};
use super::server::{self, ServerInfo};
use crate::config::{SourcePlan, TlsMode, is_loopback};
use crate::error::Failure;
use crate::model::CheckItem;

/// Checks the source. `is_running`: the daemon of this configuration is connected to it. What cannot be looked at
/// because something before it failed is left out: that failure is in the list.
pub async fn checks(source: &SourcePlan, is_running: bool) -> Vec<CheckItem> {
    let mut items = Vec::new();
    let mut connection = match connect(source).await {
        Ok(connection) => connection,
        Err(failure) => {
            items.push(failed("source connection", &failure));
            items.extend(shadowed(source, &failure).await);
            return items;
        }
    };
    items.push(CheckItem::ok("source connection", format!("{}:{} as \"{}\"", source.host, source.port, source.user)));
    items.push(tls(&mut connection, source).await);
    match ServerInfo::probe(&mut connection).await {
        Ok(server) => {
            items.push(CheckItem::ok(
                "source version",
                format!("{} {} ({})", server.flavour, server.version_text, server.identity),
            ));
            let source = &source.clone().under(server.names);
            items.extend(settings::checks(&server, source));
            items.push(replicas::check(&mut connection, &server, source, is_running).await);
            items.extend(account(&mut connection, &server, source).await);
        }
        Err(failure) => items.push(failed("source version", &failure)),
    }
    // The checks are done; a connection that does not close in order changes none of them.
    drop(connection.disconnect().await);
    items
}

/// Whether a login was denied because an anonymous account took it: one without a password lets the same user in
/// without.
async fn shadowed(source: &SourcePlan, failure: &Failure) -> Option<CheckItem> {
    let denied = failure.source.as_ref().and_then(|cause| cause.downcast_ref::<ServerError>());
    if denied.is_none_or(|error| error.code != ACCESS_DENIED)
        || source.password.read().is_ok_and(|password| password.is_empty())
    {
        return None;
    }
    let mut connection = login_without_password(source).await?;
    let account = Account::ask(&mut connection).await.ok()?;
    drop(connection.disconnect().await);
    account.is_anonymous().then(|| grants::account(&account, source))
}

/// What the account may do, and what it sees. Of an anonymous account neither is looked at: what it lacks, nobody
/// should grant it.
async fn account(connection: &mut Conn, server: &ServerInfo, source: &SourcePlan) -> Vec<CheckItem> {
    let account = match Account::ask(connection).await {
        Ok(account) => account,
        Err(failure) => return vec![failed("source account", &failure)],
    };
    let mut items = vec![grants::account(&account, source)];
    if !account.is_anonymous() {
        items.extend(grants::checks(connection, server, source, &account).await);
        items.extend(tables::checks(connection, server, source).await);
    }
    items
}

/// A failure as a finding. The way out is the mend.
fn failed(name: &str, failure: &Failure) -> CheckItem {
    let mut detail = failure.message.clone();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    CheckItem::fail(name, detail, failure.hint.clone())
}

async fn tls(connection: &mut Conn, source: &SourcePlan) -> CheckItem {
    let name = "source TLS";
    let purpose = "read the connection's cipher";
    let cipher: Result<Vec<(String, String)>, _> =
        server::query(connection, "SHOW SESSION STATUS LIKE 'Ssl_version'", purpose).await;
    let version = match cipher {
        Ok(rows) => rows.into_iter().next().map(|(_, version)| version).unwrap_or_default(),
        Err(failure) => return failed(name, &failure),
    };
    match source.tls.mode {
        TlsMode::VerifyIdentity => CheckItem::ok(name, format!("{version}, certificate and host verified")),
        TlsMode::VerifyCa => CheckItem::ok(name, format!("{version}, certificate verified, its host name not")),
        TlsMode::Required => CheckItem::warn(
            name,
            format!("{version}, but the server's certificate is not verified"),
            Some("set source.tls.mode to verify_identity, with source.tls.ca_file".to_owned()),
        ),
        TlsMode::Disabled if is_loopback(&source.host) => CheckItem::ok(name, "off, on this machine only"),
        TlsMode::Disabled => CheckItem::warn(
            name,
            "off: rows cross the network in clear text",
            Some("set source.tls.mode to verify_identity, with source.tls.ca_file".to_owned()),
        ),
    }
}
