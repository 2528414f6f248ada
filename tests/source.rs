//! The source against real servers: where a start is allowed, what the stream gives from there, what `check` finds.

use globset::{Glob, GlobSet, GlobSetBuilder};
use mysql_async::prelude::Queryable;
use replicator::config::{Password, SnapshotPlan, SourcePlan, SpecificStart, Startup, TableFilter, TlsMode, TlsPlan};
use replicator::error::{ErrorClass, Failure};
use replicator::model::{CheckStatus, ServerIdentity, SourcePosition, TableName};
use replicator::source::mysql::binlog::{BinlogStream, Decoder, Item};
use replicator::source::mysql::schema::list;
use replicator::source::mysql::server::ServerInfo;
use replicator::source::mysql::start::StartPoint;
use replicator::source::mysql::{connect, preflight, start};

use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};

fn globs(glob: &str) -> GlobSet {
    GlobSetBuilder::new().add(Glob::new(glob).unwrap()).build().unwrap()
}

fn plan(server: &Server, startup: Startup) -> SourcePlan {
    SourcePlan {
        name: "source".to_owned(),
        host: "127.0.0.1".into(),
        port: server.port(),
        user: USER.into(),
        password: Password::fixed(PASSWORD),
        server_id: 5400,
        startup,
        filter: TableFilter::new(globs("shop.*"), globs("none.none")),
        describe_wait: std::time::Duration::from_secs(2),
        doubts: replicator::config::DoubtPlan::default(),
        on_purged: replicator::config::OnPurged::Stop,
        spool_max: 1 << 30,
        xa_bytes: 64 << 20,
        xa_wait: std::time::Duration::from_mins(5),
        snapshot: SnapshotPlan { chunk_rows: 1000, parallel: 1, max_rows_per_second: 0 },
        tls: TlsPlan { mode: TlsMode::Disabled, ca_file: None },
    }
}

/// A checked start and the server it was checked against.
async fn resolve(plan: &SourcePlan, stored: Option<&SourcePosition>) -> Result<(StartPoint, ServerInfo), Failure> {
    let mut connection = connect::connect(plan).await?;
    let info = ServerInfo::probe(&mut connection).await?;
    let point = start::resolve(&mut connection, &info, stored, &plan.startup).await?;
    connection.disconnect().await.unwrap();
    Ok((point, info))
}

/// Reads from a start until `marker` was inserted into `shop.t`, whose one column is text of fewer than 256 bytes. Gives every
/// inserted text and the position behind the last.
async fn read_until(
    plan: &SourcePlan,
    (point, info): (StartPoint, ServerInfo),
    marker: &str,
) -> Result<(Vec<String>, SourcePosition), Failure> {
    let mut decoder = Decoder::new(&point, plan.filter.clone(), info.collations.clone()).unwrap();
    let mut stream = BinlogStream::open(plan, &point, plan.server_id).await?;
    let mut texts: Vec<String> = Vec::new();
    loop {
        let event = stream.next().await?;
        match decoder.decode(&event)? {
            Item::Rows { images, .. } => {
                let mut rest = &images[..];
                while let [_nulls, len, tail @ ..] = rest {
                    let (text, after) = tail.split_at(usize::from(*len));
                    texts.push(String::from_utf8(text.to_vec()).unwrap());
                    rest = after;
                }
            }
            Item::Commit if texts.last().is_some_and(|text| text == marker) => return Ok((texts, decoder.position())),
            _ => {}
        }
    }
}

async fn shop(server: &Server) {
    server
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (a VARCHAR(60) CHARACTER SET ascii NOT NULL PRIMARY KEY)")
        .await;
}

async fn insert(server: &Server, texts: &[&str]) {
    for text in texts {
        server.exec(format!("INSERT INTO shop.t VALUES ('{text}')")).await;
    }
}

fn reset(kind: Kind) -> &'static str {
    match kind {
        Kind::MySql => "RESET BINARY LOGS AND GTIDS",
        Kind::MariaDb => "RESET MASTER",
    }
}

/// The position behind rows `a` and `b`, read from a start before them.
async fn position_behind_two_rows(server: &Server, plan: &SourcePlan) -> SourcePosition {
    let start = resolve(plan, None).await.unwrap();
    insert(server, &["a", "b"]).await;
    let (texts, position) = read_until(plan, start, "b").await.unwrap();
    assert_eq!(texts, ["a", "b"]);
    position
}

both_servers! {
    async fn a_stored_position_goes_on_with_exactly_what_comes_after_it(kind: Kind) {
        let mut server = Server::start(kind).await;
        shop(&server).await;
        let plan = plan(&server, Startup::Latest);
        insert(&server, &["before"]).await;
        let stored = position_behind_two_rows(&server, &plan).await;
        assert_eq!(stored.gtid, server.gtid().await);
        insert(&server, &["c"]).await;
        server.restart().await;
        insert(&server, &["d"]).await;
        let again = resolve(&plan, Some(&stored)).await.unwrap();
        let (texts, end) = read_until(&plan, again, "d").await.unwrap();
        assert_eq!(texts, ["c", "d"]);
        assert_eq!((end.file.clone(), end.pos), server.position().await);
        assert_eq!(end.gtid, server.gtid().await);
    }

    async fn a_start_given_as_file_or_as_gtids_gives_what_comes_after_it(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        insert(&server, &["a"]).await;
        let ((file, pos), gtid) = (server.position().await, server.gtid().await);
        insert(&server, &["b"]).await;
        server.exec("FLUSH BINARY LOGS").await;
        insert(&server, &["c"]).await;
        for specific in [SpecificStart::FilePos { file, pos }, SpecificStart::Gtid(gtid)] {
            let plan = plan(&server, Startup::Specific(specific));
            let start = resolve(&plan, None).await.unwrap();
            let (texts, end) = read_until(&plan, start, "c").await.unwrap();
            assert_eq!(texts, ["b", "c"]);
            assert_eq!(end.gtid, server.gtid().await, "{:?}", plan.startup);
        }
    }

    async fn a_start_given_as_a_file_knows_the_gtids_in_front_of_it(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        insert(&server, &["a"]).await;
        server.exec("FLUSH BINARY LOGS").await;
        let mut places = vec![(server.position().await.0, 4, server.gtid().await)];
        if kind == Kind::MySql {
            // A hundred events and more in two kilobytes: they are listed like those of the file itself.
            server.exec("SET GLOBAL binlog_transaction_compression = ON").await;
        }
        server.exec("CREATE TABLE shop.wide (a INT PRIMARY KEY, b VARCHAR(250) NOT NULL)").await;
        let rows: Vec<String> = (0..4000).map(|a| format!("({a}, '{}')", "x".repeat(250))).collect();
        server.exec(format!("INSERT INTO shop.wide VALUES {}", rows.join(", "))).await;
        for text in ["b", "c"] {
            let (file, pos) = server.position().await;
            places.push((file, pos, server.gtid().await));
            insert(&server, &[text]).await;
        }
        for (file, pos, gtid) in places {
            let plan = plan(&server, Startup::Specific(SpecificStart::FilePos { file, pos }));
            assert_eq!(resolve(&plan, None).await.unwrap().0.position.gtid, gtid, "{:?}", plan.startup);
        }
    }

    async fn tables_are_listed_once_also_of_databases_that_differ_only_in_case(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        server.exec("CREATE DATABASE Shop; CREATE TABLE Shop.t (a INT); CREATE TABLE Shop.u (a INT)").await;
        let all = TableFilter::new(globs("*.*"), globs("none.none"));
        let expected = [("Shop", "t"), ("Shop", "u"), ("shop", "t")].map(|(database, table)| TableName::new(database, table));
        let mut connection = connect::connect(&plan(&server, Startup::Latest)).await.unwrap();

        let listing = list(&mut connection, &all).await.unwrap();
        assert!(listing.copied().eq(&expected), "{listing:?}");
        // With many databases, all are asked for at once.
        let more: Vec<String> = (0..25).map(|number| format!("CREATE DATABASE empty_{number}")).collect();
        server.exec(more.join("; ")).await;
        let listing = list(&mut connection, &all).await.unwrap();
        assert!(listing.copied().eq(&expected), "{listing:?}");
        connection.disconnect().await.unwrap();
    }

    async fn a_server_whose_binlogs_were_reset_is_recognised(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        let plan = plan(&server, Startup::Latest);
        let stored = position_behind_two_rows(&server, &plan).await;
        server.exec(reset(kind)).await;
        let failure = resolve(&plan, Some(&stored)).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("were reset"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("replicator start --resync"));
    }

    async fn a_purged_position_is_refused_with_the_way_out(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        let plan = plan(&server, Startup::Latest);
        let stored = position_behind_two_rows(&server, &plan).await;
        insert(&server, &["lost"]).await;
        server.exec("FLUSH BINARY LOGS").await;
        insert(&server, &["kept"]).await;
        server.exec("FLUSH BINARY LOGS").await;
        let (file, _) = server.position().await;
        // MariaDB keeps files that its recovery could need until a later checkpoint.
        for _ in 0..100 {
            server.exec(format!("PURGE BINARY LOGS TO '{file}'")).await;
            let files: Vec<mysql_async::Row> = server.query("SHOW BINARY LOGS").await;
            if files.len() == 1 {
                break;
            }
        }
        let failure = match resolve(&plan, Some(&stored)).await {
            Err(failure) => failure,
            Ok(start) => read_until(&plan, start, "kept").await.unwrap_err(),
        };
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.hint.as_deref().unwrap().contains("keep binlogs longer"), "{}", failure.chain());
    }

    async fn another_server_without_our_transactions_is_refused(kind: Kind) {
        let server = Server::start(kind).await;
        shop(&server).await;
        let stored = position_behind_two_rows(&server, &plan(&server, Startup::Latest)).await;
        let other = ServerOptions::new(kind).argument("--server-id=7").start().await;
        let failure = resolve(&plan(&other, Startup::Latest), Some(&stored)).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("lacks transactions"), "{}", failure.message);
    }

    async fn check_finds_nothing_wrong_with_a_good_server_and_names_what_is_wrong_with_a_bad_one(kind: Kind) {
        let good = Server::start(kind).await;
        shop(&good).await;
        let items = preflight::checks(&plan(&good, Startup::Initial), false).await;
        let failed: Vec<_> = items.iter().filter(|item| item.status == CheckStatus::Fail).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(items.len() > 10, "{items:?}");

        let bad = ServerOptions::new(kind).with_its_own_row_metadata().argument("--binlog-row-image=MINIMAL").start().await;
        bad.exec(format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {USER}@'%'; CREATE DATABASE shop; CREATE TABLE shop.k (a INT)"))
            .await;
        let items = preflight::checks(&SourcePlan { server_id: 1, ..plan(&bad, Startup::Initial) }, false).await;
        let mend = |name: &str| {
            let item = items.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no {name}: {items:?}"));
            assert_eq!(item.status, CheckStatus::Fail, "{item:?}");
            item.mend.clone().unwrap()
        };
        let metadata = items.iter().find(|item| item.name == "binlog_row_metadata").unwrap();
        assert_eq!(metadata.status, CheckStatus::Warn, "{metadata:?}");
        assert!(metadata.mend.as_ref().unwrap().contains("binlog_row_metadata = 'FULL'"), "{metadata:?}");
        assert!(mend("binlog_row_image").contains("binlog_row_image"));
        assert!(mend("privilege REPLICATION SLAVE").starts_with("GRANT REPLICATION SLAVE ON *.* TO"));
        assert!(mend("server ids").contains("source.server_id"));
    }

    async fn a_wrong_password_is_an_error_that_names_its_setting_and_not_its_value(kind: Kind) {
        let server = Server::start(kind).await;
        let mut plan = plan(&server, Startup::Latest);
        plan.password = Password::fixed("letmein-123");
        let failure = connect::connect(&plan).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.chain().contains("REPLICATOR_SOURCE_PASSWORD"), "{}", failure.chain());
        assert!(!failure.chain().contains("letmein-123"));
    }
}

#[tokio::test]
async fn a_file_that_was_made_again_under_the_same_name_is_recognised_on_mysql() {
    for options in [ServerOptions::new(Kind::MySql), ServerOptions::new(Kind::MySql).without_gtid()] {
        let server = options.start().await;
        shop(&server).await;
        let plan = plan(&server, Startup::Latest);
        let stored = position_behind_two_rows(&server, &plan).await;
        // Creation times have whole seconds: the second file is made in a later one than the first.
        server.exec("DO SLEEP(1.1)").await;
        server.exec(reset(Kind::MySql)).await;
        // As many transactions as before, which have the GTIDs of those that were read.
        for _ in 0..20 {
            server.exec("INSERT INTO shop.t VALUES (UUID())").await;
        }
        // The template's own file may be older; let the name that is stored be made again and grow beyond the offset.
        loop {
            let (file, pos) = server.position().await;
            if file == stored.file && pos > stored.pos {
                break;
            }
            if file == stored.file {
                server.exec("INSERT INTO shop.t VALUES (UUID())").await;
            } else {
                server.exec("FLUSH BINARY LOGS").await;
            }
        }
        let start = resolve(&plan, Some(&stored)).await.unwrap();
        let failure = read_until(&plan, start, "never").await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("was created at"), "{}", failure.chain());
    }
}

#[tokio::test]
async fn gtids_that_a_reset_server_was_told_it_had_executed_are_gone_on_from_on_mysql() {
    let server = Server::start(Kind::MySql).await;
    shop(&server).await;
    let plan = plan(&server, Startup::Latest);
    let stored = position_behind_two_rows(&server, &plan).await;
    server.exec(format!("{}; SET GLOBAL gtid_purged = '{}'", reset(Kind::MySql), stored.gtid)).await;
    insert(&server, &["c"]).await;

    let start = resolve(&plan, Some(&stored)).await.unwrap();

    let (texts, _) = read_until(&plan, start, "c").await.unwrap();
    assert_eq!(texts, ["c"]);
}

#[tokio::test]
async fn a_position_whose_file_was_read_to_its_end_and_purged_goes_on_by_gtids_on_mysql() {
    let server = Server::start(Kind::MySql).await;
    shop(&server).await;
    let plan = plan(&server, Startup::Latest);
    let stored = position_behind_two_rows(&server, &plan).await;
    server.exec("FLUSH BINARY LOGS").await;
    let (file, _) = server.position().await;
    insert(&server, &["c"]).await;
    server.exec(format!("PURGE BINARY LOGS TO '{file}'")).await;

    let start = resolve(&plan, Some(&stored)).await.unwrap();

    let (texts, _) = read_until(&plan, start, "c").await.unwrap();
    assert_eq!(texts, ["c"]);
}

#[tokio::test]
async fn gaps_and_tags_of_the_executed_set_are_kept_and_filled_on_mysql() {
    let server = Server::start(Kind::MySql).await;
    shop(&server).await;
    let before = server.gtid().await;
    insert(&server, &["a", "b"]).await;
    server.exec("SET SESSION gtid_next = 'AUTOMATIC:tagged'; INSERT INTO shop.t VALUES ('c'); INSERT INTO shop.t VALUES ('d')").await;
    insert(&server, &["e"]).await;
    let uuid = before.split(':').next().unwrap();
    // Everything but `a` and the second tagged one.
    let all = server.gtid().await;
    let first: u64 = before.rsplit('-').next().unwrap().parse().unwrap();
    let set = format!("{before}:{}-{}:tagged:1", first + 2, first + 3);
    assert!(all.contains("tagged:1-2"), "{all}");
    let plan = plan(&server, Startup::Specific(SpecificStart::Gtid(set)));
    let start = resolve(&plan, None).await.unwrap();
    let (texts, end) = read_until(&plan, start, "d").await.unwrap();
    assert_eq!(texts, ["a", "d"]);
    assert_eq!(end.gtid, all);
    assert_eq!(end.server, ServerIdentity::MySql { server_uuid: uuid.to_owned() });
}

#[tokio::test]
async fn a_compressed_transaction_comes_whole_and_ends_at_its_payload_on_mysql() {
    let server = Server::start(Kind::MySql).await;
    shop(&server).await;
    let plan = plan(&server, Startup::Latest);
    let start = resolve(&plan, None).await.unwrap();
    let mut connection = server.connect().await;
    connection.query_drop("SET SESSION binlog_transaction_compression = ON").await.unwrap();
    connection
        .query_drop("BEGIN; INSERT INTO shop.t VALUES ('x'), ('y'); INSERT INTO shop.t VALUES ('z'); COMMIT")
        .await
        .unwrap();
    let (texts, end) = read_until(&plan, start, "z").await.unwrap();
    assert_eq!(texts, ["x", "y", "z"]);
    assert_eq!((end.file.clone(), end.pos), server.position().await);
}
