//! What `source.tls` checks of the server, and what is said when it does not fit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::said::{finding, refused};
use crate::support::certificates::{Authority, Identity};
use crate::support::compare::assert_mirrored;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, ServerOptions};
use crate::support::workload::Workload;

fn tls(mode: &str, ca_file: &Path) -> Value {
    json!({ "mode": mode, "ca_file": ca_file })
}

/// A server that serves TLS with this certificate.
async fn with_certificate(kind: Kind, identity: &Identity) -> Sandbox {
    Sandbox::on(ServerOptions::new(kind).certificate(identity).start().await).await
}

/// A table with one row.
async fn one_row(sandbox: &Sandbox) {
    sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)")).await;
}

/// Points the configuration to a log and a target that are not there yet.
fn start_over(sandbox: &mut Sandbox, name: &str) -> std::path::PathBuf {
    let target = sandbox.path(&format!("{name}.db"));
    sandbox.set("/wal/path", json!(sandbox.path(&format!("{name}.wal"))));
    sandbox.set("/sinks/0/path", json!(target));
    target
}

both_servers! {
    async fn snapshot_and_stream_are_encrypted_in_every_mode(kind: Kind) {
        let authority = Authority::new("ours");
        let mut sandbox = with_certificate(kind, &authority.sign("127.0.0.1")).await;
        // From here on a connection of the account that is not encrypted is let in no more.
        sandbox.server.exec("ALTER USER replicator REQUIRE SSL").await;
        refused(&sandbox, 1, &["1045", "REPLICATOR_SOURCE_PASSWORD", "REQUIRE SSL", "source.tls.mode"]);
        let workload = Workload::new(DATABASE);
        workload.create(&sandbox.server, 200).await;

        for (mode, section, expected) in [
            ("required", json!({ "mode": "required" }), ("warn", "certificate is not verified")),
            ("verify_ca", tls("verify_ca", &authority.file()), ("ok", "its host name not")),
            ("verify_identity", tls("verify_identity", &authority.file()), ("ok", "certificate and host verified")),
        ] {
            sandbox.set("/source/tls", section);
            let target = start_over(&mut sandbox, mode);

            let (status, detail) = finding(&sandbox, "source TLS");
            sandbox.run_once();
            let snapshot = assert_mirrored(&sandbox.server, DATABASE, &target).await;
            workload.run(&sandbox.server, 100).await;
            sandbox.run_once();

            assert!(status == expected.0 && detail.contains(expected.1), "{mode}: {status}, {detail}");
            assert!(detail.starts_with("TLSv1."), "{mode}: {detail}");
            assert!(snapshot.rows > 200, "{mode}: {snapshot:?}");
            assert_mirrored(&sandbox.server, DATABASE, &target).await;
        }
    }

    async fn the_certificate_of_another_host_is_enough_for_every_mode_but_verify_identity(kind: Kind) {
        let authority = Authority::new("ours");
        let mut sandbox = with_certificate(kind, &authority.sign("db.example")).await;
        one_row(&sandbox).await;
        sandbox.server.exec("ALTER USER replicator REQUIRE SSL").await;

        sandbox.set("/source/tls", tls("verify_identity", &authority.file()));
        refused(&sandbox, 1, &["db.example", "source.url", "source.tls.mode to verify_ca"]);

        sandbox.set("/source/tls", tls("verify_ca", &authority.file()));
        assert_eq!(finding(&sandbox, "source TLS").0, "ok");
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 1);
        sandbox.set("/source/tls", json!({ "mode": "required" }));
        sandbox.run_once();
    }

    async fn the_certificate_of_an_unknown_authority_is_enough_for_no_check(kind: Kind) {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let mut sandbox = with_certificate(kind, &theirs.sign("127.0.0.1")).await;
        one_row(&sandbox).await;

        for mode in ["verify_ca", "verify_identity"] {
            sandbox.set("/source/tls", tls(mode, &ours.file()));
            refused(&sandbox, 1, &["UnknownIssuer", "source.tls.ca_file"]);
            sandbox.set("/source/tls", json!({ "mode": mode }));
            refused(&sandbox, 1, &["UnknownIssuer", "source.tls.ca_file"]);
        }

        sandbox.set("/source/tls", json!({ "mode": "required" }));
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 1);
    }

    async fn an_authority_that_shows_its_own_certificate_is_not_taken_for_a_server(kind: Kind) {
        let authority = Authority::new("ours");
        let mut sandbox = with_certificate(kind, &authority.itself()).await;
        for mode in ["verify_ca", "verify_identity"] {
            sandbox.set("/source/tls", tls(mode, &authority.file()));
            refused(&sandbox, 1, &["CaUsedAsEndEntity", "not an authority's own", "source.tls.ca_file"]);
        }
    }

    async fn a_running_daemon_stops_at_a_certificate_that_it_does_not_know(kind: Kind) {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let (right, wrong) = (ours.sign("127.0.0.1"), theirs.sign("127.0.0.1"));
        let mut sandbox = with_certificate(kind, &right).await;
        one_row(&sandbox).await;
        sandbox.set("/source/tls", tls("verify_ca", &ours.file()));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let kept = [&right.certificate, &right.key].map(|file| fs::read(file).unwrap());
        fs::copy(&wrong.certificate, &right.certificate).unwrap();
        fs::copy(&wrong.key, &right.key).unwrap();
        sandbox.server.restart().await;
        let code = daemon.wait(Duration::from_mins(1));

        assert_eq!(code, 1);
        assert!(daemon.log().contains("UnknownIssuer") && daemon.log().contains("source.tls.ca_file"));
        fs::write(&right.certificate, &kept[0]).unwrap();
        fs::write(&right.key, &kept[1]).unwrap();
        sandbox.server.restart().await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2)")).await;
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }

    async fn a_server_without_tls_is_not_spoken_to_in_the_clear(kind: Kind) {
        let authority = Authority::new("ours");
        let mut sandbox = Sandbox::on(ServerOptions::new(kind).without_tls().start().await).await;
        one_row(&sandbox).await;

        for section in [json!({ "mode": "required" }), tls("verify_ca", &authority.file()), tls("verify_identity", &authority.file())] {
            sandbox.set("/source/tls", section);
            refused(&sandbox, 1, &["offers no TLS", "source.tls.mode"]);
        }

        sandbox.set("/source/tls", json!({ "mode": "disabled" }));
        assert_eq!(finding(&sandbox, "source TLS"), ("ok".to_owned(), "off, on this machine only".to_owned()));
        sandbox.run_once();
        assert_eq!(sandbox.assert_mirrored().await.rows, 1);
    }

    async fn a_server_that_demands_tls_of_everybody_is_reached_with_it_alone(kind: Kind) {
        let authority = Authority::new("ours");
        let mut sandbox = with_certificate(kind, &authority.sign("127.0.0.1")).await;
        one_row(&sandbox).await;
        sandbox.server.exec("SET GLOBAL require_secure_transport = ON").await;

        // MySQL and newer MariaDB say so; older MariaDB says what it says of a wrong password.
        refused(&sandbox, 1, &["the server demands TLS", "set source.tls.mode"]);

        sandbox.set("/source/tls", tls("verify_identity", &authority.file()));
        sandbox.run_once();
        let file = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
        assert_eq!(file.query_row("SELECT group_concat(id) FROM t", [], |row| row.get::<_, String>(0)).unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_authority_is_a_problem_of_the_configuration_on_mariadb() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1");
    let mut sandbox = with_certificate(Kind::MariaDb, &identity).await;

    for (file, wrong) in [
        (sandbox.path("missing.pem"), "cannot read"),
        (sandbox.path("."), "cannot read"),
        (identity.key.clone(), "no certificate in PEM"),
    ] {
        for mode in ["verify_ca", "verify_identity"] {
            sandbox.set("/source/tls", tls(mode, &file));
            refused(&sandbox, 2, &["source.tls.ca_file", wrong]);
        }
    }
}

/// It names no host at all, and its authority lies beside it.
#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_that_a_server_makes_for_itself_is_verified_by_its_authority_on_mysql() {
    let mut sandbox = Sandbox::new(Kind::MySql).await;
    one_row(&sandbox).await;
    let authority = sandbox.server.data_directory().join("ca.pem");

    sandbox.set("/source/tls", tls("verify_identity", &authority));
    refused(&sandbox, 1, &["not valid for any names", "source.tls.mode to verify_ca"]);
    sandbox.set("/source/tls", tls("verify_ca", &authority));
    sandbox.run_once();

    assert_eq!(sandbox.assert_mirrored().await.rows, 1);
}
