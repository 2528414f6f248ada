//! Passwords, and how each authentication plugin has them sent.

use serde_json::json;

use super::said::{refused, run};
use crate::support::certificates::Authority;
use crate::support::compare::assert_mirrored;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, PASSWORD, ServerOptions};

/// A table with two rows.
async fn two_rows(sandbox: &Sandbox) {
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)"))
        .await;
}

/// Makes an account with what the product needs, and configures it.
async fn use_account(sandbox: &mut Sandbox, name: &str, identified: &str) {
    sandbox
        .server
        .exec(format!(
            "CREATE USER '{name}'@'%' IDENTIFIED {identified};
             GRANT SELECT, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{name}'@'%'"
        ))
        .await;
    sandbox.set("/source/url", json!(format!("mysql://{name}@127.0.0.1:{}", sandbox.server.port())));
}

/// Copies everything into a log and a target of their own.
async fn copies(sandbox: &mut Sandbox, name: &str) {
    let target = sandbox.path(&format!("{name}.db"));
    sandbox.set("/wal/path", json!(sandbox.path(&format!("{name}.wal"))));
    sandbox.set("/sinks/0/path", json!(target));
    sandbox.run_once();
    assert_eq!(assert_mirrored(&sandbox.server, DATABASE, &target).await.rows, 2, "{name}");
}

both_servers! {
    async fn an_account_that_is_not_let_in_is_named_with_what_to_do(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        two_rows(&sandbox).await;
        let alter = async |how: &str| sandbox.server.exec(format!("ALTER USER replicator {how}")).await;

        alter("IDENTIFIED BY 'another-secret'").await;
        refused(&sandbox, 1, &["1045", "REPLICATOR_SOURCE_PASSWORD", "source.password_file"]);
        alter(&format!("IDENTIFIED BY '{PASSWORD}' ACCOUNT LOCK")).await;
        refused(&sandbox, 1, &["locked", "unlock the account of source.url"]);
        alter("ACCOUNT UNLOCK PASSWORD EXPIRE").await;
        refused(&sandbox, 1, &["renew its password"]);
        sandbox.set("/source/url", json!(format!("mysql://nobody@127.0.0.1:{}", sandbox.server.port())));
        refused(&sandbox, 1, &["source.url"]);
    }
}

/// After FLUSH PRIVILEGES the server knows no password's digest, so that the first connection has to bring the password itself:
/// through TLS, or encrypted with the server's key.
#[tokio::test(flavor = "multi_thread")]
async fn caching_sha2_password_works_in_every_mode_with_a_cold_cache_and_a_warm_one_on_mysql() {
    let authority = Authority::new("ours");
    let server = ServerOptions::new(Kind::MySql).certificate(&authority.sign("127.0.0.1")).start().await;
    let mut sandbox = Sandbox::on(server).await;
    two_rows(&sandbox).await;
    use_account(&mut sandbox, "hashed", &format!("WITH caching_sha2_password BY '{PASSWORD}'")).await;

    for (mode, section) in [
        ("disabled", json!({ "mode": "disabled" })),
        ("required", json!({ "mode": "required" })),
        ("verify_identity", json!({ "mode": "verify_identity", "ca_file": authority.file() })),
    ] {
        sandbox.set("/source/tls", section);
        sandbox.server.exec("FLUSH PRIVILEGES").await;
        copies(&mut sandbox, &format!("{mode}-cold")).await;
        copies(&mut sandbox, &format!("{mode}-warm")).await;
        sandbox.server.exec("ALTER USER hashed IDENTIFIED BY 'another-secret'").await;
        refused(&sandbox, 1, &["1045", "REPLICATOR_SOURCE_PASSWORD"]);
        sandbox.server.exec(format!("ALTER USER hashed IDENTIFIED BY '{PASSWORD}'")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_and_without_a_key_of_the_server_the_password_stays_here_on_mysql() {
    let authority = Authority::new("ours");
    let options = ServerOptions::new(Kind::MySql).certificate(&authority.sign("127.0.0.1"));
    let options = options.argument("--caching-sha2-password-auto-generate-rsa-keys=OFF");
    let options = options.argument("--caching-sha2-password-private-key-path=none.pem");
    let mut sandbox =
        Sandbox::on(options.argument("--caching-sha2-password-public-key-path=none.pem").start().await).await;
    two_rows(&sandbox).await;

    sandbox.server.exec("FLUSH PRIVILEGES").await;
    refused(&sandbox, 1, &["source.tls.mode"]);
    sandbox.set("/source/tls", json!({ "mode": "verify_identity", "ca_file": authority.file() }));
    copies(&mut sandbox, "encrypted").await;
    // Now the server has the digest, and is shown that the password is known without being told it.
    sandbox.set("/source/tls", json!({ "mode": "disabled" }));
    copies(&mut sandbox, "clear").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_spoken_is_named_on_mysql() {
    let mut sandbox = Sandbox::new(Kind::MySql).await;
    use_account(&mut sandbox, "older", &format!("WITH sha256_password BY '{PASSWORD}'")).await;
    for mode in ["disabled", "required"] {
        sandbox.set("/source/tls", json!({ "mode": mode }));
        refused(&sandbox, 1, &["sha256_password", "caching_sha2_password"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn native_passwords_and_ed25519_work_with_and_without_tls_on_mariadb() {
    let authority = Authority::new("ours");
    let server = ServerOptions::new(Kind::MariaDb).certificate(&authority.sign("127.0.0.1")).start().await;
    let mut sandbox = Sandbox::on(server).await;
    two_rows(&sandbox).await;
    sandbox.server.exec("INSTALL SONAME 'auth_ed25519'").await;

    for plugin in ["mysql_native_password", "ed25519"] {
        use_account(&mut sandbox, plugin, &format!("VIA {plugin} USING PASSWORD('{PASSWORD}')")).await;
        for mode in ["disabled", "required"] {
            sandbox.set("/source/tls", json!({ "mode": mode }));
            copies(&mut sandbox, &format!("{plugin}-{mode}")).await;
        }
        sandbox
            .server
            .exec(format!("ALTER USER {plugin} IDENTIFIED VIA {plugin} USING PASSWORD('another-secret')"))
            .await;
        refused(&sandbox, 1, &["1045", "REPLICATOR_SOURCE_PASSWORD"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_spoken_is_named_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox.server.exec("INSTALL SONAME 'auth_pam_v1'").await;
    use_account(&mut sandbox, "pam", "VIA pam").await;
    refused(&sandbox, 1, &["dialog", "ed25519 or mysql_native_password"]);
}

/// PAM may have the password sent as it is. The account has no password there: that it is refused by the server shows that it
/// has been sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_in_clear_text_only_to_a_server_that_was_verified_on_mariadb() {
    let authority = Authority::new("ours");
    let options = ServerOptions::new(Kind::MariaDb).certificate(&authority.sign("127.0.0.1"));
    let options = options.argument("--plugin-load-add=auth_pam_v1.so").argument("--pam-use-cleartext-plugin=ON");
    let mut sandbox = Sandbox::on(options.start().await).await;
    use_account(&mut sandbox, "pam", "VIA pam").await;

    for mode in ["disabled", "required"] {
        sandbox.set("/source/tls", json!({ "mode": mode }));
        refused(&sandbox, 1, &["in clear text", "source.tls.mode to verify_ca or verify_identity"]);
    }
    sandbox.set("/source/tls", json!({ "mode": "verify_ca", "ca_file": authority.file() }));
    let (code, text) = run(&sandbox, &["start", "--once"]);
    assert!(code == Some(1) && text.contains("1045") && !text.contains("clear text"), "{code:?}: {text}");
}
