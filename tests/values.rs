//! What becomes of values that a target does not hold as they are: each policy, at every kind of sink, from the
//! snapshot and from the stream.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use crate::support::sandbox::{DATABASE, Sandbox, clickhouse_sink};
use crate::support::server::Kind;
use crate::support::status::table_of;

/// Tables with values of every kind. `?` stands for the rows' number.
fn tables(kind: Kind) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut tables = vec![
        // Codes without a character: the server shows question marks.
        (
            "vacant",
            "id INT PRIMARY KEY, p VARCHAR(9) CHARACTER SET cp1250, u VARCHAR(9) CHARACTER SET ujis",
            "(?, x'8141', x'8FA1A1')",
        ),
        // A surrogate alone.
        ("surrogate", "id INT PRIMARY KEY, c VARCHAR(9) CHARACTER SET ucs2", "(?, x'D8000061')"),
        (
            "dates",
            "id INT PRIMARY KEY, d DATE, t DATETIME(3), s TIMESTAMP NULL",
            "(?, '0000-00-00', '2024-00-10 01:02:03.000', '0000-00-00 00:00:00'), (? + 1, '2024-01-01', NULL, NULL)",
        ),
        ("labels", "id INT PRIMARY KEY, e ENUM('a', '')", "(?, 0), (? + 1, '')"),
    ];
    match kind {
        Kind::MariaDb => {
            tables.push(("utf8", "id INT PRIMARY KEY, c VARCHAR(9) CHARACTER SET utf8mb4", "(?, x'EDA08061')"));
        }
        Kind::MySql => tables.push(("documents", "id INT PRIMARY KEY, j JSON", "(?, '[1]'), (? + 1, '{\"a\": 1}')")),
    }
    tables
}

/// Tables whose keys would be others' keys.
const KEYS: [(&str, &str, &str); 4] = [
    ("vacant_key", "k VARCHAR(9) CHARACTER SET ujis PRIMARY KEY", "(x'8FA1A1')"),
    ("twin_key", "k VARCHAR(9) CHARACTER SET sjis COLLATE sjis_bin PRIMARY KEY", "(x'5C'), (x'815F')"),
    ("label_key", "k ENUM('a', '') PRIMARY KEY", "(0), ('')"),
    ("date_key", "k DATE PRIMARY KEY", "('0000-00-00'), ('2024-01-01')"),
];

/// A sink's policies, and what they make of the tables.
struct Policies {
    name: &'static str,
    words: &'static [(&'static str, &'static str)],
}

const POLICIES: [Policies; 3] = [
    Policies { name: "usual", words: &[] },
    Policies {
        name: "others",
        words: &[("zero_dates", "epoch"), ("invalid_text", "replace"), ("unconvertible", "text")],
    },
    Policies { name: "plain", words: &[("zero_dates", "null"), ("invalid_text", "bytes"), ("unconvertible", "null")] },
];

/// The rows that a table has at a sink, of those numbered from `first` on; `None`: it is stopped.
fn expected(policies: &str, is_sqlite: bool, table: &str, first: usize) -> Option<Vec<String>> {
    let (one, two) = (first, first + 1);
    let date = match (policies, is_sqlite) {
        ("usual", true) => "'0000-00-00' '2024-00-10 01:02:03.000' '0000-00-00 00:00:00'",
        ("others", _) => "'1970-01-01' '1970-01-01 00:00:00.000' '1970-01-01 00:00:00'",
        _ => "NULL NULL NULL",
    };
    Some(match (table, policies) {
        ("vacant", _) => vec![format!("{one} '?A' '?'")],
        ("surrogate" | "utf8", "others") => vec![format!("{one} '\u{fffd}a'")],
        ("surrogate", "plain") => vec![format!("{one} x'd8000061'")],
        ("utf8", "plain") => vec![format!("{one} x'eda08061'")],
        ("dates", _) => vec![format!("{one} {date}"), format!("{two} '2024-01-01' NULL NULL")],
        ("labels", _) => vec![format!("{one} ''"), format!("{two} ''")],
        ("documents", _) if is_sqlite => vec![format!("{one} '[1]'"), format!("{two} '{{\"a\": 1}}'")],
        ("documents", "plain") => vec![format!("{one} NULL"), format!("{two} '{{\"a\":1}}'")],
        ("date_key", "usual") if is_sqlite => vec!["'0000-00-00'".to_owned(), "'2024-01-01'".to_owned()],
        ("date_key", "others") => vec!["'1970-01-01'".to_owned(), "'2024-01-01'".to_owned()],
        _ => return None,
    })
}

/// How many values of a row of each kind are replaced.
fn replaced(policies: &str, is_sqlite: bool, table: &str) -> [u64; 3] {
    match (table, policies) {
        ("vacant", _) => [0, 2, 0],
        ("surrogate" | "utf8", _) => [0, 1, 0],
        ("dates", "usual") if is_sqlite => [0; 3],
        ("dates", _) => [3, 0, 0],
        ("documents", "plain") if !is_sqlite => [0, 0, 1],
        ("date_key", "others") => [1, 0, 0],
        _ => [0; 3],
    }
}

fn with_words(mut sink: Value, policies: &Policies) -> Value {
    for (key, word) in policies.words {
        sink[key] = json!(word);
    }
    sink
}

/// The rows of a table in a SQLite file, in the form of [`expected`].
fn sqlite_rows(sandbox: &Sandbox, name: &str, table: &str) -> Vec<String> {
    let connection = Connection::open(sandbox.path(&format!("{name}.db"))).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns)
            .map(|place| match row.get_ref(place).unwrap() {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) => format!("'{}'", std::str::from_utf8(text).unwrap()),
                ValueRef::Blob(bytes) => {
                    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("x'{}'", digits.concat())
                }
            })
            .collect();
        lines.push(values.join(" "));
    }
    lines
}

/// The rows of a table in ClickHouse, in the form of [`expected`].
async fn clickhouse_rows(sandbox: &Sandbox, database: &str, table: &str) -> Vec<String> {
    let columns = sandbox
        .clickhouse()
        .query(format!(
            "SELECT name FROM system.columns WHERE database = '{database}' AND table = '{table}' AND name NOT LIKE '\\\\_%' ORDER BY position"
        ))
        .await;
    let shown: Vec<String> = columns
        .lines()
        .map(|column| {
            let text = format!("ifNull(toString({column}), '')");
            let quoted = format!(
                "if(isValidUTF8({text}), concat('\\'', {text}, '\\''), concat('x\\'', lower(hex({text})), '\\''))"
            );
            let value = if column == "id" { text } else { quoted };
            format!("if(isNull({column}), 'NULL', {value})")
        })
        .collect();
    let sql = format!(
        "SELECT concat({}, '') FROM {database}.{table} FINAL WHERE _is_deleted = 0 ORDER BY 1 FORMAT TSVRaw",
        shown.join(", ' ', ")
    );
    sandbox.clickhouse().query(sql).await.lines().map(str::to_owned).collect()
}

/// Looks at every table of every sink; rows that are numbered from each of `firsts` on have come.
async fn assert_values(sandbox: &Sandbox, kind: Kind, status: &Value, firsts: &[usize]) {
    let tables = tables(kind);
    let names = tables.iter().chain(&KEYS).map(|(name, ..)| *name);
    for table in names {
        let is_key = KEYS.iter().any(|(name, ..)| *name == table);
        let rounds = if is_key { &firsts[..1] } else { firsts };
        for (place, sink) in status["sinks"].as_array().unwrap().iter().enumerate() {
            let name = sink["name"].as_str().unwrap();
            let (is_sqlite, policies) = (place < POLICIES.len(), POLICIES[place % POLICIES.len()].name);
            let full = format!("{DATABASE}.{table}");
            let stop =
                sink["stopped_tables"].as_array().unwrap().iter().find(|stopped| stopped["table"] == full.as_str());
            let rows: Option<Vec<Vec<String>>> =
                rounds.iter().map(|first| expected(policies, is_sqlite, table, *first)).collect();
            let Some(rows) = rows else {
                let reason =
                    stop.unwrap_or_else(|| panic!("{table} is not stopped at {name}"))["reason"].as_str().unwrap();
                assert!(reason.contains("a value of") && reason.contains('`'), "{name}: {reason}");
                continue;
            };
            assert!(stop.is_none(), "{name}: {stop:?}");
            let found =
                if is_sqlite { sqlite_rows(sandbox, name, table) } else { clickhouse_rows(sandbox, name, table).await };
            assert_eq!(found, rows.concat(), "{table} at {name}");
            let counted = &table_of(status, &full)["sinks"][name]["replaced"];
            let count = |policy: &str| counted[policy].as_u64().unwrap_or(0);
            let found = [count("zero_dates"), count("invalid_text"), count("unconvertible")];
            let times = u64::try_from(rounds.len()).unwrap();
            let wanted = replaced(policies, is_sqlite, table).map(|number| number * times);
            assert_eq!(found, wanted, "{table} at {name}: {:#}", table_of(status, &full));
        }
    }
}

both_servers! {
    async fn each_policy_gives_the_same_at_every_sink_and_is_counted(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let mut sinks = Vec::new();
        for policies in &POLICIES {
            let file = sandbox.path(&format!("{}.db", policies.name));
            let sink = json!({ "name": policies.name, "type": "sqlite", "path": file, "table_name": "{table}" });
            sinks.push(with_words(sink, policies));
        }
        for policies in &POLICIES {
            let database = format!("ch_{}", policies.name);
            sandbox.clickhouse().exec(format!("CREATE DATABASE {database}")).await;
            let mut sink = clickhouse_sink(sandbox.clickhouse(), &database, &database, "mirror");
            sink["json"] = json!("json");
            sinks.push(with_words(sink, policies));
        }
        sandbox.set("/sinks", json!(sinks));
        let session = format!("USE {DATABASE}; SET NAMES utf8mb4; SET sql_mode = '', time_zone = '+00:00'");
        let of_all = |statement: &dyn Fn(&str, &str, &str) -> String| {
            let statements: Vec<String> = tables(kind).iter().map(|(name, columns, rows)| statement(name, columns, rows)).collect();
            format!("{session}; {}", statements.join("; "))
        };
        let insert = |first: usize| {
            of_all(&|name, _, rows| format!("INSERT INTO {name} VALUES {}", rows.replace('?', &first.to_string())))
        };
        sandbox.server.exec(of_all(&|name, columns, _| format!("CREATE TABLE {name} ({columns})"))).await;
        sandbox.server.exec(insert(1)).await;
        for (name, columns, rows) in KEYS {
            let sql = format!("{session}; CREATE TABLE {name} ({columns}); INSERT INTO {name} VALUES {rows}");
            sandbox.server.exec(sql).await;
        }
        let mut daemon = sandbox.start();
        let status = sandbox.caught_up(&mut daemon).await;
        assert_values(&sandbox, kind, &status, &[1]).await;
        sandbox.server.exec(insert(5)).await;
        let status = sandbox.caught_up(&mut daemon).await;
        assert_values(&sandbox, kind, &status, &[1, 5]).await;
        daemon.stop();
    }
}
