//! A small log, looked into.

use std::path::Path;

use serde_json::{Value, json};
use wal::{Appender, GroupEnd, Lsn, Options, Wal};

use super::*;
use crate::codec::catalog::SchemaRecord;
use crate::codec::frame::{
    Audience, CheckHeader, FrameHeader, KeyRange, Mark, RowOp, RowsHeader, Section, TableChange, encode_header,
};
use crate::codec::stored::{
    COUNT, FORMAT, LOG_FORMAT, LogFormat, SCHEMA, SINK_ROWS, SOURCE_POSITION, StoredPosition, encode,
};
use crate::deliver::TableAtSink;
use crate::ingest::Counts;
use crate::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Key, KeyKind, Origin, RowCounts, SchemaId,
    ServerIdentity, SinkRows, SourcePlace, SourcePosition, TableName, TableSchema,
};

fn users() -> TableName {
    TableName::new("shop", "users")
}

fn orders() -> TableName {
    TableName::new("shop", "orders")
}

fn schema() -> TableSchema {
    let column = |name: &str, ty, nullable| Column {
        name: name.into(),
        ty,
        nullable,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let charset = Charset::new("utf8mb4");
    TableSchema {
        name: users(),
        columns: vec![
            column("id", ColumnType::Int { width: IntWidth::W1, unsigned: true }, false),
            column("name", ColumnType::VarChar { max_bytes: 80, charset }, true),
        ],
        key: Some(Key { kind: KeyKind::Primary, columns: vec![0] }),
    }
}

/// An image of `users`: null bitmap, id, and the name with its length.
fn image(id: u8, name: Option<&str>) -> Vec<u8> {
    match name {
        Some(name) => [&[0, id, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat(),
        None => vec![2, id],
    }
}

fn origin(pos: u64) -> Origin {
    let gtid = Gtid::MariaDb { domain: 0, server: 1, sequence: pos };
    let place = SourcePlace::MySql(BinlogPlace { file_number: 3, pos, gtid });
    Origin { commit_micros: 1_700_000_000_000_000, place }
}

fn append(appender: &mut Appender, header: &FrameHeader, body: &[u8], end: GroupEnd) {
    let mut bytes = Vec::new();
    encode_header(header, &mut bytes).unwrap();
    appender.append(&[&bytes, body], end).unwrap();
}

fn rows(pos: u64, op: RowOp, rows: u32, body: &[u8]) -> FrameHeader {
    let section = Section { schema: SchemaId(1), op, rows, bytes: body.len().try_into().unwrap() };
    FrameHeader::Rows(RowsHeader { origin: origin(pos), audience: Audience::All, sections: vec![section] })
}

/// Frames 1 to 5: the table appears, two rows come, one changes and goes in one transaction, another table's
/// snapshot is finished.
pub(crate) async fn shop_log(directory: &Path) -> (Wal, Appender) {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    let change = TableChange::Schema { table: users(), from: None, to: SchemaId(1), renamed: Vec::new(), lost: false };
    append(
        &mut appender,
        &FrameHeader::Change { origin: origin(1), audience: Audience::All, change },
        &[],
        GroupEnd::Ends,
    );
    appender.put_state(&SCHEMA.of_number(1), Some(&encode(&SchemaRecord::Known(schema())).unwrap()));
    let inserted = [image(1, Some("ann")), image(2, None)].concat();
    append(&mut appender, &rows(2, RowOp::Insert, 2, &inserted), &inserted, GroupEnd::Ends);
    let updated = [image(2, None), image(2, Some("bob"))].concat();
    append(&mut appender, &rows(3, RowOp::Update, 1, &updated), &updated, GroupEnd::More);
    let deleted = image(1, Some("ann"));
    append(&mut appender, &rows(3, RowOp::Delete, 1, &deleted), &deleted, GroupEnd::Ends);
    let finished = Mark::SnapshotFinished { table: orders(), rows: 7 };
    let mark = FrameHeader::Mark { origin: origin(4), audience: Audience::All, mark: finished };
    append(&mut appender, &mark, &[], GroupEnd::Ends);
    let server = ServerIdentity::MariaDb { server_id: 1, domain_id: 0 };
    let position =
        SourcePosition { server, file: "binlog.000003".into(), pos: 4, file_created: 0, gtid: "0-1-4".into() };
    appender.put_state(SOURCE_POSITION.key(), Some(&encode(&StoredPosition::MySql(position)).unwrap()));
    appender.put_state(FORMAT.key(), Some(&encode(&LogFormat(LOG_FORMAT)).unwrap()));
    let counts = Counts { read: 5, appended: 4, left_out: 1, ..Counts::default() };
    appender.put_state(&COUNT.of_table(&users()), Some(&encode(&counts).unwrap()));
    let sink = RowCounts { taken: 1, acknowledged: 2, split: 1, ..RowCounts::default() };
    let rows = SinkRows { delivered: 1, not_theirs: 2, left_out: 0, sink, before: 0 };
    let at_sink = TableAtSink { rows, doubt: Some("1 of 2".into()), ..TableAtSink::default() };
    appender.put_state(&SINK_ROWS.of_sink_table("local", &users()), Some(&encode(&at_sink).unwrap()));
    appender.flush_durable().await.unwrap();
    (wal, appender)
}

fn items(wal: &Wal, query: &Query) -> Vec<Value> {
    let mut items = Vec::new();
    inspect(&wal.reader(), query, &mut |item| {
        items.push(serde_json::to_value(item).unwrap());
        true
    })
    .unwrap();
    items
}

fn of_kind<'i>(items: &'i [Value], kind: &str) -> Vec<&'i Value> {
    items.iter().filter(|item| item["kind"] == kind).collect()
}

#[tokio::test]
async fn an_inspection_shows_everything_in_the_log_and_no_value() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = shop_log(directory.path()).await;
    let items = items(&wal, &Query::default());
    let kinds: Vec<_> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    let frames = ["frame"; 5];
    assert_eq!(kinds, [&["log", "position", "cursor", "table", "schema"], &frames[..]].concat());
    assert_eq!((&items[0]["first_lsn"], &items[0]["durable_lsn"]), (&json!(1), &json!(5)));
    assert_eq!(items[0]["format"], json!(LOG_FORMAT));
    let position = json!({
        "kind": "position", "server": "mariadb server_id=1 domain=0",
        "file": "binlog.000003", "pos": 4, "gtid": "0-1-4",
    });
    assert_eq!(items[1], position);
    assert_eq!(
        (&items[2]["name"], &items[2]["lsn"], &items[2]["backlog_transactions"]),
        (&json!("local"), &json!(0), &json!(4))
    );
    let at_sink = json!({
        "state": null, "delivered": 1, "taken": 1, "acknowledged": 2, "netted": 0, "split": 1, "unmatched": 0, "left_out": 0,
        "not_theirs": 2, "recovered": 0, "ruled_out": 0, "dead_lettered": 0, "sent": 0, "before": 0, "doubt": "1 of 2",
    });
    let counts = json!({
        "kind": "table", "table": "shop.users", "state": null, "reads": 0, "read": 5, "appended": 4, "filtered": 0, "left_out": 1,
        "applied": {"local": 1}, "skipped": {"local": 0}, "pending": {"local": 1}, "sinks": {"local": at_sink},
    });
    assert_eq!(items[3], counts);
    let schema = json!({
        "kind": "schema", "id": 1, "table": "shop.users", "key": ["id"],
        "columns": ["id TINYINT UNSIGNED NOT NULL", "name VARCHAR of 80 bytes utf8mb4"], "state": "known",
    });
    assert_eq!(items[4], schema);
    let change = json!({"what": "schema", "table": "shop.users", "detail": "new table to schema 1"});
    assert_eq!((&items[5]["lsn"], &items[5]["change"]), (&json!(1), &change));
    let third = json!({
        "kind": "frame", "lsn": 3, "position": items[7]["position"], "source": "mysql", "committed": "2023-11-14T22:13:20.000000Z", "gtid": "0-1-3", "file_number": 3,
        "pos": 3, "ends_transaction": false, "bytes": items[7]["bytes"],
        "sections": [{"table": "shop.users", "schema": 1, "op": "update", "rows": 1, "bytes": 8}],
    });
    assert_eq!(items[7], third);
    assert!(!serde_json::to_string(&items).unwrap().contains("bob"));
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn rows_are_shown_with_their_values_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = shop_log(directory.path()).await;
    let items = items(&wal, &Query { rows: true, ..Query::default() });
    let rows = of_kind(&items, "row");
    let positions: Vec<u64> =
        of_kind(&items, "frame").iter().map(|frame| frame["position"].as_u64().unwrap()).collect();
    assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
    let row = |lsn: usize, ordinal: u32, op: &str| {
        let version = positions[lsn - 1] + u64::from(ordinal);
        json!({"kind": "row", "lsn": lsn, "ordinal": ordinal, "version": version, "table": "shop.users", "op": op})
    };
    let with = |mut row: Value, key: &str, value: Value| {
        row[key] = value;
        row
    };
    let ann = json!({"id": 1, "name": "ann"});
    let nobody = json!({"id": 2, "name": null});
    let expected = [
        with(row(2, 0, "insert"), "after", ann.clone()),
        with(row(2, 1, "insert"), "after", nobody.clone()),
        with(with(row(3, 0, "update"), "before", nobody), "after", json!({"id": 2, "name": "bob"})),
        with(row(4, 0, "delete"), "before", ann),
    ];
    assert_eq!(rows, expected.iter().collect::<Vec<_>>());
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn frames_are_chosen_by_lsn_and_by_table() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = shop_log(directory.path()).await;
    let lsns = |query: &Query| -> Vec<u64> {
        of_kind(&items(&wal, query), "frame").iter().map(|frame| frame["lsn"].as_u64().unwrap()).collect()
    };
    let between = |from, to| Query { from, to, ..Query::default() };
    assert_eq!(lsns(&between(Some(2), Some(4))), [2, 3, 4]);
    assert_eq!(lsns(&between(Some(5), Some(99))), [5]);
    assert_eq!(lsns(&between(Some(6), None)), [0_u64; 0]);
    let of = |table: &str| Query { table: Some(("shop".into(), table.into())), ..Query::default() };
    assert_eq!(lsns(&of("users")), [1, 2, 3, 4]);
    assert_eq!(lsns(&of("orders")), [5]);
    let other = items(&wal, &of("carts"));
    assert_eq!(of_kind(&other, "frame").len() + of_kind(&other, "schema").len() + of_kind(&other, "table").len(), 0);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_row_that_is_gone_by_its_key_is_shown_with_its_key_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = shop_log(directory.path()).await;
    let gone = image(2, None);
    append(&mut appender, &rows(5, RowOp::DeleteByKey, 1, &gone), &gone, GroupEnd::Ends);
    appender.flush_durable().await.unwrap();

    let items = items(&wal, &Query { from: Some(6), rows: true, ..Query::default() });

    let rows = of_kind(&items, "row");
    let [row] = &rows[..] else { panic!("{rows:#?}") };
    assert_eq!((&row["op"], &row["before"], &row["after"]), (&json!("delete_by_key"), &json!({"id": 2}), &Value::Null));
}

#[tokio::test]
async fn a_stopped_log_is_read_without_a_daemon_and_shows_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, appender) = shop_log(directory.path()).await;
    let running = items(&wal, &Query { rows: true, ..Query::default() });
    drop(appender);
    wal.shutdown().await.unwrap();
    drop(wal);
    let reader = wal::Reader::open_read_only(directory.path()).unwrap();
    let mut stopped = Vec::new();
    inspect(&reader, &Query { rows: true, ..Query::default() }, &mut |item| {
        stopped.push(serde_json::to_value(item).unwrap());
        true
    })
    .unwrap();
    // The size of the file is that of the moment.
    assert_eq!(stopped[1..], running[1..]);
}

#[tokio::test]
async fn a_sound_log_is_found_sound_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = shop_log(directory.path()).await;
    let verdict = verify(&wal.reader()).unwrap();
    assert_eq!(verdict.findings, [""; 0]);
    assert_eq!((verdict.frames, verdict.transactions, verdict.rows), (5, 4, 4));
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn frames_that_cannot_be_read_are_all_found() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = shop_log(directory.path()).await;
    appender.append(&[b"\x09garbage"], GroupEnd::Ends).unwrap();
    let short = image(1, Some("ann"));
    append(&mut appender, &rows(9, RowOp::Insert, 2, &short), &short, GroupEnd::Ends);
    let unknown = Section { schema: SchemaId(7), op: RowOp::Insert, rows: 1, bytes: 2 };
    let header = FrameHeader::Rows(RowsHeader { origin: origin(9), audience: Audience::All, sections: vec![unknown] });
    append(&mut appender, &header, b"xy", GroupEnd::Ends);
    appender.flush_durable().await.unwrap();
    let verdict = verify(&wal.reader()).unwrap();
    let expected = [
        "the frame at lsn 6: frame has format 9, this version reads 2",
        "the frame at lsn 7: a section of 2 rows holds 1",
        "the frame at lsn 8: the log holds no schema 7",
    ];
    assert_eq!(verdict.findings, expected);
    wal.shutdown().await.unwrap();
}

/// The log of [`shop_log`] with a frame of every kind that format 2 has brought, from LSN 6 on.
async fn log_of_format_2(directory: &Path) -> (Wal, Appender) {
    let (wal, mut appender) = shop_log(directory).await;
    let mut change = |audience, change| {
        append(&mut appender, &FrameHeader::Change { origin: origin(9), audience, change }, &[], GroupEnd::Ends);
    };
    let for_one = Audience::Sinks(vec!["local".into()]);
    change(for_one.clone(), TableChange::ReplaceBegin { table: users(), schema: SchemaId(1) });
    change(for_one.clone(), TableChange::ReplaceEnd { table: users() });
    change(Audience::All, TableChange::Gap { table: users(), reason: "it was renamed".into() });
    change(Audience::All, TableChange::LeftOut { table: users(), reason: "no answer".into() });
    let mark = |mark| FrameHeader::Mark { origin: origin(9), audience: Audience::All, mark };
    append(&mut appender, &mark(Mark::SnapshotBegun { table: users(), whole: false }), &[], GroupEnd::Ends);
    append(&mut appender, &mark(Mark::SnapshotBegun { table: users(), whole: true }), &[], GroupEnd::Ends);
    let images = [image(3, Some("cat")), image(4, None)].concat();
    let check = CheckHeader {
        origin: origin(9),
        audience: for_one,
        table: users(),
        schema: SchemaId(1),
        range: KeyRange { after: Some(vec![0, 2]), upto: None },
        left_out: vec![255],
        rows: 2,
        bytes: images.len().try_into().unwrap(),
    };
    append(&mut appender, &FrameHeader::Check(check), &images, GroupEnd::Ends);
    let undecided = |id| Section { schema: SchemaId(id), op: RowOp::Insert, rows: 1, bytes: 2 };
    let sections = vec![undecided(2), undecided(3)];
    let rows = RowsHeader { origin: origin(9), audience: Audience::All, sections };
    let bodies = [image(5, None), image(6, None)].concat();
    append(&mut appender, &FrameHeader::Rows(rows), &bodies, GroupEnd::Ends);
    let pending = SchemaRecord::Pending { seen: schema(), unknown: vec![1], before: Some(SchemaId(1)) };
    let left_out =
        SchemaRecord::LeftOut { seen: schema(), before: Some(SchemaId(1)), reason: "no answer in 2 s".into() };
    appender.put_state(&SCHEMA.of_number(2), Some(&encode(&pending).unwrap()));
    appender.put_state(&SCHEMA.of_number(3), Some(&encode(&left_out).unwrap()));
    appender.flush_durable().await.unwrap();
    (wal, appender)
}

#[tokio::test]
async fn an_inspection_shows_every_kind_of_frame_with_its_audience() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = log_of_format_2(directory.path()).await;
    let items = items(&wal, &Query { from: Some(6), ..Query::default() });
    let frames = of_kind(&items, "frame");
    let changes: Vec<_> = frames.iter().map(|frame| (&frame["audience"], &frame["change"])).collect();
    let change = |what: &str, detail: &str| json!({"what": what, "table": "shop.users", "detail": detail});
    let (all, one) = (Value::Null, json!(["local"]));
    let expected = [
        (&one, change("replace_begin", "schema 1")),
        (&one, change("replace_end", "")),
        (&all, change("gap", "it was renamed")),
        (&all, change("left_out", "no answer")),
        (&all, change("snapshot_begun", "of a part")),
        (&all, change("snapshot_begun", "of every row")),
        (&one, Value::Null),
        (&all, Value::Null),
    ];
    assert_eq!(changes, expected.iter().map(|(audience, change)| (*audience, change)).collect::<Vec<_>>());
    let check = json!({
        "table": "shop.users", "schema": 1, "rows": 2, "bytes": 8, "from_first": false, "to_last": true, "left_out": 1,
    });
    assert_eq!(frames[6]["check"], check);
    let sections: Vec<_> = frames[7]["sections"].as_array().unwrap().iter().map(|section| &section["schema"]).collect();
    assert_eq!(sections, [&json!(2), &json!(3)]);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_inspection_says_how_each_schema_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = log_of_format_2(directory.path()).await;
    let items = items(&wal, &Query::default());
    let known: Vec<_> = of_kind(&items, "schema")
        .iter()
        .map(|schema| json!([schema["state"], schema["asked"], schema["before"], schema["reason"]]))
        .collect();
    let expected = [
        json!(["known", null, null, null]),
        json!(["pending", ["name"], 1, null]),
        json!(["left_out", null, 1, "no answer in 2 s"]),
    ];
    assert_eq!(known, expected);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_check_shows_its_keys_and_rows_when_asked_for_and_rows_of_no_known_schema_are_not_decoded() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, _appender) = log_of_format_2(directory.path()).await;
    let items = items(&wal, &Query { from: Some(12), rows: true, ..Query::default() });
    let check = &of_kind(&items, "frame")[0]["check"];
    assert_eq!(check["after"], json!({"id": 2}));
    assert_eq!(check["left_out_hashes"], json!(["000000000000000000000000000000ff"]));
    let rows: Vec<_> =
        of_kind(&items, "row").iter().map(|row| json!([row["op"], row["ordinal"], row["after"]])).collect();
    let expected = [json!(["check", 0, {"id": 3, "name": "cat"}]), json!(["check", 1, {"id": 4, "name": null}])];
    assert_eq!(rows, expected);
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_log_with_undecided_schemas_is_sound_and_a_short_check_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = log_of_format_2(directory.path()).await;
    let verdict = verify(&wal.reader()).unwrap();
    assert_eq!((verdict.findings, verdict.rows), (Vec::new(), 8));
    let short = image(1, None);
    let check = CheckHeader {
        origin: origin(9),
        audience: Audience::All,
        table: users(),
        schema: SchemaId(1),
        range: KeyRange::default(),
        left_out: Vec::new(),
        rows: 2,
        bytes: short.len().try_into().unwrap(),
    };
    append(&mut appender, &FrameHeader::Check(check), &short, GroupEnd::Ends);
    appender.flush_durable().await.unwrap();
    let verdict = verify(&wal.reader()).unwrap();
    assert_eq!(verdict.findings, ["the frame at lsn 14: a section of 2 rows holds 1"]);
    wal.shutdown().await.unwrap();
}
