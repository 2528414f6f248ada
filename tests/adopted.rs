//! `adopt: true`: a table that replicator did not make is taken over as it is, where it is what replicator would
//! make; otherwise it is refused by name, with what is different and the statement that makes one that is not.

use serde_json::{Value, json};

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

/// The finding about names at the target: exit code, status, detail and mend.
fn names(sandbox: &Sandbox) -> (i32, String, String, String) {
    let output = sandbox.run(&["check", "--json"]);
    let items: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of_names = |item: &&Value| item["name"].as_str().is_some_and(|name| name.ends_with(": names at the target"));
    let item = items.iter().find(of_names).unwrap_or_else(|| panic!("{items:#?}"));
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    (output.status.code().unwrap(), text("status"), text("detail"), text("mend"))
}

/// Runs to the end, and stops this one table because of its name at the target; returns what it says.
fn refused(sandbox: &Sandbox) -> String {
    let output = sandbox.run(&["start", "--once"]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn run(sandbox: &Sandbox, sql: &str) {
    sandbox.server.exec(format!("USE {DATABASE}; {sql}")).await;
}

/// A log that begins where the source has these rows of a table `t`, and what else is made.
async fn begun(sandbox: &mut Sandbox, more: &str) {
    let rows = "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)";
    run(sandbox, &format!("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40)); {rows}; {more}")).await;
    sandbox.set("/source/startup_mode", json!("latest"));
    sandbox.run_once();
}

/// A second table, which does not change.
const QUIET: &str = "CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1)";

/// What `check` says of both where they can be taken over.
const TAKEN_OVER: &str = "taken over as they are: shop.t; shop.u (each with its first change; `backfill --replace` before that empties it \
                          until its rows are read)";

/// Rows that change, come and go, and definitions that change.
async fn change(sandbox: &Sandbox) {
    run(sandbox, "UPDATE t SET v = 'B' WHERE id = 2; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'd')").await;
    sandbox.run_once();
    run(sandbox, "ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7; INSERT INTO t VALUES (5, 'e', 8)").await;
    sandbox.run_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_sqlite_file_is_taken_over_with_its_rows_or_refused_by_name_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    begun(&mut sandbox, QUIET).await;
    let file = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    file.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB); INSERT INTO t VALUES (1, 'x')").unwrap();
    file.execute_batch("CREATE TABLE u (id INTEGER PRIMARY KEY); INSERT INTO u VALUES (99)").unwrap();

    let (code, status, detail, mend) = names(&sandbox);
    assert_eq!((code, status.as_str()), (1, "fail"), "{detail}");
    assert!(detail.contains("the target has \"t\", which this sink did not make for shop.t"), "{detail}");
    assert!(mend.starts_with("rename or drop it"), "{mend}");
    sandbox.set("/sinks/0/adopt", json!(true));
    let (code, status, detail, mend) = names(&sandbox);
    assert_eq!((code, status.as_str()), (1, "fail"), "{detail}");
    let difference = "\"t\" cannot be taken over for shop.t: its column \"v\" is BLOB, and has to be TEXT";
    let statement = "CREATE TABLE \"t\" (\"id\" INTEGER PRIMARY KEY, \"v\" TEXT)";
    assert!(detail.contains(difference) && mend.ends_with(statement), "{detail} {mend}");

    // As it says; and the finding about a table that is not there.
    file.execute_batch("DROP TABLE t").unwrap();
    let (code, status, detail, mend) = names(&sandbox);
    assert_eq!((code, status.as_str(), mend.as_str()), (0, "warn", statement), "{detail}");
    file.execute_batch(&format!(
        "{mend}; CREATE INDEX by_v ON t (v); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)"
    ))
    .unwrap();
    sandbox.set("/sinks/0/adopt", json!(false));
    let (code, status, _, mend) = names(&sandbox);
    assert!((code, status.as_str()) == (1, "fail") && mend.contains("set `adopt: true`"), "{mend}");
    sandbox.set("/sinks/0/adopt", json!(true));
    let (code, status, detail, _) = names(&sandbox);
    assert_eq!((code, status.as_str(), detail.as_str()), (0, "ok", TAKEN_OVER));

    // Rows that are there are as the rules make them, or they are not the copy.
    sandbox.set("/tables", json!([{ "database": DATABASE, "table": "t", "hash": ["v"] }]));
    std::fs::write(sandbox.path("hash.key"), "0123456789abcdef0123456789abcdef").unwrap();
    sandbox.set("/hash_key_file", json!(sandbox.path("hash.key")));
    let output = sandbox.run(&["check", "--json"]);
    let items: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ruled = items.iter().find(|item| item["name"] == "sink local: rules of rows taken over");
    let ruled = ruled.unwrap_or_else(|| panic!("{items:#?}"));
    assert_eq!((&ruled["status"], &ruled["tables"]), (&json!("warn"), &json!(["shop.t"])));
    sandbox.set("/tables", json!([]));

    // One that is read before it has changed: its own rows go.
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.u"]).status.success());

    change(&sandbox).await;
    sandbox.assert_mirrored().await;
    let indexes: i64 =
        file.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'by_v'", [], |row| row.get(0)).unwrap();
    assert_eq!(indexes, 1, "an index of the operator's own is there");
    // From here on it is a table as any.
    sandbox.set("/sinks/0/adopt", json!(false));
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.t"]).status.success());
    run(&sandbox, "INSERT INTO t VALUES (6, 'f', 9)").await;
    sandbox.run_once();
    sandbox.assert_mirrored().await;
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    run(&sandbox, "DROP TABLE t; CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO other VALUES (1)").await;
    sandbox.run_once();
    sandbox.assert_mirrored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_taken_over_stops_by_name_and_is_not_written_on_mysql() {
    let mut sandbox = Sandbox::new(Kind::MySql).await;
    begun(&mut sandbox, "").await;
    let file = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    file.execute_batch("CREATE TABLE t (id INTEGER, v TEXT); INSERT INTO t VALUES (1, 'theirs')").unwrap();
    run(&sandbox, "CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1); INSERT INTO t VALUES (4, 'd')").await;

    let said = refused(&sandbox);
    assert!(said.contains("did not make for shop.t") && said.contains("`adopt: true`"), "{said}");
    sandbox.set("/sinks/0/adopt", json!(true));
    // The stop is of the table without `adopt`: it is read again, in place of what is there, and there is nothing of
    // the sink's.
    let output = sandbox.run(&["start", "--once"]);
    assert_eq!(output.status.code(), Some(1));
    let rows: Vec<String> =
        file.prepare("SELECT v FROM t").unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, ["theirs"]);
    let others: i64 = file.query_row("SELECT count(*) FROM u", [], |row| row.get(0)).unwrap();
    assert_eq!(others, 1, "the others go on");
    // The other way of the message.
    file.execute_batch("ALTER TABLE t RENAME TO theirs").unwrap();
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.t"]).status.success());
    file.execute_batch("DROP TABLE theirs").unwrap();
    sandbox.assert_mirrored().await;
    // Rows that are there would be read over.
    sandbox.set("/source/startup_mode", json!("initial"));
    let output = sandbox.run(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("sinks[0].adopt: ") && said.contains("set startup_mode to specific or latest"), "{said}");
}

/// The first thing that happens to a table is what ends its rows: the rows at the target do not outlive it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_ended_before_their_table_was_taken_over_stop_it_by_name_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    begun(&mut sandbox, "CREATE TABLE d (id INT PRIMARY KEY); CREATE TABLE r (id INT PRIMARY KEY)").await;
    let file = rusqlite::Connection::open(sandbox.sqlite()).unwrap();
    file.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        .unwrap();
    for table in ["d", "r"] {
        file.execute_batch(&format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY); INSERT INTO {table} VALUES (9)"))
            .unwrap();
    }
    sandbox.set("/sinks/0/adopt", json!(true));
    run(
        &sandbox,
        "TRUNCATE TABLE t; INSERT INTO t VALUES (7, 'g'); DROP TABLE d; RENAME TABLE r TO s; INSERT INTO s VALUES (1)",
    )
    .await;
    let said = refused(&sandbox);
    // A rename of a table whose definition the log does not have yet is a drop, and a table that is read.
    for what in ["shop.t was truncated", "shop.d was dropped", "shop.r was dropped"] {
        assert!(said.contains(&format!("{what} before it was taken over")), "{what}: {said}");
    }
    // Other tables of these names, after a start that looks at what is stopped.
    run(&sandbox, "CREATE TABLE d (id INT PRIMARY KEY); INSERT INTO d VALUES (1); CREATE TABLE r (id INT PRIMARY KEY); INSERT INTO r VALUES (2)").await;
    refused(&sandbox);
    // Each fails for those that are stopped still; in the end none is.
    for table in ["t", "d", "r"] {
        sandbox.run(&["backfill", "--replace", "--table", &format!("shop.{table}")]);
    }
    sandbox.run_once();
    sandbox.assert_mirrored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_clickhouse_is_taken_over_with_its_rows_or_refused_by_name_on_mysql() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MySql).await;
    begun(&mut sandbox, QUIET).await;
    sandbox.set("/sinks/0/adopt", json!(true));
    let quiet =
        "(id Int32, _version UInt64, _is_deleted UInt8) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id";
    sandbox.clickhouse().exec(format!("CREATE TABLE replica.u {quiet}")).await;
    sandbox.clickhouse().exec("INSERT INTO replica.u (id) VALUES (99)").await;
    let columns = "id Int32, v Nullable(String), _version UInt64, _is_deleted UInt8";
    for (table, difference) in [
        (
            "(id Int32, v Nullable(String)) ENGINE = MergeTree ORDER BY id",
            "its engine is MergeTree, and has to be ReplacingMergeTree(_version, _is_deleted)",
        ),
        (
            &format!("({columns}) ENGINE = ReplacingMergeTree(_version, _is_deleted) PARTITION BY id % 2 ORDER BY id"),
            "it is partitioned by id % 2",
        ),
        (
            &format!(
                "({}) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id",
                columns.replace("Nullable(String)", "Nullable(String) TTL toDateTime(id) + INTERVAL 1 DAY")
            ),
            "a column of it has a TTL",
        ),
        (
            &format!(
                "({}) ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY (id, _version)",
                columns.replace("Nullable(String)", "String")
            ),
            "its column \"v\" is String, and has to be Nullable(String); its key is (id, _version), and has to be (id)",
        ),
    ] {
        sandbox.clickhouse().exec(format!("CREATE TABLE replica.t {table}")).await;
        let (code, status, detail, _) = names(&sandbox);
        assert_eq!((code, status.as_str()), (1, "fail"), "{detail}");
        assert!(detail.contains(&format!("\"t\" cannot be taken over for shop.t: {difference}")), "{detail}");
        sandbox.clickhouse().exec("DROP TABLE replica.t SYNC").await;
    }

    // As the finding says.
    let (code, status, detail, mend) = names(&sandbox);
    assert_eq!((code, status.as_str()), (0, "warn"), "{detail}");
    sandbox.clickhouse().exec(&mend).await;
    sandbox.clickhouse().exec("INSERT INTO replica.t (id, v, _version) VALUES (1, 'a', 72057594037927936)").await;
    let (_, status, detail, _) = names(&sandbox);
    assert!(
        status == "fail" && detail.contains("_version 72057594037927936, which would hide later changes"),
        "{detail}"
    );
    sandbox.clickhouse().exec("TRUNCATE TABLE replica.t").await;
    sandbox.clickhouse().exec("INSERT INTO replica.t (id, v) VALUES (1, 'a'), (2, 'b'), (3, NULL)").await;
    let (code, status, detail, _) = names(&sandbox);
    assert_eq!((code, status.as_str(), detail.as_str()), (0, "ok", TAKEN_OVER));

    // One that is read before it has changed: its own rows go.
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.u"]).status.success());

    change(&sandbox).await;
    sandbox.assert_mirrored_to_clickhouse().await;
    let made = sandbox
        .clickhouse()
        .query("SELECT engine_full, comment FROM system.tables WHERE database = 'replica' AND name = 't'")
        .await;
    assert!(made.contains("fsync_after_insert = 1") && made.contains("replicator sink ch, log "), "{made}");
    // From here on it is a table as any.
    sandbox.set("/sinks/0/adopt", json!(false));
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.t"]).status.success());
    run(&sandbox, "INSERT INTO t VALUES (6, 'f', 9)").await;
    sandbox.run_once();
    sandbox.assert_mirrored_to_clickhouse().await;
}
