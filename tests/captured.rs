//! Which tables are captured, which cannot be copied, and which names of the configuration are no table, as the servers say it.

use std::path::Path;

use mysql_async::Conn;
use replicator::config::{self, SourcePlan};
use replicator::model::TableName;
use replicator::source::mysql::connect;
use replicator::source::mysql::schema::{
    Existence, Flavour, LeftOutBy, Listing, Nature, Why, describe, describe_visible, existence, list,
};

use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};

fn plan(server: &Server, include: &[&str]) -> SourcePlan {
    let include = serde_json::to_string(include).unwrap();
    let text = format!(
        "{{ source: {{ url: '{}', server_id: 5400, include: {include}, tls: {{ mode: disabled }} }}, sinks: [] }}",
        server.url()
    );
    let password = |name: &str| Ok((name == config::PASSWORD_VARIABLE).then(|| PASSWORD.to_owned()));
    config::parse(Path::new("replicator.yaml"), &text, &password).unwrap().source
}

/// A session of the product's account, which may read `shop.a` and nothing else. Rights on the whole server go with the session.
async fn limited(server: &Server) -> Conn {
    server
        .exec(format!(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {USER}@'%';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {USER}@'%';
             GRANT SELECT ON shop.a TO {USER}@'%'"
        ))
        .await;
    connect::connect(&plan(server, &["shop.*"])).await.unwrap()
}

async fn listed(server: &Server, include: &[&str]) -> Listing {
    let plan = plan(server, include);
    let mut conn = connect::connect(&plan).await.unwrap();
    let listing = list(&mut conn, &plan.filter).await.unwrap();
    conn.disconnect().await.unwrap();
    listing
}

fn unmatched(listing: &Listing) -> Vec<(String, Why)> {
    listing.unmatched.iter().map(|entry| (entry.table.to_string(), entry.why.clone())).collect()
}

fn names(listing: &Listing) -> Vec<String> {
    listing.tables.iter().map(|listed| listed.table.to_string()).collect()
}

fn grant(table: &str) -> String {
    format!("GRANT SELECT ON {table} TO '{USER}'@'%'")
}

fn flavour(kind: Kind) -> Flavour {
    match kind {
        Kind::MySql => Flavour::MySql,
        Kind::MariaDb => Flavour::MariaDb,
    }
}

both_servers! {
    async fn a_literal_name_that_is_no_table_is_listed_with_what_is_known_of_it(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE VIEW shop.v AS SELECT * FROM shop.a").await;

        let entries = ["shop.a", "shop.aa", "SHOP.a", "shop.V", "shop.v", "none.a", "mysql.user", "shop.none*"];
        let listing = listed(&server, &entries).await;

        assert_eq!(names(&listing), ["shop.a"]);
        let view = Why::NoTable("view".into());
        let expected = [
            ("shop.aa", Why::NoSuchTable),
            ("SHOP.a", Why::OtherCase(TableName::new("shop", "a"))),
            ("shop.V", view.clone()),
            ("shop.v", view),
            ("none.a", Why::NoSuchTable),
            ("mysql.user", Why::OfTheServer),
        ];
        assert_eq!(unmatched(&listing), expected.map(|(name, why)| (name.to_owned(), why)));
    }

    async fn a_literal_name_that_the_account_may_not_read_comes_with_the_grant(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE TABLE shop.`b``c` (id INT PRIMARY KEY)").await;
        limited(&server).await.disconnect().await.unwrap();

        let listing = listed(&server, &["shop.a", "shop.b`c"]).await;

        assert_eq!(names(&listing), ["shop.a"]);
        let grant = grant("`shop`.`b``c`");
        assert_eq!(unmatched(&listing), [("shop.b`c".to_owned(), Why::Denied { grant: grant.clone() })]);
        // The statement is what was missing.
        server.exec(grant).await;
        let listing = listed(&server, &["shop.a", "shop.b`c"]).await;
        assert_eq!((names(&listing), unmatched(&listing)), (vec!["shop.a".to_owned(), "shop.b`c".to_owned()], vec![]));
    }

    async fn opening_a_table_tells_one_that_is_hidden_from_one_that_is_gone(kind: Kind) {
        let server = Server::start(kind).await;
        server
            .exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE TABLE shop.b (id INT PRIMARY KEY, v INT)")
            .await;
        let ask = async |conn: &mut Conn, table: &str| existence(conn, &TableName::new("shop", table)).await.unwrap();
        let mut all = connect::connect(&plan(&server, &["shop.*"])).await.unwrap();
        assert_eq!(ask(&mut all, "b").await, Existence::Exists);
        assert_eq!(ask(&mut all, "c").await, Existence::NoSuchTable);

        let mut conn = limited(&server).await;
        assert_eq!(ask(&mut conn, "a").await, Existence::Exists);
        let denied = Existence::Denied { grant: grant("`shop`.`b`") };
        assert_eq!(ask(&mut conn, "b").await, denied);
        // A privilege on a part of the columns shows a part of the table, which is not the table.
        server.exec(format!("GRANT SELECT (id) ON shop.b TO {USER}@'%'")).await;
        assert_eq!(ask(&mut conn, "b").await, denied);
        let table = TableName::new("shop", "b");
        let refused = describe(&mut conn, flavour(kind), &table).await.unwrap_err();
        assert!(refused.chain().contains(&grant("`shop`.`b`")), "{}", refused.chain());
        server.exec(grant("`shop`.`b`")).await;
        assert_eq!(ask(&mut conn, "b").await, Existence::Exists);
        for conn in [all, conn] {
            conn.disconnect().await.unwrap();
        }
    }

    async fn a_view_is_described_as_no_table(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); CREATE VIEW shop.v AS SELECT * FROM shop.t").await;
        server.exec("CREATE TABLE shop.gone (a INT); CREATE VIEW shop.broken AS SELECT * FROM shop.gone; DROP TABLE shop.gone").await;
        let mut conn = connect::connect(&plan(&server, &["shop.*"])).await.unwrap();

        let described = describe(&mut conn, flavour(kind), &TableName::new("shop", "v")).await.unwrap();
        assert!(described.is_none(), "{described:?}");
        let broken = describe_visible(&mut conn, flavour(kind), &TableName::new("shop", "broken")).await.unwrap();
        assert!(broken.is_none(), "{broken:?}");
        conn.disconnect().await.unwrap();
    }

    async fn a_table_without_rows_of_its_own_is_listed_as_left_out(kind: Kind) {
        let options = ServerOptions::new(kind);
        // MariaDB has the engine as a plug-in.
        let options = if kind == Kind::MariaDb { options.argument("--plugin-load-add=ha_blackhole") } else { options };
        let server = options.start().await;
        server
            .exec(
                "CREATE DATABASE shop; USE shop; CREATE TABLE a (c INT) ENGINE=MyISAM; CREATE TABLE csv (c INT NOT NULL) ENGINE=CSV;
                 CREATE TABLE m (c INT) ENGINE=MERGE UNION=(a); CREATE TABLE hole (c INT) ENGINE=BLACKHOLE",
            )
            .await;

        let listing = listed(&server, &["shop.*", "shop.m"]).await;

        let natures: Vec<_> =
            listing.tables.iter().map(|listed| (listed.table.table.as_str(), listed.nature.clone())).collect();
        let expected = [
            ("a", Nature::Copied),
            ("csv", Nature::Copied),
            ("hole", Nature::LeftOut(LeftOutBy::Blackhole)),
            ("m", Nature::LeftOut(LeftOutBy::Merge)),
        ];
        assert_eq!(natures, expected);
        // It is there, which is what the entry asks for.
        assert_eq!(unmatched(&listing), []);
        let mut conn = connect::connect(&plan(&server, &["shop.*"])).await.unwrap();
        let hole = describe(&mut conn, flavour(kind), &TableName::new("shop", "hole")).await.unwrap().unwrap();
        assert_eq!(hole.nature, Nature::LeftOut(LeftOutBy::Blackhole));
        conn.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn a_system_versioned_table_is_listed_as_left_out_and_a_sequence_as_no_table_on_mariadb() {
    let server = Server::start(Kind::MariaDb).await;
    server
        .exec(
            "CREATE DATABASE shop; USE shop; CREATE TABLE t (a INT PRIMARY KEY) WITH SYSTEM VERSIONING; CREATE SEQUENCE s;
             CREATE TABLE u (a INT PRIMARY KEY)",
        )
        .await;

    let listing = listed(&server, &["shop.*", "shop.s"]).await;

    assert_eq!(names(&listing), ["shop.t", "shop.u"]);
    assert_eq!(listing.tables[0].nature, Nature::LeftOut(LeftOutBy::SystemVersioned));
    assert_eq!(unmatched(&listing), [("shop.s".to_owned(), Why::NoTable("sequence".into()))]);
}
