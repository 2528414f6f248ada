//! The keys of a sink with `type: clickhouse`: their defaults, and what is refused.

use std::path::Path;

use super::*;
use crate::config::{DdlAction, DdlPolicy, Plan, parse};
use crate::model::TableName;
use crate::sink::testing::{plan, problems};
use crate::sink::types;

const CLICKHOUSE: &str = "
source: { url: 'mysql://u@127.0.0.1', server_id: 1, include: ['shop.*'] }
sinks: [{ name: my-ch, type: clickhouse, url: 'http://127.0.0.1:8123', database: replica }]
";

fn clickhouse(plan: &Plan) -> &ClickHousePlan {
    plan.sinks[0].settings().unwrap()
}

#[test]
fn a_clickhouse_sink_has_defaults_for_everything_but_its_place() {
    let plan = plan(CLICKHOUSE);
    let found = clickhouse(&plan);
    assert_eq!(
        (found.url.as_str(), found.database.as_str(), found.user.as_str()),
        ("http://127.0.0.1:8123/", "replica", "default")
    );
    let batch = BatchPlan { max_rows: 500_000, max_bytes: 64 << 20, max_delay: Duration::from_secs(1) };
    assert_eq!(
        (plan.sinks[0].batch, found.compression, found.timeout),
        (batch, Compression::None, Duration::from_mins(5))
    );
    assert_eq!(found.stop_refused_after, Duration::from_mins(10));
    assert_eq!(found.tls, TlsPlan { mode: TlsMode::Disabled, ca_file: None });
    let types = ClickHouseTypes { json: JsonType::String, sets: SetType::String };
    assert_eq!((found.types, found.create_views, found.settings.len()), (types, false, 0));
    let apply = DdlAction::Apply;
    let ddl = DdlPolicy { add: apply, drop: apply, rename: apply, retype: apply, truncate: apply, drop_table: apply };
    assert_eq!(plan.sinks[0].ddl, ddl);
    assert!(found.password.read().unwrap().is_empty());
}

#[test]
fn every_key_of_a_clickhouse_sink_is_read() {
    let text = "
source: { url: 'mysql://u@127.0.0.1', server_id: 1, include: ['shop.*'] }
sinks:
  - { name: my-ch, type: clickhouse, url: 'https://ch.example:8443', database: replica, user: writer, table_prefix: shop_, table_name: '{database}_{table}',
      batch: { max_rows: 7, max_bytes: 1MiB, max_delay: 50ms }, compression: none, settings: { max_threads: 2, log_comment: x, final: true },
      create_views: true, zero_dates: null, json: json, sets: array, ddl: { drop: ignore, truncate: stop }, timeout: 10s,
      stop_refused_after: 1h }
";
    let environment = |name: &str| Ok((name == "REPLICATOR_SINK_MY_CH_PASSWORD").then(|| "hunter3".to_owned()));
    let plan = parse(Path::new("r.yaml"), text, &environment, &types()).unwrap();
    let found = clickhouse(&plan);
    assert_eq!(found.password.read().unwrap().reveal(), "hunter3");
    assert_eq!(plan.sinks[0].target_name(&TableName::new("shop", "users")), "shop_shop_users");
    let batch = BatchPlan { max_rows: 7, max_bytes: 1 << 20, max_delay: Duration::from_millis(50) };
    assert_eq!(
        (plan.sinks[0].batch, found.compression, found.timeout),
        (batch, Compression::None, Duration::from_secs(10))
    );
    assert_eq!(found.stop_refused_after, Duration::from_hours(1));
    assert_eq!(found.tls.mode, TlsMode::VerifyIdentity);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(found.settings, [pair("max_threads", "2"), pair("log_comment", "x"), pair("final", "1")]);
    assert_eq!((plan.sinks[0].ddl.drop, plan.sinks[0].ddl.truncate), (DdlAction::Ignore, DdlAction::Stop));
    let types = ClickHouseTypes { json: JsonType::Json, sets: SetType::Array };
    assert_eq!(found.types, types);
    assert!(!format!("{plan:?}").contains("hunter3"));
}

#[test]
fn what_would_break_a_clickhouse_sink_is_refused_with_its_reason() {
    let text = "
source: { url: 'mysql://u@127.0.0.1', server_id: 1, include: ['shop.*'] }
sinks:
  - { name: a, type: clickhouse, url: 'http://u:secret@h', database: d, batch: { max_rows: 2000000, max_bytes: 1KiB, max_delay: soon }, password: x }
  - { name: b, type: clickhouse, url: 'http://h:8123', tls: { mode: verify_ca }, settings: { async_insert: 1 }, create_views: 1, ddl: { add: maybe } }
  - { name: c, type: clickhouse, url: 'http://h:8123', database: d }
  - { name: e, type: clickhouse, url: 'http://h:8123', database: d, table_prefix: '{x}', timeout: 0, stop_refused_after: 8d }
";
    let found = problems(text);
    for (path, part) in [
        ("sinks[0].url", "must not hold a user or a password"),
        ("sinks[0].batch.max_rows", "from 1 to 1000000"),
        ("sinks[0].batch.max_bytes", "must be from 64KiB to 1GiB"),
        ("sinks[0].batch.max_delay", "\"soon\" is not a length of time"),
        ("sinks[0].password", "has no place in this file"),
        ("sinks[1].database", "required"),
        ("sinks[1].url", "is http, which has no TLS"),
        ("sinks[1].settings", "must not set \"async_insert\""),
        ("sinks[1].create_views", "expected true or false"),
        ("sinks[1].ddl.add", "\"maybe\" is not one of apply, ignore, stop"),
        ("sinks[3].table_prefix", "takes no placeholders"),
        ("sinks[3].timeout", "must be from 1s"),
        ("sinks[3].stop_refused_after", "to 3days"),
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(&format!("{path}: ")) && problem.contains(part)),
            "{path}: {part} is not among {found:#?}"
        );
    }
    assert!(!found.concat().contains("secret"));
    let two = CLICKHOUSE.replace(
        "replica }]",
        "replica }, { name: other, type: clickhouse, url: 'http://127.0.0.1:8123', database: replica }]",
    );
    assert_eq!(problems(&two), ["sinks[1].database: and the table names are also those of sinks[0]"]);
}
