//! The configuration as a whole: what is taken, what is refused, and that nothing is refused alone. Its sinks are of types
//! made up for it.

use std::path::Path;
use std::time::Duration;

use super::testing::{Memory, TYPES};
use super::*;
use crate::model::{Names, TableName};

const SMALL: &str = "
source: { url: 'mysql://repl@db.example', server_id: 5400, include: ['shop.*'] }
sinks: [{ name: local, type: file, path: replica.db }]
";

fn plan(text: &str) -> Plan {
    parse(Path::new("replicator.yaml"), text, &|_| Ok(None), &TYPES).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> Vec<String> {
    let error =
        parse(Path::new("replicator.yaml"), text, &|_| Ok(None), &TYPES).expect_err("the configuration is wrong");
    error.problems().iter().map(ToString::to_string).collect()
}

/// The only problem of [`SMALL`] with `to` in the place of `from`.
fn problem_of(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    let found = problems(&SMALL.replace(from, to));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let plan = plan(SMALL);
    assert_eq!((plan.source.host.as_str(), plan.source.port, plan.source.user.as_str()), ("db.example", 3306, "repl"));
    assert_eq!(plan.source.startup, Startup::Initial);
    assert_eq!(plan.source.on_purged, OnPurged::Stop);
    assert_eq!(plan.source.snapshot, SnapshotPlan { chunk_rows: 50_000, parallel: 2, max_rows_per_second: 0 });
    assert_eq!(plan.source.tls, TlsPlan { mode: TlsMode::VerifyIdentity, ca_file: None });
    assert_eq!(plan.source.spool_max, 10 << 30);
    assert_eq!((plan.source.xa_bytes, plan.source.xa_wait), (64 << 20, Duration::from_mins(5)));
    assert!(plan.source.password.read().unwrap().is_empty());
    assert_eq!(plan.wal, WalPlan { path: "./replicator-wal".into(), max_size: 20 << 30 });
    assert_eq!(plan.http, HttpPlan { listen: Some("127.0.0.1:9180".parse().unwrap()), table_metrics: true });
    let [sink] = &plan.sinks[..] else { panic!("one sink") };
    assert_eq!((sink.name.as_str(), sink.table_name.as_str()), ("local", "{table}"));
    assert!(sink.rules.is_empty());
    assert!(sink.shared_rules.is_empty() && sink.filter.is_none());
    assert_eq!(sink.defaults, TableOptions::new(Mode::Mirror));
    assert_eq!((sink.on_row_error, &sink.source_tag, &sink.hash_key), (OnRowError::StopTable, &None, &None));
    assert_eq!(plan.dead_letters, DeadLetterPlan { max_bytes: 1 << 30 });
}

/// Some certificate, in PEM.
fn authority() -> String {
    rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem()
}

#[test]
fn every_key_of_the_issue_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority()).unwrap();
    let text = r#"
source:
  url: mysql://replicator@127.0.0.1:3306
  server_id: 5400
  startup_mode: specific
  specific: { file: binlog.000003, pos: 157 }
  include: ["shop.*"]
  exclude: ["shop.tmp_*"]
  snapshot: { chunk_rows: 1000, parallel: 3, max_rows_per_second: 7 }
  tls: { mode: verify_identity, ca_file: CA }
wal:
  path: ./log
  max_size: 1GiB
sinks:
  - name: local
    type: file
    path: ./replica.db
    table_name: "{database}_{table}"
    mode: history
    deletion: soft
    soft_delete_column: gone
tables:
  - { database: shop, table: users, rename: { created_at: createdAt }, drop: [internal_flag], mode: mirror, deletion: hard }
http:
  listen: "[::1]:9999"
"#;
    let plan = plan(&text.replace("CA", ca.to_str().unwrap()));
    assert_eq!(
        plan.source.startup,
        Startup::Specific(SpecificStart::FilePos { file: "binlog.000003".into(), pos: 157 })
    );
    assert!(plan.source.filter.captures("shop", "users"));
    assert!(!plan.source.filter.captures("shop", "tmp_1"));
    assert!(!plan.source.filter.captures("mysql", "user"));
    assert_eq!(plan.source.snapshot, SnapshotPlan { chunk_rows: 1000, parallel: 3, max_rows_per_second: 7 });
    assert_eq!(plan.source.tls, TlsPlan { mode: TlsMode::VerifyIdentity, ca_file: Some(ca) });
    assert_eq!(plan.wal, WalPlan { path: "./log".into(), max_size: 1 << 30 });
    assert_eq!(plan.http.listen, Some("[::1]:9999".parse().unwrap()));
    let [sink] = &plan.sinks[..] else { panic!("one sink") };
    assert_eq!(sink.target_name(&TableName::new("shop", "orders")), "shop_orders");
    let users = TableOptions {
        mode: Mode::Mirror,
        deletion: Deletion::Hard,
        soft_delete_column: "gone".into(),
        rename: vec![("created_at".into(), "createdAt".into())],
        drop: vec!["internal_flag".into()],
        ..TableOptions::new(Mode::Mirror)
    };
    assert_eq!(sink.options_for(&TableName::new("shop", "users")), users);
    assert_eq!(sink.options_for(&TableName::new("shop", "orders")), sink.defaults);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_path() {
    let text = "
source:
  url: mysql://repl:secret@db:3306
  server_id: 0
  startup_mode: latest
  specific: { file: binlog.1, pos: 2, gtid: x }
  include: [shop, '{']
  exclude: ['a.[']
  pasword_file: x
  snapshot: { chunk_rows: 0, parallel: many }
  tls: { mode: verify-ca }
wal: { max_size: 1MiB, size: 3 }
sinks:
  - { name: a, type: file, path: one.db, mode: mirorr }
  - { name: a, type: file, path: ./one.db, table_name: '{tabel}' }
  - { name: 'b c', type: mysql }
tables:
  - { database: shop, table: users, rename: { a: x, b: x }, drop: [A], colour: red }
http: { listen: 9180 }
metrics: {}
";
    let expected = [
        "source.url: must not hold a password; set REPLICATOR_SOURCE_PASSWORD, or name a file in source.password_file",
        "source.server_id: must be a whole number from 1 to 4294967295",
        "source.specific: has a meaning only with startup_mode: specific",
        "source.specific.gtid: cannot stand beside file and pos; keep one of the two",
        "source.include[0]: \"shop\" has no dot and matches no table; write database.table, such as \"shop.*\"",
        "source.include[1]: \"{\" has no dot and matches no table; write database.table, such as \"{.*\"",
        "source.exclude[0]: \"a.[\" is not a glob: unclosed character class; missing ']'",
        "source.snapshot.chunk_rows: must be a whole number from 1 to 16000000",
        "source.snapshot.parallel: expected a whole number, found text",
        "source.tls.mode: \"verify-ca\" is not one of disabled, required, verify_ca, verify_identity; did you mean \"verify_ca\"?",
        "source.pasword_file: unknown key; did you mean \"password_file\"?",
        "wal.max_size: must be at least 64MiB",
        "wal.size: unknown key; the keys here are path, max_size",
        "tables[0].colour: unknown key; the keys here are database, table, rename, drop, hash, rows, mode, deletion, zero_dates, invalid_text, unconvertible, keyless, on_doubt, batch",
        "tables[0].rename.b: \"x\" is also the new name of \"a\"",
        "tables[0].drop[0]: \"A\" is also renamed",
        "sinks[0].mode: \"mirorr\" is not one of mirror, history; did you mean \"mirror\"?",
        "sinks[1].table_name: \"{tabel}\" has the unknown placeholder {tabel}; did you mean {table}?",
        "sinks[2].name: \"b c\" must be up to 64 letters, digits, \"_\", \"-\" or \".\"",
        "sinks[2].type: \"mysql\" is not one of file, memory",
        "sinks[1].name: \"a\" is also the name of sinks[0]",
        "sinks[1].path: \"./one.db\" is also the file of sinks[0]",
        "http.listen: \"9180\" is not an address and port such as 127.0.0.1:9180 or [::1]:9180; \"none\" turns it off",
        "metrics: unknown key; the keys here are source, wal, sinks, tables, hash_key_file, http, dead_letters, log",
    ];
    assert_eq!(problems(text), expected);
    let shown = parse(Path::new("r.yaml"), text, &|_| Ok(None), &TYPES).unwrap_err().to_string();
    assert!(shown.starts_with("the configuration \"r.yaml\" has 24 problems\n  source.url: "), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn an_empty_file_lists_what_is_required() {
    let expected = [
        "source: required; the server to copy from",
        "source.url: required; the server as mysql://user@host:3306",
        "source.server_id: required; a number that no other replica of this server uses, such as 5400",
        "source.include: required; the tables to copy as database.table globs, such as [\"shop.*\"]",
        "sinks: required; a list of targets; [] only fills the log",
    ];
    assert_eq!(problems(""), expected);
}

#[test]
fn a_key_with_nothing_after_it_is_a_problem_and_not_a_default() {
    assert_eq!(
        problem_of("server_id: 5400", "server_id: "),
        "source.server_id: expected a whole number, found nothing"
    );
    assert_eq!(
        problem_of("include: ['shop.*']", "include: []"),
        "source.include: must name at least one table, such as [\"shop.*\"]"
    );
    assert_eq!(
        problems(&SMALL.replace("sinks: [{ name: local, type: file, path: replica.db }]", "sinks:")),
        ["sinks: expected a list, found nothing"]
    );
    assert_eq!(problem_of("name: local", "name: ''"), "sinks[0].name: must not be empty");
}

#[test]
fn values_of_the_wrong_kind_are_named_and_not_converted() {
    assert_eq!(problem_of("5400", "'5400'"), "source.server_id: expected a whole number, found text");
    assert_eq!(problem_of("5400", "5400.5"), "source.server_id: must be a whole number from 1 to 4294967295");
    assert_eq!(problem_of("5400", "-1"), "source.server_id: must be a whole number from 1 to 4294967295");
    assert_eq!(problem_of("path: replica.db", "path: [replica.db]"), "sinks[0].path: expected text, found a list");
    assert_eq!(problem_of("['shop.*']", "'shop.*'"), "source.include: expected a list, found text");
    assert_eq!(problem_of("['shop.*']", "[3]"), "source.include[0]: expected text, found a number");
    assert_eq!(problems("3")[0], "expected a section of keys, found a number");
}

#[test]
fn specific_and_its_startup_mode_belong_together() {
    let with = |more: &str| SMALL.replace("server_id: 5400", &format!("server_id: 5400, {more}"));
    assert_eq!(
        plan(&with("startup_mode: specific, specific: { gtid: '0-1-5' }")).source.startup,
        Startup::Specific(SpecificStart::Gtid("0-1-5".into()))
    );
    let cases = [
        (
            "startup_mode: specific",
            "source.startup_mode: \"specific\" needs source.specific with file and pos, or gtid",
        ),
        ("specific: { gtid: x }", "source.specific: has a meaning only with startup_mode: specific"),
        ("startup_mode: specific, specific: {}", "source.specific.file: required with pos; or gtid in their place"),
        ("startup_mode: specific, specific: { file: b.1 }", "source.specific.pos: required; the offset in the file"),
        (
            "startup_mode: specific, specific: { pos: 4 }",
            "source.specific.file: required; the binlog file that pos is in",
        ),
        (
            "startup_mode: specific, specific: { file: b.1, pos: 3 }",
            "source.specific.pos: must be a whole number from 4 to 18446744073709551615",
        ),
        (
            "startup_mode: specific, specific: { file: b.1, pos: 4, gtid: x }",
            "source.specific.gtid: cannot stand beside file and pos; keep one of the two",
        ),
        (
            "startup_mode: initail",
            "source.startup_mode: \"initail\" is not one of initial, latest, specific; did you mean \"initial\"?",
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(problems(&with(more)), [expected], "{more}");
    }
}

#[test]
fn a_rule_for_a_table_that_is_not_copied_is_a_problem() {
    let text = format!(
        "{SMALL}\ntables: [{{ database: crm, table: users }}, {{ database: shop, table: a }}, {{ database: shop, table: a }}]"
    );
    assert_eq!(
        problems(&text),
        [
            "tables[0]: \"crm.users\" is not copied: source.include and source.exclude leave it out",
            "tables[2]: is about \"shop.a\", and so is tables[1]",
        ]
    );
}

#[test]
fn an_authority_without_certificate_checks_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority()).unwrap();
    let with = |mode: &str, ca: &Path| {
        let tls = format!("server_id: 5400, tls: {{ mode: {mode}, ca_file: '{}' }}", ca.display());
        SMALL.replace("server_id: 5400", &tls)
    };
    assert_eq!(
        problems(&with("disabled", &ca)),
        ["source.tls.ca_file: has no meaning without TLS; set mode: verify_identity"]
    );
    assert_eq!(
        problems(&with("required", &ca)),
        ["source.tls.ca_file: is not used by mode: required, which checks no certificate; set mode: verify_ca"]
    );
    assert_eq!(plan(&with("verify_ca", &ca)).source.tls.mode, TlsMode::VerifyCa);
    let missing = problems(&with("verify_ca", Path::new("/nonexistent/ca.pem")));
    assert!(missing[0].starts_with("source.tls.ca_file: cannot read \"/nonexistent/ca.pem\": "), "{missing:?}");
    std::fs::write(&ca, "no PEM").unwrap();
    let empty = format!("source.tls.ca_file: \"{}\" holds no certificate in PEM form", ca.display());
    assert_eq!(problems(&with("verify_identity", &ca)), [empty]);
}

#[test]
fn the_type_of_a_sink_decides_its_keys_and_its_place() {
    let two = "[{ name: a, type: memory, room: 7, prefix: p_ }, { name: b, type: file, path: x }]";
    let one = "[{ name: local, type: file, path: replica.db }]";
    let plan = plan(&SMALL.replace(one, two));
    let [memory, file] = &plan.sinks[..] else { panic!("two sinks") };
    assert_eq!(memory.settings::<Memory>().unwrap().room, 7);
    assert_eq!(memory.target_name(&TableName::new("shop", "users")), "p_users");
    let other = file.settings::<Memory>().unwrap_err();
    assert_eq!(other.message, "the plan of sink \"b\" is for type file");

    let same =
        "[{ name: a, type: memory, room: 7 }, { name: b, type: memory, room: 7 }, { name: c, type: file, path: '7' }]";
    assert_eq!(problems(&SMALL.replace(one, same)), ["sinks[1].room: is also the room of sinks[0]"]);
    assert_eq!(
        problem_of("type: file", "type: fiel"),
        "sinks[0].type: \"fiel\" is not one of file, memory; did you mean \"file\"?"
    );
    assert_eq!(problem_of("type: file, ", ""), "sinks[0].type: required; file or memory");
    assert_eq!(
        problem_of("path: replica.db", "path: a, room: 7"),
        "sinks[0].room: unknown key; the keys here are \
        name, type, table_name, include, exclude, mode, deletion, soft_delete_column, keyless, source_tag, zero_dates, invalid_text, unconvertible, ddl, on_full, detach_after, on_row_error, adopt, tables, batch, path"
    );
}

#[test]
fn a_sink_waits_in_a_full_log_unless_it_may_be_detached() {
    let on_full = |keys: &str| plan(&SMALL.replace("type: file, ", &format!("type: file, {keys}"))).sinks[0].on_full;
    assert_eq!(on_full(""), OnFull::Wait);
    assert_eq!(on_full("on_full: wait, detach_after: 5s, "), OnFull::Wait);
    assert_eq!(on_full("on_full: detach, "), OnFull::Detach { after: Duration::from_mins(10) });
    assert_eq!(on_full("on_full: detach, detach_after: 1s, "), OnFull::Detach { after: Duration::from_secs(1) });
    let problem = problem_of("type: file, ", "type: file, on_full: detach, detach_after: 10ms, ");
    assert!(problem.starts_with("sinks[0].detach_after: "), "{problem}");
}

#[test]
fn how_much_goes_to_a_sink_at_once_is_its_types_unless_it_says_otherwise() {
    let batch = |batch: &str| plan(&SMALL.replace("replica.db", &format!("replica.db{batch}"))).sinks[0].batch;
    let defaults = TYPES[0].batch;
    assert_eq!(batch(""), defaults);
    assert_eq!(batch(", batch: {}"), defaults);
    assert_eq!(batch(", batch: { max_rows: 7 }"), BatchPlan { max_rows: 7, ..defaults });
    let all = BatchPlan { max_rows: 1_000_000, max_bytes: 64 << 10, max_delay: Duration::from_millis(50) };
    assert_eq!(batch(", batch: { max_rows: 1000000, max_bytes: 64KiB, max_delay: 50ms }"), all);
    for (wrong, problem) in [
        ("max_rows: 1000001", "max_rows: must be a whole number from 1 to 1000000"),
        ("max_bytes: 1KiB", "max_bytes: must be from 64KiB to 1GiB"),
        ("max_delay: 2h", "max_delay: must be from 0s to 1h"),
        ("max_row: 1", "max_row: unknown key; did you mean \"max_rows\"?"),
    ] {
        let found = problem_of("replica.db", &format!("replica.db, batch: {{ {wrong} }}"));
        assert_eq!(found, format!("sinks[0].batch.{problem}"));
    }
}

#[test]
fn a_table_ends_batches_earlier_than_their_sink_and_never_later() {
    let sinks = "[{ name: a, type: file, path: x, batch: { max_delay: 2s } }, { name: b, type: memory, room: 7 }]";
    let text = SMALL.replace("[{ name: local, type: file, path: replica.db }]", sinks);
    let with = |batch: &str| format!("{text}\ntables: [{{ database: shop, table: t, batch: {{ {batch} }} }}]");
    let plan = plan(&with("max_rows: 2000, max_delay: 1500ms"));
    let (table, other) = (TableName::new("shop", "t"), TableName::new("shop", "u"));
    let [file, memory] = &plan.sinks[..] else { panic!("two sinks") };
    assert_eq!(file.batch_for(&other), file.batch);
    let expected = BatchPlan { max_delay: Duration::from_millis(1500), ..file.batch };
    assert_eq!(file.batch_for(&table), expected, "a thousand rows are fewer than two thousand");
    assert_eq!(memory.batch_for(&table), BatchPlan { max_rows: 2000, ..memory.batch });
    for (key, value, most) in [
        ("max_rows", "5001", "5000, in sinks[1].batch.max_rows"),
        ("max_bytes", "65MiB", "64MiB, in sinks[1].batch.max_bytes"),
        ("max_delay", "3s", "2s, in sinks[0].batch.max_delay"),
    ] {
        let expected = format!("tables[0].batch.{key}: {value} has no effect: no sink has more than {most}");
        assert_eq!(problems(&with(&format!("{key}: {value}"))), [expected]);
    }
    assert_eq!(problems(&with("max_rows: 0")), ["tables[0].batch.max_rows: must be a whole number from 1 to 1000000"]);
    assert_eq!(problems(&with("max_dely: 1s")), ["tables[0].batch.max_dely: unknown key; did you mean \"max_delay\"?"]);
}

#[test]
fn the_password_of_a_sink_is_found_by_the_sinks_name() {
    let text = SMALL.replace("name: local, type: file, path: replica.db", "name: my-sink, type: memory, room: 7");
    let environment = |name: &str| Ok((name == "REPLICATOR_SINK_MY_SINK_PASSWORD").then(|| "hunter3".to_owned()));
    let plan = parse(Path::new("r.yaml"), &text, &environment, &TYPES).unwrap();
    assert_eq!(plan.sinks[0].settings::<Memory>().unwrap().password.read().unwrap().reveal(), "hunter3");
    assert!(!format!("{plan:?}").contains("hunter3"));
}

#[test]
fn the_password_comes_from_the_environment_or_a_file_and_never_from_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2 \n").unwrap();
    let text = SMALL.replace("server_id: 5400", &format!("server_id: 5400, password_file: '{}'", file.display()));
    assert_eq!(plan(&text).source.password.read().unwrap().reveal(), "hunter2 ");
    let from_environment = parse(Path::new("r.yaml"), SMALL, &|_| Ok(Some("hunter3".into())), &TYPES).unwrap();
    assert_eq!(from_environment.source.password.read().unwrap().reveal(), "hunter3");
    assert!(!format!("{from_environment:?}").contains("hunter3"));
    let both = parse(Path::new("r.yaml"), &text, &|_| Ok(Some("hunter3".into())), &TYPES).unwrap_err().to_string();
    assert!(both.contains("source.password_file: and the environment variable REPLICATOR_SOURCE_PASSWORD"), "{both}");
    assert!(!both.contains("hunter"), "{both}");
    std::fs::write(&file, "\n").unwrap();
    assert!(problems(&text)[0].ends_with("holds no password"));
    let missing = problems(&text.replace(file.to_str().unwrap(), "/nonexistent/password"));
    assert!(missing[0].starts_with("source.password_file: cannot read \"/nonexistent/password\""), "{missing:?}");
    let written = problems(&SMALL.replace("server_id: 5400", "server_id: 5400, password: hunter2"));
    assert!(written[0].starts_with("source.password: unknown key; a password has no place"), "{written:?}");
    assert!(!written[0].contains("hunter2"));
}

#[test]
fn a_server_on_this_machine_is_reached_without_tls_unless_told_otherwise() {
    let local = SMALL.replace("db.example", "127.0.0.1");
    assert_eq!(plan(&local).source.tls.mode, TlsMode::Disabled);
    let told = local.replace("server_id: 5400", "server_id: 5400, tls: { mode: verify_identity }");
    assert_eq!(plan(&told).source.tls.mode, TlsMode::VerifyIdentity);
}

#[test]
fn the_listener_can_be_turned_off() {
    for off in ["none", "null", "~", ""] {
        assert_eq!(plan(&format!("{SMALL}http: {{ listen: {off} }}")).http.listen, None, "{off:?}");
    }
    assert!(plan(&format!("{SMALL}http:")).http.listen.is_some());
}

#[test]
fn a_log_without_sinks_is_valid() {
    assert!(plan(&SMALL.replace("[{ name: local, type: file, path: replica.db }]", "[]")).sinks.is_empty());
}

#[test]
fn broken_yaml_and_a_missing_file_are_told_apart() {
    let syntax = parse(Path::new("r.yaml"), "source: [", &|_| Ok(None), &TYPES).unwrap_err();
    assert!(matches!(syntax, ConfigError::Syntax { .. }), "{syntax}");
    let twice = parse(Path::new("r.yaml"), "wal: {}\nwal: {}", &|_| Ok(None), &TYPES).unwrap_err();
    assert!(matches!(twice, ConfigError::Syntax { .. }), "{twice}");
    let missing = load(Path::new("/nonexistent/replicator.yaml"), &TYPES).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read the configuration \"/nonexistent/replicator.yaml\"");
}

#[test]
fn globs_and_rules_name_tables_by_the_servers_rule() {
    let plan = plan(
        "{ source: { url: 'mysql://u@h', server_id: 1, include: ['Shop.*', 'x.[A-_]*', SHOP.Orders], exclude: ['shop.TMP*'] }, \
         sinks: [{ name: a, type: file, path: /tmp/a }], tables: [{ database: SHOP, table: USERS, mode: history }] }",
    );
    let captured =
        |names: Names, database: &str, table: &str| plan.source.filter.clone().under(names).captures(database, table);
    assert!(captured(Names::Exact, "Shop", "Users") && !captured(Names::Exact, "shop", "Users"));
    assert!(
        captured(Names::Exact, "Shop", "Tmp")
            && captured(Names::Exact, "x", "B1")
            && !captured(Names::Exact, "x", "b1")
    );
    for (database, table) in [("Shop", "Users"), ("shop", "users"), ("SHOP", "u"), ("X", "B1"), ("x", "b1")] {
        assert!(captured(Names::Folded, database, table), "{database}.{table}");
    }
    assert!(!captured(Names::Folded, "SHOP", "tmp_1") && !captured(Names::Folded, "MySQL", "user"));

    let folded = plan.under(Names::Folded).unwrap();
    assert_eq!(folded.sinks[0].options_for(&TableName::new("shop", "users")).mode, Mode::History);
    assert_eq!(folded.source.filter.names(), Names::Folded);
    let refused = plan.under(Names::Exact).unwrap_err();
    assert_eq!(refused.message, "tables names \"SHOP.USERS\", which is not captured");
}

#[test]
fn two_rules_that_mean_one_table_at_the_server_are_refused() {
    let rules = "[{ database: shop, table: A, drop: [x] }, { database: shop, table: a }]";
    let plan = plan(&format!("{SMALL}\ntables: {rules}"));
    assert!(plan.under(Names::Exact).is_ok());
    let refused = plan.under(Names::Folded).unwrap_err();
    assert_eq!(refused.message, "two entries of tables mean one table, \"shop.a\"");
}

#[test]
fn entries_without_a_glob_are_kept_as_the_tables_that_they_name() {
    let plan = plan(
        "{ source: { url: 'mysql://u@h', server_id: 1, include: ['shop.*', shop.a, 'shop.b?', crm.a.b, shop.c], exclude: ['shop.c'] }, \
         sinks: [] }",
    );

    let literals: Vec<_> = plan.source.filter.literals().cloned().collect();

    assert_eq!(literals, [TableName::new("shop", "a"), TableName::new("crm", "a.b")]);
}
