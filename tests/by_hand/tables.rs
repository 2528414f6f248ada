use serde_json::json;

use super::{json, refused, remedy_of, well};
use crate::support::http;
use crate::support::sandbox::Sandbox;
use crate::support::server::Kind;
use crate::support::status::table_of;

#[tokio::test]
async fn a_table_that_is_skipped_is_left_out_by_name_over_restarts_and_comes_back_complete_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    sandbox.with_changelog();
    for table in ["a", "b"] {
        let create = format!(
            "CREATE TABLE shop.{table} (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.{table} VALUES (1, 'one'), (2, 'two')"
        );
        sandbox.server.exec(create).await;
    }
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    well(&sandbox, &["table", "skip", "shop.a", "--reason", "a purge until Monday"]);
    sandbox.server.exec("INSERT INTO shop.a VALUES (3, 'three'); UPDATE shop.b SET v = 'changed' WHERE id = 1").await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    let mut daemon = sandbox.start();
    let status = sandbox.caught_up(&mut daemon).await;
    let a = table_of(&status, "shop.a");
    assert_eq!(
        (&a["state"], &a["by_operator"], &a["left_out"]),
        (&json!("left_out"), &json!(true), &json!(1)),
        "{a:#}"
    );
    assert!(a["why"].as_str().unwrap().contains("a purge until Monday"), "{a:#}");
    assert_eq!(status["health"]["status"], "degraded");
    assert_eq!(remedy_of(&status, "skipped", "shop.a"), Some("replicator table resume shop.a"));
    assert_eq!(table_of(&status, "shop.b")["state"], "complete");
    let metrics = http::get(&sandbox.http(), "/metrics").await;
    assert!(metrics.contains("replicator_skipped_tables 1"), "{metrics}");
    assert!(metrics.contains("state=\"left_out\""));

    let listed = json(&sandbox, &["table", "list", "--json"]);
    assert_eq!(
        (&listed[0]["table"], &listed[0]["remedy"]),
        (&json!("shop.a"), &json!("replicator table resume shop.a"))
    );
    let of_b = json(&sandbox, &["table", "list", "shop.*", "--state", "complete", "--sink", "local", "--json"]);
    assert_eq!((of_b.as_array().unwrap().len(), &of_b[0]["table"]), (1, &json!("shop.b")));
    let shown = json(&sandbox, &["table", "show", "shop.a", "--json"]);
    assert_eq!(shown["record"]["left_out"]["by"], "operator");
    assert_eq!(shown["schema"]["key"], json!(["id"]));
    assert_eq!(shown["schema_known_by"], "description");
    for (arguments, said) in [
        (&["backfill", "--table", "shop.a"][..], "is skipped by an operator"),
        (&["resync", "--table", "shop.a"], "is skipped by an operator"),
        (&["table", "skip", "shop.a"], "is skipped by an operator"),
        (&["table", "resume", "shop.b"], "is not left out"),
        (&["table", "show", "shop.none"], "the log knows no table"),
    ] {
        let refusal = refused(&sandbox, 1, arguments);
        assert!(refusal.contains(said), "{refusal}");
    }

    well(&sandbox, &["table", "resume", "shop.a", "--wait"]);
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(
        (&table_of(&status, "shop.a")["state"], &status["health"]["status"]),
        (&json!("complete"), &json!("ok"))
    );
    daemon.stop();
    assert_eq!(sandbox.assert_mirrored().await.rows, 5);
    let changelog = rusqlite::Connection::open(sandbox.changelog()).unwrap();
    let gaps: i64 = changelog.query_row("SELECT COUNT(*) FROM a WHERE _op = 'gap'", [], |row| row.get(0)).unwrap();
    assert!(gaps >= 1, "the changelog has no line for the time that was left out");

    let offline = well(&sandbox, &["table", "show", "shop.a"]);
    assert!(offline.contains("state    complete") && offline.contains("id INT"), "{offline}");
    assert!(well(&sandbox, &["table", "list"]).contains("shop.b"));
    assert!(refused(&sandbox, 1, &["table", "skip", "shop.a"]).contains("no daemon is running"));
}
