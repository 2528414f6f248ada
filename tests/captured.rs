//! Which tables are captured, which cannot be copied, and which names of the configuration are no table, as the servers say it.

use std::path::Path;

use mysql_async::Conn;
use replicator::config::Password;
use replicator::config::{self, SourcePlan};
use replicator::model::{CheckItem, CheckStatus, TableName};
use replicator::source::mysql::schema::{
    Existence, Flavour, LeftOutBy, Listing, Nature, Why, describe, describe_visible, existence, list,
};
use replicator::source::mysql::{connect, preflight};

use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};

fn plan(server: &Server, include: &[&str]) -> SourcePlan {
    let include = serde_json::to_string(include).unwrap();
    let text = format!(
        "{{ source: {{ url: '{}', server_id: 5400, include: {include}, tls: {{ mode: disabled }} }}, sinks: [] }}",
        server.url()
    );
    let password = |name: &str| Ok((name == config::PASSWORD_VARIABLE).then(|| PASSWORD.to_owned()));
    config::parse(Path::new("replicator.yaml"), &text, &password, &[]).unwrap().source
}

/// Leaves the product's account what it needs for the binlog, and what `grants` say.
async fn limited_to(server: &Server, grants: &str) {
    server
        .exec(format!(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {USER}@'%';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {USER}@'%'; {grants}"
        ))
        .await;
}

/// A session of the product's account, which may read `shop.a` and nothing else. Rights on the whole server go with the session.
async fn limited(server: &Server) -> Conn {
    limited_to(server, &format!("GRANT SELECT ON shop.a TO {USER}@'%'")).await;
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

fn found<'i>(items: &'i [CheckItem], name: &str) -> Vec<&'i CheckItem> {
    items.iter().filter(|item| item.name == name).collect()
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

    async fn a_check_fails_for_every_literal_name_that_is_no_table_and_names_the_fix(kind: Kind) {
        let server = Server::start(kind).await;
        server
            .exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE TABLE shop.b (id INT PRIMARY KEY); CREATE VIEW shop.v AS SELECT 1 AS one")
            .await;
        limited(&server).await.disconnect().await.unwrap();
        server.exec(format!("GRANT SELECT ON shop.v TO {USER}@'%'")).await;

        let items = preflight::checks(&plan(&server, &["shop.a", "shop.b", "SHOP.a", "shop.v", "shop.x*"]), false).await;

        let fixes: Vec<_> = found(&items, "source.include")
            .into_iter()
            .map(|item| (item.status, item.tables.join(" "), item.mend.clone().unwrap()))
            .collect();
        let expected = [
            (CheckStatus::Fail, "shop.b", grant("`shop`.`b`")),
            (CheckStatus::Fail, "SHOP.a", "write \"shop.a\" in source.include".to_owned()),
            (CheckStatus::Fail, "shop.v", "take \"shop.v\" out of source.include".to_owned()),
        ];
        assert_eq!(fixes, expected.map(|(status, name, fix)| (status, name.to_owned(), fix)));
        let captured = found(&items, "captured tables");
        assert_eq!((captured[0].detail.as_str(), captured[0].status), ("1: \"shop.a\"", CheckStatus::Ok));
    }

    async fn a_check_names_the_captured_tables_and_those_that_cannot_be_copied_or_read(kind: Kind) {
        let server = Server::start(kind).await;
        let tables: Vec<String> = (1..=7).map(|number| format!("CREATE TABLE shop.t{number} (id INT PRIMARY KEY) ENGINE=MyISAM")).collect();
        server.exec(format!("CREATE DATABASE shop; {}", tables.join("; "))).await;
        server.exec("CREATE TABLE shop.m (id INT, KEY (id)) ENGINE=MERGE UNION=()").await;
        limited_to(&server, &format!("GRANT INSERT ON shop.t7 TO {USER}@'%'; GRANT SELECT ON shop.m TO {USER}@'%'")).await;
        for number in 1..=6 {
            server.exec(grant(&format!("`shop`.`t{number}`"))).await;
        }

        let items = preflight::checks(&plan(&server, &["shop.*"]), false).await;

        let captured = found(&items, "captured tables")[0];
        assert!(captured.detail.starts_with("7: \"shop.t1\", ") && captured.detail.ends_with("and 2 more"), "{captured:?}");
        assert_eq!(captured.tables.len(), 7);
        let left_out = found(&items, "tables left out")[0];
        assert_eq!((left_out.status, left_out.tables.join(" ")), (CheckStatus::Warn, "shop.m".to_owned()));
        assert!(left_out.detail.contains("its engine is MERGE"), "{left_out:?}");
        // It is seen, and its rows are not.
        let select = found(&items, "privilege SELECT")[0];
        assert_eq!((select.status, select.mend.clone().unwrap()), (CheckStatus::Fail, grant("`shop`.`t7`")));
    }

    async fn a_check_says_that_an_anonymous_account_took_the_login_and_grants_it_nothing(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE USER ''@'127.0.0.1'").await;
        let source = SourcePlan { password: Password::fixed(""), ..plan(&server, &["shop.a"]) };

        let items = preflight::checks(&source, false).await;

        let account = found(&items, "source account")[0];
        assert_eq!(account.status, CheckStatus::Fail, "{account:?}");
        assert!(account.mend.as_deref().unwrap().starts_with("DROP USER ''@'127.0.0.1'"), "{account:?}");
        let granting: Vec<_> = items.iter().filter(|item| item.mend.as_deref().is_some_and(|mend| mend.contains("GRANT"))).collect();
        assert!(granting.is_empty(), "{granting:?}");
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
            ("m", Nature::LeftOut(LeftOutBy::merge())),
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
