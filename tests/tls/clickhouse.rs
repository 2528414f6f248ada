//! What a sink's `tls` checks of ClickHouse.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::json;

use super::said::{finding, refused, run};
use crate::support::certificates::{Authority, Identity};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;
use crate::support::tls_front::TlsFront;
use crate::support::workload::{Shape, Workload};

/// A sandbox whose ClickHouse is reached through TLS with this certificate.
async fn behind_tls(identity: &Identity) -> (Sandbox, TlsFront) {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MariaDb).await;
    let front = TlsFront::before(sandbox.clickhouse().port(), identity).await;
    sandbox.set("/sinks/0/url", json!(format!("https://127.0.0.1:{}", front.port())));
    (sandbox, front)
}

fn with_tls(sandbox: &mut Sandbox, mode: &str, ca_file: Option<&Authority>) {
    let section = match ca_file {
        Some(authority) => json!({ "mode": mode, "ca_file": authority.file() }),
        None => json!({ "mode": mode }),
    };
    sandbox.set("/sinks/0/tls", section);
}

async fn one_row(sandbox: &Sandbox) {
    sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_copied_through_tls_in_every_mode_on_mariadb() {
    let authority = Authority::new("ours");
    let (mut sandbox, _front) = behind_tls(&authority.sign("127.0.0.1")).await;
    let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
    workload.create(&sandbox.server, 200).await;

    for (mode, ca_file, (status, detail)) in [
        ("required", None, ("warn", "on, but the server's certificate is not verified")),
        ("verify_ca", Some(&authority), ("ok", "on, certificate verified, its host name not")),
        ("verify_identity", Some(&authority), ("ok", "on, certificate and host verified")),
    ] {
        with_tls(&mut sandbox, mode, ca_file);
        assert_eq!(finding(&sandbox, "sink ch: TLS"), (status.to_owned(), detail.to_owned()));
        workload.run(&sandbox.server, 100).await;
        sandbox.run_once();
        assert!(sandbox.assert_mirrored_to_clickhouse().await.rows > 0, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_another_host_is_enough_for_every_mode_but_verify_identity_on_mariadb() {
    let authority = Authority::new("ours");
    let (mut sandbox, _front) = behind_tls(&authority.sign("ch.example")).await;
    one_row(&sandbox).await;

    with_tls(&mut sandbox, "verify_identity", Some(&authority));
    refused(&sandbox, 1, &["ch.example", "the sink's url", "the sink's tls.mode to verify_ca"]);

    with_tls(&mut sandbox, "verify_ca", Some(&authority));
    sandbox.run_once();
    assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 1);
    with_tls(&mut sandbox, "required", None);
    sandbox.run_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_an_unknown_authority_is_enough_for_no_check_on_mariadb() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (mut sandbox, _front) = behind_tls(&theirs.sign("127.0.0.1")).await;
    one_row(&sandbox).await;

    for mode in ["verify_ca", "verify_identity"] {
        for ca_file in [Some(&ours), None] {
            with_tls(&mut sandbox, mode, ca_file);
            refused(&sandbox, 1, &["UnknownIssuer", "the sink's tls.ca_file"]);
        }
    }

    with_tls(&mut sandbox, "required", None);
    sandbox.run_once();
    assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_the_other_protocol_is_named_on_mariadb() {
    let authority = Authority::new("ours");
    let (mut sandbox, front) = behind_tls(&authority.sign("127.0.0.1")).await;
    one_row(&sandbox).await;
    let (plain, encrypted) = (sandbox.clickhouse().port(), front.port());

    let no_tls = "the port in the sink's url is one where the server speaks TLS";
    for (mode, ca_file) in [("required", None), ("verify_identity", Some(&authority))] {
        with_tls(&mut sandbox, mode, ca_file);
        // The server refuses what is not HTTP, or waits for its end and hangs up: it depends on random bytes in the greeting.
        sandbox.set("/sinks/0/url", json!(format!("https://127.0.0.1:{plain}")));
        let (code, text) = run(&sandbox, &["check"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(no_tls), "{text}");
        // Where it is refused, a start ends.
        sandbox.set("/sinks/0/url", json!(format!("https://127.0.0.1:{}", refuses_what_is_no_http())));
        refused(&sandbox, 1, &[no_tls]);
    }
    with_tls(&mut sandbox, "disabled", None);
    sandbox.set("/sinks/0/url", json!(format!("http://127.0.0.1:{plain}")));
    assert_eq!(finding(&sandbox, "sink ch: TLS"), ("ok".to_owned(), "off, on this machine only".to_owned()));
    sandbox.set("/sinks/0/url", json!(format!("http://127.0.0.1:{encrypted}")));
    refused(&sandbox, 1, &["if it speaks TLS, write https"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_authority_and_a_url_that_does_not_fit_are_problems_of_the_configuration_on_mariadb() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1");
    let (mut sandbox, front) = behind_tls(&identity).await;

    for (file, wrong) in [(sandbox.path("missing.pem"), "cannot read"), (identity.key.clone(), "no certificate in PEM")]
    {
        sandbox.set("/sinks/0/tls", json!({ "mode": "verify_ca", "ca_file": file }));
        refused(&sandbox, 2, &["sinks[0].tls.ca_file", wrong]);
    }
    with_tls(&mut sandbox, "disabled", None);
    refused(&sandbox, 2, &["sinks[0].url", "is https"]);
    with_tls(&mut sandbox, "required", None);
    sandbox.set("/sinks/0/url", json!(format!("http://127.0.0.1:{}", front.port())));
    refused(&sandbox, 2, &["sinks[0].url", "is http"]);
}

/// A port where everything is answered as a web server answers what it cannot read; open until the test ends.
fn refuses_what_is_no_http() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // Who asks may be gone already.
            drop(connection.read(&mut [0; 4096]));
            drop(connection.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    port
}
