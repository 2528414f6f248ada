//! docs/handoff.md, step by step: a dump that is taken while others write, its rows in the tables of a sink, and the
//! stream from the dump's place on. In the end the copy is the source.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use serde_json::{Value, json};

use crate::support::clickhouse::{ClickHouse, REPLICA};
use crate::support::daemon::{LIMIT, program, run_to_end};
use crate::support::programs;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server, ServerOptions};

/// Tables of every kind of value that the script has to bring over, and of each kind of key.
const TABLES: &str = r#"
    CREATE TABLE items (
        id INT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20,4), ratio DOUBLE, weight FLOAT, name VARCHAR(60) NOT NULL, note TEXT,
        raw VARBINARY(40), body BLOB, made DATETIME(6), seen TIMESTAMP(3) NULL, at TIME, day DATE, year YEAR, kind ENUM('a','it''s'), flags BIT(9), doc JSON
    ) CHARSET utf8mb4;
    CREATE TABLE `pairs of` (a INT, b VARCHAR(20) CHARSET utf8mb4 COLLATE utf8mb4_bin, v INT, PRIMARY KEY (b, a));
    CREATE TABLE later (id INT PRIMARY KEY, v INT);
    INSERT INTO items VALUES
        (-1, 18446744073709551615, 1234567890123456.7891, -0.25, 0.1, 'plain', NULL, 0x00ff27, '', '2024-02-29 23:59:59.123456', '2024-01-02 03:04:05.678',
         '-12:00:01', '1999-12-31', 2024, 'it''s', b'100000001', '{"k": [1, "\\u00e9", null]}'),
        (-2, 0, -0.5, 1e300, 1.5, 'tab\tnew\nline \\ ''quoted'' "double"', '', NULL, 0x5c270a, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (-3, NULL, NULL, NULL, NULL, '\u00fc \U0001f600', 'x', 0x1a, REPEAT(CHAR(0), 300), NULL, NULL, '838:59:59', NULL, 1901, 'a', b'0', '1')
"#;

/// Writes until `stop` is set: rows that come, change and go, in transactions over two tables.
async fn write(options: OptsBuilder, stop: Arc<AtomicBool>) -> u32 {
    let mut connection = Conn::new(options).await.unwrap();
    connection.query_drop(format!("USE {DATABASE}")).await.unwrap();
    let mut id = 0;
    while !stop.load(Ordering::Relaxed) {
        id += 1;
        let sql = format!(
            "BEGIN; INSERT INTO items (id, big, price, name, note) VALUES ({id}, {id}, {id}.25, 'n{id}', REPEAT('t', {id} % 100));
             INSERT INTO `pairs of` VALUES ({id}, 'b{}', 0);
             UPDATE items SET price = price + 1, name = CONCAT(name, '!') WHERE id = {id} - 3; UPDATE `pairs of` SET v = {id} WHERE a = {id} - 2;
             DELETE FROM items WHERE id = {id} - 7 AND id % 2 = 0; UPDATE `pairs of` SET b = 'moved' WHERE a = {id} - 9; COMMIT",
            id % 4
        );
        connection.query_drop(sql).await.unwrap();
    }
    connection.disconnect().await.unwrap();
    id
}

/// Runs the script, which succeeds; returns its output.
async fn script(kind: Kind, arguments: Vec<String>) -> (String, String) {
    let output: Output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/handoff.sh"));
        command.args(arguments).env("MYSQL", programs::client(kind)).env("MYSQLDUMP", programs::dump(kind));
        command.env("REPLICATOR", program().get_program());
        command.env("REPLICATOR_SOURCE_PASSWORD", crate::support::server::PASSWORD);
        run_to_end(&mut command, 2 * LIMIT)
    })
    .await
    .unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// What the script prints for the source section.
fn lines(printed: &str) -> Value {
    let value: Value = serde_norway::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(value["startup_mode"], "specific", "{printed}");
    value["specific"].clone()
}

async fn handed_over(mut sandbox: Sandbox, kind: Kind, by: &str) {
    sandbox
        .server
        .exec(format!("USE {DATABASE}; {}", TABLES.replace("\\u00fc", "\u{fc}").replace("\\U0001f600", "\u{1f600}")))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(sandbox.server.root(), Arc::clone(&stop)));
    wait_for(&sandbox.server, 50).await;

    let dump = sandbox.path("shop.sql").display().to_string();
    let port = sandbox.server.port();
    let (printed, _) =
        script(kind, words(&format!("dump --out {dump} --host 127.0.0.1 --port {port} --user root {DATABASE}"))).await;
    let dumped = newest(&sandbox.server).await;
    let specific = lines(&printed);
    assert!(specific[by].is_string(), "{printed}");
    sandbox.set("/source/startup_mode", json!("specific"));
    sandbox.set("/source/specific", specific);
    sandbox.set("/sinks/0/adopt", json!(true));
    let config = sandbox.written_config().display().to_string();
    let target = if sandbox.has_clickhouse() {
        format!("--clickhouse {} --database {REPLICA}", sandbox.clickhouse().url())
    } else {
        format!("--sqlite {}", sandbox.sqlite().display())
    };
    let sink = sandbox.config()["sinks"][0]["name"].as_str().unwrap().to_owned();
    let (_, said) = script(kind, words(&format!("load --dump {dump} --config {config} --sink {sink} {target}"))).await;
    assert!(said.contains("taken over as they are: shop.items; shop.later; shop.pairs of"), "{said}");
    // Writes that are neither in the dump nor lost.
    wait_for(&sandbox.server, dumped + 50).await;
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();

    sandbox.run_once();
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.later VALUES (1, 1)")).await;
    sandbox.run_once();
    let compared = if sandbox.has_clickhouse() {
        sandbox.assert_mirrored_to_clickhouse().await
    } else {
        sandbox.assert_mirrored().await
    };
    assert!(compared.tables == 3 && compared.rows > 50, "{compared:?}");
}

async fn newest(server: &Server) -> u32 {
    server.query_one::<Option<u32>>(format!("SELECT MAX(a) FROM {DATABASE}.`pairs of`")).await.unwrap_or_default()
}

async fn wait_for(server: &Server, id: u32) {
    while newest(server).await < id {
        tokio::time::sleep(crate::support::process::POLL).await;
    }
}

both_servers! {
    async fn a_dump_and_the_stream_from_its_gtid_on_are_the_source(kind: Kind) {
        let server = ServerOptions::new(kind).with_row_metadata("FULL").start().await;
        handed_over(Sandbox::on(server).await, kind, "gtid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_the_stream_from_its_file_and_offset_on_are_the_source_on_mysql() {
    let server = ServerOptions::new(Kind::MySql).with_row_metadata("FULL").without_gtid().start().await;
    handed_over(Sandbox::with_clickhouse_on(server, ClickHouse::start().await).await, Kind::MySql, "file").await;
}

/// A dump of two databases that have a table of one name, one of them with a generated column.
const TWO: &str = "-- Host: 127.0.0.1    Database: shop\nUSE `shop`;\nCREATE TABLE `t` (\n  `id` int NOT NULL,\n  \
                   `v` int GENERATED ALWAYS AS (`id` + 1) VIRTUAL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n\
                   INSERT INTO `t` (`id`) VALUES (1),\n(2);\nUSE `other`;\nCREATE TABLE `t` (\n  `id` int NOT NULL\n);\n\
                   INSERT INTO `t` (`id`) VALUES (7);\n";

#[test]
fn a_dump_that_is_not_what_the_sink_lacks_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let [dump, found, file] = ["dump.sql", "found.json", "copy.db"].map(|name| directory.path().join(name));
    std::fs::write(&dump, TWO).unwrap();
    let load = |missing: &[(&str, &str)], ruled: &[&str]| {
        let (tables, statements): (Vec<&str>, Vec<&str>) = missing.iter().copied().unzip();
        let items = json!([
            { "name": "sink s: names at the target", "status": "warn", "detail": "", "mend": statements.join("\n"), "tables": tables },
            { "name": "sink s: rules of rows taken over", "status": "warn", "detail": "", "tables": ruled },
        ]);
        std::fs::write(&found, items.to_string()).unwrap();
        let mut command = Command::new("python3");
        command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/handoff_dump.py")).arg("load").arg(&dump);
        command.arg("--check").arg(&found).args(["--sink", "s", "--sqlite"]).arg(&file);
        let output = run_to_end(&mut command, LIMIT);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let generated = ("shop.t", r#"CREATE TABLE "shop_t" ("id" INTEGER PRIMARY KEY, "v" INTEGER)"#);
    let plain = ("shop.t", r#"CREATE TABLE "shop_t" ("id" INTEGER PRIMARY KEY)"#);
    let other = ("other.t", r#"CREATE TABLE "other_t" ("id" INTEGER)"#);
    for (missing, ruled, says) in [
        (&[generated, other][..], &[][..], r#"no values of "v" of "shop.t": it leaves generated columns out"#),
        (&[plain, other, ("shop.gone", "CREATE")][..], &[][..], "lacks tables that the dump does not have: shop.gone"),
        (
            &[plain, other][..],
            &["shop.t"][..],
            r#"a rule of the sink renames, drops, hashes or chooses what is written of "shop.t""#,
        ),
    ] {
        let (is_loaded, said) = load(missing, ruled);
        assert!(!is_loaded && said.contains(says) && !said.contains("made"), "{said}");
    }

    let (is_loaded, said) = load(&[plain], &[]);
    assert!(is_loaded && said.contains("left out  other.t"), "{said}");
    std::fs::remove_file(&file).unwrap();
    let (is_loaded, said) = load(&[plain, other], &[]);
    assert!(is_loaded, "{said}");
    let copy = rusqlite::Connection::open(&file).unwrap();
    let ids: String = copy
        .query_row(
            "SELECT (SELECT group_concat(id) FROM shop_t) || '; ' || (SELECT group_concat(id) FROM other_t)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(ids, "1,2; 7");
}

#[test]
fn the_runbook_names_every_step_of_the_script_and_the_script_says_how_it_is_used() {
    let book = include_str!("../docs/handoff.md");
    for step in ["scripts/handoff.sh dump", "scripts/handoff.sh position", "scripts/handoff.sh load"] {
        assert!(book.contains(step), "docs/handoff.md has no {step}");
    }
    let mut command = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/handoff.sh"));
    let output = run_to_end(&mut command, LIMIT);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: scripts/handoff.sh dump"));
}
