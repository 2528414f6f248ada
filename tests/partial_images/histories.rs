//! What a changelog says of rows that nobody told whole: a gap with its reason, then the rows as of the read; of a row that is gone, its key.

use rusqlite::Connection;
use serde_json::json;

use super::MINIMAL;
use crate::support::sandbox::{CHANGELOG, DATABASE, Sandbox};

/// The query of a page of the documentation that finds gaps.
fn documented(page: &str) -> String {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let found: Vec<&str> = blocks.map(|(block, _)| block).filter(|block| block.contains("'gap'")).collect();
    let [query] = found[..] else { panic!("{page} has {} queries for gaps", found.len()) };
    query.trim_end_matches(';').to_owned()
}

/// Lines of a query of SQLite: NULL is `\N`, as ClickHouse prints it, and columns are apart by tabs.
fn lines(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let value = |place| row.get::<_, rusqlite::types::Value>(place);
        let text = |place| {
            Ok::<_, rusqlite::Error>(match value(place)? {
                rusqlite::types::Value::Null => "\\N".to_owned(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => panic!("{other:?}"),
            })
        };
        Ok((0..columns).map(text).collect::<Result<Vec<_>, _>>()?.join("\t"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The lines of the changelog of `users`, without the places, and with a word for the reason.
fn told(lines: &[String]) -> Vec<String> {
    let word = |line: &String| {
        let (op, rest) = line.split_once('\t').unwrap();
        let (reason, values) = rest.split_once('\t').unwrap();
        let word = ["binlog_row_image", "statement format", "\\N"].into_iter().find(|word| reason.contains(word));
        format!("{op}\t{}\t{values}", word.unwrap_or_else(|| panic!("another reason: {line}")))
    };
    lines.iter().map(word).collect()
}

const LINES: &str = "SELECT _op, _reason, before_id, before_name, before_a, after_id, after_name, after_a FROM users";

both_servers! {
    async fn a_changelog_says_where_changes_are_missing_and_goes_on_with_the_rows_as_they_were_read(kind: Kind) {
        let server = crate::support::server::Server::start(kind).await;
        let mut sandbox = Sandbox::with_every_sink_on(server).await;
        sandbox.set("/sinks/0/deletion", json!("soft"));
        sandbox.server.exec(format!(
            "USE {DATABASE}; CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, a INT NOT NULL DEFAULT 7);
             INSERT INTO users VALUES (1, 'ann', 1), (2, 'bob', 2), (3, 'cas', 3)"
        )).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        for statement in [
            "UPDATE users SET a = 5 WHERE id = 1",
            "INSERT INTO users (id, name) VALUES (4, 'dan')",
            "DELETE FROM users WHERE id = 2",
        ] {
            sandbox.server.exec(format!("USE {DATABASE}; {MINIMAL}; {statement}")).await;
            sandbox.caught_up(&mut daemon).await;
        }
        let deleted = lines(&Connection::open(sandbox.sqlite()).unwrap(), "SELECT * FROM users ORDER BY id");
        sandbox.server.exec(format!(
            "USE {DATABASE}; SET SESSION binlog_format = 'STATEMENT'; UPDATE users SET a = a + 10 WHERE id > 2"
        )).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        // The key alone was told of the row that is gone: the copy marks it, and keeps what it knew.
        assert_eq!(deleted, ["1\tann\t5\t0", "2\tbob\t2\t1", "3\tcas\t3\t0", "4\tdan\t7\t0"]);
        let mirror = Connection::open(sandbox.sqlite()).unwrap();
        let rows = ["1\tann\t5\t0", "2\tbob\t2\t1", "3\tcas\t13\t0", "4\tdan\t17\t0"];
        assert_eq!(lines(&mirror, "SELECT * FROM users ORDER BY id"), rows);
        sandbox.assert_mirrored_to_clickhouse().await;

        let none = "\\N\t\\N\t\\N";
        let read = |row: &str| format!("snapshot\t\\N\t{none}\t{row}");
        let gap = |why: &str| format!("gap\t{why}\t{none}\t{none}");
        let expected = [
            read("1\tann\t1"),
            read("2\tbob\t2"),
            read("3\tcas\t3"),
            gap("binlog_row_image"),
            read("1\tann\t5"),
            gap("binlog_row_image"),
            read("4\tdan\t7"),
            format!("delete\t\\N\t2\t\\N\t\\N\t{none}"),
            gap("statement format"),
            format!("replace\t\\N\t{none}\t{none}"),
            read("1\tann\t5"),
            read("3\tcas\t13"),
            read("4\tdan\t17"),
        ];
        let changelog = Connection::open(sandbox.changelog()).unwrap();
        let ours = lines(&changelog, &format!("{LINES} ORDER BY _version"));
        assert_eq!(told(&ours), expected);
        let clickhouse = sandbox.clickhouse();
        let theirs = clickhouse.query(LINES.replace("users", &format!("{CHANGELOG}.users FINAL ORDER BY _version"))).await;
        assert_eq!(theirs.lines().map(str::to_owned).collect::<Vec<_>>(), ours, "both changelogs say the same");

        // Each gap with its reason, and when the read began that follows it.
        let gaps = lines(&changelog, &documented("sqlite.md"));
        let of_log = "SELECT l._version, l._commit_time, l._reason, (SELECT n._commit_time FROM users n WHERE n._version > l._version ORDER BY n._version LIMIT 1)
                      FROM users l WHERE l._op = 'gap' ORDER BY l._version";
        assert_eq!((gaps.len(), &gaps), (3, &lines(&changelog, of_log)));
        let theirs = clickhouse.query(documented("clickhouse.md")).await;
        assert_eq!(theirs.lines().map(str::to_owned).collect::<Vec<_>>(), gaps);
    }
}
