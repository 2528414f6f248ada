//! Opening a connection, and what its session is set to.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, SslOpts};

use super::meaning::{TURN_TLS_ON, classify, is_denied};
use crate::config::{Secret, SourcePlan, TlsMode};
use crate::error::{ErrorClass, Failure};

/// Time for TCP, TLS and login together. A server that needs longer is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Idle time before TCP asks whether the peer is alive; below the 350 s after which cloud load balancers forget a connection.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Largest packet taken from the server: the protocol's own limit, as an event may be as large as the dump thread sends.
const MAX_PACKET: usize = 1 << 30;

/// What every session is set to, in one statement. Times in UTC; strings in UTF-8 until a reader says otherwise; and the server
/// waits long enough when the log is full and nothing is read from the connection (its default is one minute).
///
/// MySQL can be set to leave generated invisible primary keys out of the catalogue (from 8.0.30 on). They stand in the binlog, so the
/// catalogue has to show them. MariaDB passes over a comment for that version.
pub const SESSION: &str = "SET NAMES utf8mb4, SESSION time_zone = '+00:00', \
    SESSION net_write_timeout = 3600, SESSION net_read_timeout = 3600, SESSION wait_timeout = 28800 \
    /*!80030 , SESSION show_gipk_in_create_table_and_information_schema = ON */";

/// Makes the driver skip the check of the certificate's host name, and that alone. Up to version 0.37.1 it tells that a certificate
/// does not name the host by looking for this word in the text of rustls's error, where it has not stood since rustls 0.23.17
/// (<https://github.com/blackbeam/mysql_async/issues/404>). The text does quote the host that was asked for, and no other error of
/// the check does, so the word is asked for as the host. It also goes to the server as the name of TLS's SNI, which neither server
/// looks at.
const SKIP_HOST_NAME: &str = "NotValidForName";

/// Driver options for the source, with the password as it is now.
fn options(source: &SourcePlan, password: &Secret) -> Opts {
    let verifies = matches!(source.tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    let tls = (source.tls.mode != TlsMode::Disabled).then(|| {
        let authorities = source.tls.ca_file.iter().map(|file| file.clone().into()).collect();
        SslOpts::default()
            .with_root_certs(authorities)
            .with_danger_accept_invalid_certs(!verifies)
            .with_danger_skip_domain_validation(source.tls.mode != TlsMode::VerifyIdentity)
            .with_danger_tls_hostname_override((source.tls.mode == TlsMode::VerifyCa).then_some(SKIP_HOST_NAME))
    });
    OptsBuilder::default()
        .ip_or_hostname(source.host.as_str())
        .tcp_port(source.port)
        .user(Some(source.user.as_str()))
        .pass((!password.is_empty()).then(|| password.reveal()))
        // A socket found on the same host would bypass the address and the TLS that were asked for.
        .prefer_socket(false)
        .ssl_opts(tls)
        // A password in clear text (PAM, LDAP) only to a server whose certificate was checked.
        .enable_cleartext_plugin(verifies)
        .stmt_cache_size(0)
        .tcp_keepalive(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .max_allowed_packet(Some(MAX_PACKET))
        .wait_timeout(Some(28_800))
        .init(vec![SESSION])
        .into()
}

/// Logins that the server may deny before it is believed. The driver drops a zero byte at the end of what MariaDB's `ed25519` gives to
/// sign (up to `mysql_common` 0.37.3; 0.38 does not), so that one login in 256 brings a wrong signature. Which plugin it was, the driver
/// does not tell, and to ask the server again would count as a broken-off handshake (`max_connect_errors`).
const LOGINS: u32 = 2;

/// Opens a connection.
///
/// # Errors
/// A [`Failure`] that says whether to try again, and which setting it is about.
pub async fn connect(source: &SourcePlan) -> Result<Conn, Failure> {
    let server = format!("{}:{}", source.host, source.port);
    let mut logins = 1;
    loop {
        let password = source.password.read()?;
        // Boxed: the driver's future is large, and connections are rare. The driver panics at a server's key that is none, and at a
        // password that the key is too short for; what it had begun goes with it.
        let attempt = AssertUnwindSafe(Box::pin(Conn::new(options(source, &password)))).catch_unwind();
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(Ok(connection))) => {
                source.password.accepted();
                return Ok(connection);
            }
            Ok(Ok(Err(error))) => {
                if is_denied(&error) && logins < LOGINS {
                    logins += 1;
                    tracing::info!(server, "the login was denied, and is tried once more");
                    continue;
                }
                return Err(refused(error, &server, source));
            }
            Ok(Err(_panic)) => {
                return Err(Failure::fatal(format!(
                    "cannot connect to the source \"{server}\": what it answers to the login cannot be understood"
                ))
                .hint(format!("check host and port in source.url; if it is the right server, {TURN_TLS_ON}")));
            }
            Err(_) => {
                return Err(Failure::retry(format!(
                    "cannot connect to the source \"{server}\": no answer in {} s",
                    CONNECT_TIMEOUT.as_secs()
                ))
                .caused_by(std::io::Error::from(std::io::ErrorKind::TimedOut))
                .hint("check host and port in source.url, and what filters packets on the way"));
            }
        }
    }
}

/// Whether a login with no password is let in, and its connection: only an account without one lets it in.
pub async fn login_without_password(source: &SourcePlan) -> Option<Conn> {
    let attempt = AssertUnwindSafe(Box::pin(Conn::new(options(source, &Secret::default())))).catch_unwind();
    tokio::time::timeout(CONNECT_TIMEOUT, attempt).await.ok()?.ok()?.ok()
}

/// How an anonymous account may be why a login is denied, from the server's words: `Access denied for user 'u'@'h'
/// (using password: YES)`.
fn shadowed(error: &Error) -> Option<String> {
    let Error::Server(error) = error else { return None };
    let (_, rest) = error.message.split_once("for user ")?;
    let (client, used) = rest.split_once(" (using password: ")?;
    let host = client.rsplit_once('@').filter(|_| used.starts_with("YES"))?.1;
    Some(format!(
        "if both are right, an anonymous account takes the login, as its host is closer than that of the user's account \
         (SELECT user, host FROM mysql.user WHERE user = ''): DROP USER ''@{host}, or CREATE USER {client}"
    ))
}

/// What a login that was not let in, or did not come so far, means.
pub fn refused(error: Error, server: &str, source: &SourcePlan) -> Failure {
    let shadowed = if is_denied(&error) { shadowed(&error) } else { None };
    let failure = refused_of(error, server, source);
    match (failure.hint.clone(), shadowed) {
        (Some(hint), Some(shadowed)) => failure.hint(format!("{hint}; {shadowed}")),
        _ => failure,
    }
}

fn refused_of(error: Error, server: &str, source: &SourcePlan) -> Failure {
    // Neither server tells a wrong password from an account that demands TLS, nor MariaDB from a server that does.
    let denied = is_denied(&error);
    let failure = classify(error, &format!("connect to the source \"{server}\""));
    if denied && source.password.may_change() {
        // It was let in with another password before: an operator is changing it.
        let hint = "source.password_file holds another password than the server accepts; it is read again at each try";
        return Failure { class: ErrorClass::Retry, ..failure }.hint(hint);
    }
    match failure.hint.clone() {
        Some(hint) if denied && source.tls.mode == TlsMode::Disabled => failure.hint(format!(
            "{hint}; if the account or the server demands TLS (REQUIRE SSL, require_secure_transport), {TURN_TLS_ON}"
        )),
        _ => failure,
    }
}

/// Runs a statement without a result.
///
/// # Errors
/// A classified [`Failure`] that says what the statement was for.
pub async fn execute(connection: &mut Conn, sql: &str, purpose: &str) -> Result<(), Failure> {
    connection.query_drop(sql).await.map_err(|error| classify(error, purpose))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{PASSWORD_VARIABLE, parse};

    async fn send(stream: &mut TcpStream, number: u8, payload: &[u8]) {
        let mut packet = vec![u8::try_from(payload.len()).unwrap(), 0, 0, number];
        packet.extend_from_slice(payload);
        stream.write_all(&packet).await.unwrap();
    }

    async fn receive(stream: &mut TcpStream) {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[0])];
        stream.read_exact(&mut payload).await.unwrap();
    }

    /// A greeting that offers `plugin` and no TLS.
    fn greeting(plugin: &str) -> Vec<u8> {
        let mut greeting = b"\x0a9.7.0\0\x01\0\0\0saltsalt\0".to_vec();
        greeting.extend_from_slice(&[0xff, 0xf7, 0x2d, 0x02, 0x00, 0x0b, 0x00, 21]); // capabilities without TLS
        greeting.extend_from_slice(&[0; 10]);
        greeting.extend_from_slice(b"saltsaltsalt\0");
        greeting.extend_from_slice(plugin.as_bytes());
        greeting.push(0);
        greeting
    }

    /// A server that greets, asks for the password encrypted, and says that this is its key.
    async fn with_key(listener: TcpListener, key: &'static [u8]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        send(&mut stream, 0, &greeting("caching_sha2_password")).await;
        receive(&mut stream).await;
        send(&mut stream, 2, &[1, 4]).await;
        receive(&mut stream).await;
        send(&mut stream, 4, key).await;
        // The client goes.
        drop(stream.read(&mut [0; 64]).await);
    }

    /// Denies so many logins.
    async fn deny(listener: &TcpListener, logins: usize) {
        for _ in 0..logins {
            let (mut stream, _) = listener.accept().await.unwrap();
            send(&mut stream, 0, &greeting("mysql_native_password")).await;
            receive(&mut stream).await;
            send(&mut stream, 2, b"\xff\x15\x04#28000Access denied for user").await;
        }
    }

    /// Lets a login in, whatever it asks then.
    async fn let_in(listener: &TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        send(&mut stream, 0, &greeting("mysql_native_password")).await;
        receive(&mut stream).await;
        send(&mut stream, 2, OK).await;
        receive(&mut stream).await;
        send(&mut stream, 1, OK).await;
    }

    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

    fn plan_of(listener: &TcpListener) -> SourcePlan {
        plan_at(&listener.local_addr().unwrap().to_string())
    }

    fn plan_at(address: &str) -> SourcePlan {
        let text =
            format!("{{ source: {{ url: 'mysql://u@{address}', server_id: 5400, include: ['shop.*'] }}, sinks: [] }}");
        let password = |name: &str| Ok((name == PASSWORD_VARIABLE).then(|| "sesame".to_owned()));
        parse(Path::new("replicator.yaml"), &text, &password, &[]).unwrap().source
    }

    #[test]
    fn a_denied_login_with_a_password_names_the_anonymous_account_and_grants_nothing() {
        let denied = |text: &str| {
            let error = mysql_async::ServerError { code: 1045, message: text.into(), state: "28000".into() };
            refused(Error::Server(error), "h:3306", &plan_at("h:3306")).hint.unwrap()
        };
        let said = denied("Access denied for user 'o@b'@'localhost' (using password: YES)");
        assert!(said.ends_with("DROP USER ''@'localhost', or CREATE USER 'o@b'@'localhost'"), "{said}");
        assert!(said.starts_with("check the user in source.url") && !said.contains("GRANT"), "{said}");
        let without = denied("Access denied for user 'u'@'localhost' (using password: NO)");
        assert!(!without.contains("anonymous"), "{without}");
    }

    #[tokio::test]
    async fn a_denied_login_is_tried_once_more_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = plan_of(&listener);
        let server = async {
            deny(&listener, 1).await;
            let_in(&listener).await;
        };
        let (connection, ()) = tokio::join!(connect(&source), server);
        connection.unwrap();

        // A third login would find nobody to greet it, and end as one that may be tried again.
        let (denied, ()) = tokio::join!(connect(&source), deny(&listener, 2));
        assert_eq!(denied.unwrap_err().class, ErrorClass::Fatal);
    }

    #[tokio::test]
    async fn a_servers_key_that_is_none_is_an_error_and_no_panic() {
        for key in [&b""[..], b"\x01no key"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let source = plan_of(&listener);
            let server = tokio::spawn(with_key(listener, key));

            let failure = connect(&source).await.unwrap_err();

            assert_eq!(failure.class, ErrorClass::Fatal);
            assert!(failure.message.contains("cannot be understood"), "{}", failure.chain());
            assert!(failure.hint.unwrap().contains("source.tls.mode"));
            server.await.unwrap();
        }
    }
}
