//! `check` looks at log, source and targets beside each other: what each of them allows alone, and a start would
//! refuse. What a finding says to do is done, and `check` is content after it.

use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, PASSWORD, ServerOptions, USER};

/// The exit code of `check --json`, and its findings.
fn check(sandbox: &Sandbox) -> (i32, Vec<Value>) {
    let output = sandbox.run(&["check", "--json"]);
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().unwrap(), found)
}

/// The finding of this name with everything that it says, and the exit code.
fn finding(sandbox: &Sandbox, name: &str) -> (i32, String, String) {
    let (code, items) = check(sandbox);
    let item = items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no \"{name}\" in {items:#?}"));
    let mend = item["mend"].as_str().unwrap_or_default();
    (code, item["status"].as_str().unwrap().to_owned(), format!("{} -> {mend}", item["detail"].as_str().unwrap()))
}

fn assert_ok(sandbox: &Sandbox, names: &[&str]) {
    let (code, items) = check(sandbox);
    for name in names {
        let item =
            items.iter().find(|item| item["name"] == *name).unwrap_or_else(|| panic!("no \"{name}\" in {items:#?}"));
        assert_eq!(item["status"], "ok", "{item:#}");
    }
    let failed: Vec<_> = items.iter().filter(|item| item["status"] == "fail").collect();
    assert_eq!((code, failed.len()), (0, 0), "{failed:#?}");
}

fn assert_found((code, status, said): (i32, String, String), expected: (i32, &str), words: &[&str]) {
    assert_eq!((code, status.as_str()), expected, "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

both_servers! {
    async fn a_position_that_the_source_does_not_have_any_more_is_a_finding(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        assert_ok(&sandbox, &["log position", "server id in use"]);
        sandbox.run_once();
        assert_ok(&sandbox, &["log position", "sink local: log and target", "server id in use"]);

        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let (code, status, said) = finding(&sandbox, "log position");
        assert_found((code, status, said), (0, "ok"), &["the daemon is streaming", "are not compared"]);
        assert_ok(&sandbox, &["sink local: log and target", "server id in use"]);
        daemon.stop();

        run(&sandbox, "INSERT INTO t VALUES (2)").await;
        sandbox.server.purge_binlogs().await;
        assert_found(finding(&sandbox, "log position"), (1, "fail"), &["purge", "`replicator start --resync`"]);
        sandbox.set("/source/on_purged", json!("resync"));
        assert_found(finding(&sandbox, "log position"), (0, "warn"), &["purge", "every table is read again"]);
        sandbox.set("/source/on_purged", json!("stop"));
        // As the finding says.
        assert!(sandbox.run(&["start", "--resync", "--once"]).status.success());
        assert_ok(&sandbox, &["log position"]);
        sandbox.assert_mirrored().await;

        // A server of the same tables and of another history.
        let mut other = ServerOptions::new(kind).argument("--server-id=9").start().await;
        other.exec(format!("CREATE DATABASE {DATABASE}; CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY)")).await;
        std::mem::swap(&mut sandbox.server, &mut other);
        sandbox.set("/source/url", json!(sandbox.server.url()));
        assert_found(finding(&sandbox, "log position"), (1, "fail"), &["lacks transactions that the log has read", "--resync"]);
    }

    async fn a_server_id_that_another_replica_has_is_a_finding_and_ends_the_older_one_permanently(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        let mut first = sandbox.start();
        sandbox.caught_up(&mut first).await;

        // A second daemon, with a log and a target of its own.
        sandbox.set("/wal/path", json!(sandbox.path("second-wal")));
        sandbox.set("/sinks/0/path", json!(sandbox.path("second.db")));
        sandbox.set("/http/listen", json!("none"));
        let found = finding(&sandbox, "server id in use");
        match kind {
            Kind::MySql => assert_found(found, (1, "fail"), &["5400 is in use by a replica", "\"replicator\"", "give source.server_id a value"]),
            // It does not tell to an account with the privileges that replicator needs.
            Kind::MariaDb => {
                assert_found(found, (0, "warn"), &["the binlog is read by 127.0.0.1", "REPLICATION MASTER ADMIN", "give source.server_id a value"]);
                sandbox.server.exec(format!("GRANT REPLICATION MASTER ADMIN ON *.* TO '{USER}'@'%'")).await;
                assert_found(finding(&sandbox, "server id in use"), (1, "fail"), &["5400 is in use by a replica", "\"replicator\""]);
            }
        }
        let mut second = sandbox.start();
        sandbox.caught_up(&mut second).await;
        assert_eq!(first.wait(crate::support::daemon::LIMIT), 4, "{}", first.log());
        let said = first.log();
        for words in ["another replica of the source has connected with the number in source.server_id", "hint: ", "give source.server_id a value that no other replica of the source has"] {
            assert!(said.contains(words), "{words} is not in\n{said}");
        }
        second.stop();

        // As both say.
        sandbox.set("/source/server_id", json!(5401));
        assert_ok(&sandbox, &["server id in use"]);
        sandbox.run_once();
        sandbox.set("/sinks/0/path", json!(sandbox.sqlite()));
        sandbox.set("/wal/path", json!(sandbox.wal_directory()));
        sandbox.run_once();
        sandbox.assert_mirrored().await;
    }

    async fn an_anonymous_account_that_takes_the_login_is_named_and_granted_nothing(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY)").await;
        // A later login of the test's own would end there as well.
        let mut root = sandbox.server.connect().await;
        root.query_drop("CREATE USER ''@'127.0.0.1'").await.unwrap();

        let output = sandbox.run(&["check"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let started = sandbox.run(&["start", "--once"]);
        let started = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(said.contains("logged in as ''@'127.0.0.1', an anonymous account"), "{said}");
        for said in [&said, &started] {
            assert!(said.contains("DROP USER ''@'127.0.0.1', or CREATE USER 'replicator'@'127.0.0.1'"), "{said}");
            assert!(!said.contains("GRANT") && !said.contains(PASSWORD), "{said}");
        }
        // As they say.
        root.query_drop("DROP USER ''@'127.0.0.1'").await.unwrap();
        assert_ok(&sandbox, &["source account"]);
        sandbox.run_once();
    }
}

/// A SQLite file and a ClickHouse that hold a copy of one table.
async fn copied(kind: Kind) -> Sandbox {
    let mut sandbox = Sandbox::with_every_sink(kind).await;
    let sinks = sandbox.config()["sinks"].as_array().unwrap();
    let two = json!([sinks[0], sinks[2]]);
    sandbox.set("/sinks", two);
    run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    sandbox.run_once();
    sandbox
}

const BOTH: [&str; 2] = ["sink local: log and target", "sink ch: log and target"];

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_emptied_or_is_of_another_log_is_a_finding_on_mariadb() {
    let mut sandbox = copied(Kind::MariaDb).await;
    assert_ok(&sandbox, &BOTH);

    // One table alone.
    sandbox.clickhouse().exec("RENAME TABLE replica.t TO replica.aside").await;
    assert_found(
        finding(&sandbox, "sink ch: target"),
        (1, "fail"),
        &["shop.t will be stopped at the next start: the table \"t\" is gone"],
    );
    sandbox.clickhouse().exec("RENAME TABLE replica.aside TO replica.t").await;

    std::fs::remove_file(sandbox.sqlite()).unwrap();
    sandbox.clickhouse().exec("DROP DATABASE replica SYNC").await;
    sandbox.clickhouse().exec("CREATE DATABASE replica").await;
    for (name, sink) in BOTH.iter().zip(["local", "ch"]) {
        let reset = format!("`replicator sink reset {sink}`");
        assert_found(
            finding(&sandbox, name),
            (1, "fail"),
            &["is empty, but lsn", "it was emptied or exchanged", &reset],
        );
    }
    // As the findings say.
    for sink in ["local", "ch"] {
        assert!(sandbox.run(&["sink", "reset", sink]).status.success());
    }
    sandbox.run_once();
    assert_ok(&sandbox, &BOTH);
    sandbox.assert_mirrored().await;
    sandbox.assert_mirrored_to_clickhouse().await;

    // The log is lost.
    sandbox.set("/wal/path", json!(sandbox.path("new-wal")));
    for (name, sink) in BOTH.iter().zip(["local", "ch"]) {
        let reset = format!("`replicator sink reset {sink}`");
        assert_found(
            finding(&sandbox, name),
            (1, "fail"),
            &["of log", "there is no log in wal.path", "`replicator start`", &reset],
        );
    }
    // As the findings say: a start makes the log, and serves no sink of it.
    assert_eq!(sandbox.run(&["start", "--once"]).status.code(), Some(1));
    for (name, sink) in BOTH.iter().zip(["local", "ch"]) {
        let reset = format!("`replicator sink reset {sink}`");
        assert_found(finding(&sandbox, name), (1, "fail"), &["belongs to log", &reset]);
        assert!(sandbox.run(&["sink", "reset", sink]).status.success());
    }
    sandbox.run_once();
    assert_ok(&sandbox, &BOTH);
    sandbox.assert_mirrored().await;
    sandbox.assert_mirrored_to_clickhouse().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_a_sink_cannot_follow_are_a_finding_before_they_stop_a_table_on_mysql() {
    let mut sandbox = Sandbox::with_every_sink(Kind::MySql).await;
    let sinks = sandbox.config()["sinks"].as_array().unwrap();
    let two = json!([sinks[0], sinks[2]]);
    sandbox.set("/sinks", two);
    run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); CREATE TABLE nk (a INT); INSERT INTO t VALUES (1, 'a'); INSERT INTO nk VALUES (1)").await;
    let rule = |rest: Value| {
        let mut rule = json!({ "database": DATABASE, "table": "t" });
        rule.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!([rule])
    };

    sandbox.set("/tables", rule(json!({ "drop": ["ID"] })));
    let drop = "`drop` names \"id\", which is part of the key of shop.t";
    assert_found(
        finding(&sandbox, "sink local: rules and types"),
        (1, "fail"),
        &[drop, "use `mode: history` for the table"],
    );
    assert_found(
        finding(&sandbox, "sink ch: rules and types"),
        (1, "fail"),
        &[drop, "shop.nk has no primary key", "`keyless: history`"],
    );

    // As they say: another key of the configuration each.
    sandbox.set("/sinks/1/keyless", json!("skip"));
    let names = ["sink local: rules and types", "sink ch: rules and types"];
    sandbox.set("/tables", rule(json!({ "drop": ["id"], "mode": "history" })));
    assert_ok(&sandbox, &names);
    sandbox.set("/tables", rule(json!({ "rename": { "id": "number" } })));
    assert_ok(&sandbox, &names);
    let said = ["\"id\" of the key of shop.t is written as \"number\"", "take the column out of the rule"];
    assert_found(finding(&sandbox, "sink local: rules of keys"), (0, "warn"), &said);
    sandbox.set("/hash_key_file", json!(sandbox.path("key")));
    std::fs::write(sandbox.path("key"), "0123456789abcdef0123456789abcdef").unwrap();
    sandbox.set("/tables", rule(json!({ "hash": ["id"] })));
    assert_found(
        finding(&sandbox, "sink ch: rules of keys"),
        (0, "warn"),
        &["\"id\" of the key of shop.t is written as its hash"],
    );
    sandbox.run_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_listens_nowhere_beside_a_daemon_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    run(&sandbox, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    sandbox.set("/wal/path", json!(sandbox.path("second-wal")));
    sandbox.set("/sinks/0/path", json!(sandbox.path("second.db")));
    sandbox.set("/source/server_id", json!(5401));
    let listen = sandbox.http();
    let refused = sandbox.run(&["start"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen on {listen} (http.listen)")) && said.contains("hint: set http.listen"),
        "{said}"
    );
    sandbox.run_once();
    for arguments in [&["backfill", "--table", "shop.t"][..], &["resync"]] {
        let output = sandbox.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // As the hint says.
    sandbox.set("/http/listen", json!("none"));
    let mut second = sandbox.start();
    sandbox.caught_up(&mut second).await;
    second.stop();
    daemon.stop();
}
