//! What the delivery loop relies on: the cursor stands and falls with the rows, and nothing strange is written to.

use rusqlite::Connection;
use wal::{Lsn, Options, Wal};

use crate::codec::catalog::{Catalog, SchemaRecord};
use crate::codec::frame::RowOp::{Delete, Insert, Snapshot};
use crate::codec::frame::{Frame, TableChange};
use crate::codec::stored;
use crate::codec::version::Epoch;
use crate::config::{Deletion, Mode, TableRule};
use crate::error::ErrorClass;
use crate::model::{RowCounts, SchemaId, TableName};
use crate::sink::sqlite::SqliteSink;
use crate::sink::sqlite::testing::*;
use crate::sink::{HandOver, Schemas, Settled, Sink, TargetState};

#[test]
fn what_was_not_committed_is_as_if_it_never_was_rows_tables_and_cursor_alike() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"]]);
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE name = 't'"), [""; 0], "a reader saw an open round");
    assert_eq!(rig.open().unwrap(), TargetState::Fresh);
    assert_eq!(rig.read("SELECT name FROM sqlite_schema WHERE name = 't'"), [""; 0]);

    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"]]);
    rig.commit();
    let wide = rig.alter(t, schema(vec![int("id"), text("name"), int("more")], key(&[0])), &[]);
    rig.rows(wide, Insert, &[&["2", "b", "5"]]);
    assert_eq!(rig.open().unwrap(), TargetState::At { log: LOG, epoch: Epoch::FIRST, applied: Lsn::new(4) });
    assert_eq!(rig.read("SELECT * FROM t"), ["1 'a'"]);
    // The old shape is what the reopened sink goes on with.
    rig.rows(t, Delete, &[&["1", "a"]]);
    assert_eq!(rig.table("t"), [""; 0]);
}

#[test]
fn an_empty_round_moves_the_cursor() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.create(schema(vec![int("id")], key(&[0])));
    rig.commit();
    now(rig.target.as_mut().unwrap().commit(Lsn::new(50))).unwrap();
    assert_eq!(rig.open().unwrap(), TargetState::At { log: LOG, epoch: Epoch::FIRST, applied: Lsn::new(50) });
}

#[test]
fn a_reopened_sink_knows_its_tables() {
    for options in [options(Mode::Mirror), soft(), options(Mode::History)] {
        let mut rig = Rig::new(options);
        let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
        rig.rows(t, Insert, &[&["1", "a"]]);
        rig.commit();
        rig.open().unwrap();
        rig.create(schema(vec![int("id"), text("name")], key(&[0])));
        rig.rows(t, Insert, &[&["2", "b"]]);
        rig.commit();
        assert_eq!(rig.read("SELECT count(*) FROM t"), ["2"]);
    }
}

#[test]
fn a_table_that_the_sink_did_not_make_is_never_written_to() {
    for other in ["CREATE TABLE T (id INTEGER PRIMARY KEY, name TEXT)", "CREATE VIEW t AS SELECT 1 AS id"] {
        let mut rig = Rig::new(options(Mode::Mirror));
        Connection::open(rig.path()).unwrap().execute_batch(other).unwrap();
        let t = rig.schema(schema(vec![int("id"), text("name")], key(&[0])));
        let table = rig.name(t);
        rig.change(&TableChange::Schema { table, from: None, to: t, renamed: Vec::new(), lost: false });
        let reason = rig.stop().unwrap();
        assert!(reason.contains("that this sink did not make for shop.t, which is not written into it"), "{reason}");
        rig.rows(t, Insert, &[&["1", "a"]]);
        assert_eq!(rig.commit(), RowCounts { taken: 1, skipped: 1, ..RowCounts::default() });
        assert!(!rig.read("SELECT * FROM t").contains(&"1 'a'".to_owned()));
        // The way back, walked.
        rig.open().unwrap();
        assert_eq!(rig.stop().as_ref(), Some(&reason), "it is written down");
        let kind = if other.contains("VIEW") { "VIEW" } else { "TABLE" };
        Connection::open(rig.path()).unwrap().execute_batch(&format!("DROP {kind} t")).unwrap();
        rig.change(&TableChange::ReplaceBegin { table: TableName::new("shop", "t"), schema: t });
        rig.rows(t, Snapshot, &[&["1", "a"]]);
        assert_eq!((rig.stop(), rig.table("t")), (None, vec!["1 'a'".to_owned()]));
        rig.open().unwrap();
        assert_eq!(rig.stop(), None);
    }
}

#[test]
fn the_second_of_two_source_tables_of_one_target_name_is_stopped() {
    let mut rig = Rig::new(options(Mode::Mirror));
    rig.create(schema(vec![int("id")], key(&[0])));
    let mut other = schema(vec![int("id")], key(&[0]));
    other.name = TableName::new("archive", "T");
    let other = rig.schema(other);
    rig.rows(other, Insert, &[&["1"]]);
    let reason = rig.stop_of(&TableName::new("archive", "T")).unwrap();
    assert!(
        reason.starts_with("archive.T would be written to \"T\", which holds shop.t (set the sink's `table_name`"),
        "{reason}"
    );
    rig.commit();
    assert_eq!((rig.stop(), rig.read("SELECT * FROM t")), (None, Vec::new()));
}

#[test]
fn a_configuration_that_no_longer_fits_a_table_stops_it() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name"), text("x")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a", "b"]]);
    rig.commit();
    let plan = rig.plan.clone();
    let rule = |change: &dyn Fn(&mut TableRule)| {
        let mut rule = TableRule::new(TableName::new("shop", "t"));
        change(&mut rule);
        vec![rule]
    };
    for (rules, table_name, says) in [
        (
            rule(&|rule| rule.mode = Some(Mode::History)),
            "{table}",
            "`mode: mirror`, and the configuration now says `history`",
        ),
        (
            rule(&|rule| rule.deletion = Some(Deletion::Soft)),
            "{table}",
            "`deletion: hard`, and the configuration now says `soft, is_deleted`",
        ),
        (rule(&|rule| rule.drop = Some(vec!["x".into()])), "{table}", "`drop: `, and the configuration now says `x`"),
        (
            rule(&|rule| rule.rename = Some(vec![("x".into(), "y".into())])),
            "{table}",
            "`rename: []`, and the configuration now says `[[\"x\",\"y\"]]`",
        ),
        (Vec::new(), "copy_{table}", "`table_name: {table}`, and the configuration now says `copy_{table}`"),
    ] {
        rig.plan.rules = rules;
        rig.plan.table_name = table_name.into();
        rig.open().unwrap();
        let reason = rig.stop().unwrap();
        assert!(reason.contains(says), "{reason}");
        assert!(reason.contains("it is read again, in place of what is there"), "{reason}");
        assert!(rig.released.iter().any(|(table, why)| table.table == "t" && why.contains(says)), "{:?}", rig.released);
        rig.rows(t, Insert, &[&["2", "a", "b"]]);
        assert_eq!(rig.read("SELECT * FROM t"), ["1 'a' 'b'"]);
        // The way back, walked.
        rig.change(&TableChange::ReplaceBegin { table: TableName::new("shop", "t"), schema: t });
        assert_eq!(rig.stop(), None);
        rig.rows(t, Insert, &[&["3", "a", "b"]]);
        rig.plan.rules = plan.rules.clone();
        rig.plan.table_name = plan.table_name.clone();
        rig.target = None;
        Connection::open(rig.path()).unwrap().execute_batch("DELETE FROM _replicator_stopped_tables").unwrap();
    }
    rig.open().unwrap();
    assert_eq!(rig.stop(), None);
}

#[test]
fn the_way_out_of_a_changed_configuration_works_as_it_says() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"]]);
    rig.commit();
    rig.plan.defaults.mode = Mode::History;
    rig.open().unwrap();
    assert!(rig.stop().is_some());
    rig.change(&TableChange::ReplaceBegin { table: TableName::new("shop", "t"), schema: t });
    rig.rows(t, Insert, &[&["1", "a"]]);
    rig.replaced(t);
    rig.commit();
    assert_eq!(rig.read("SELECT _op, after_id FROM t ORDER BY 1"), ["'insert' 1"]);
}

#[test]
fn a_table_that_somebody_altered_or_dropped_is_stopped_and_made_again_by_a_replace() {
    for (sql, says) in [
        ("ALTER TABLE t DROP COLUMN name", "it has no column \"name\""),
        ("DROP TABLE t", "the table \"t\" of shop.t is gone from the file"),
    ] {
        let mut rig = Rig::new(options(Mode::Mirror));
        let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
        rig.commit();
        Connection::open(rig.path()).unwrap().execute_batch(sql).unwrap();
        rig.open().unwrap();
        let reason = rig.stop().unwrap();
        assert!(reason.contains(says), "{reason}");
        rig.change(&TableChange::ReplaceBegin { table: TableName::new("shop", "t"), schema: t });
        rig.rows(t, Snapshot, &[&["1", "a"]]);
        rig.replaced(t);
        assert_eq!(rig.table("t"), ["1 'a'"]);
    }
}

#[test]
fn a_lock_of_another_writer_is_retried_and_a_reader_hinders_nothing() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id"), text("name")], key(&[0])));
    rig.rows(t, Insert, &[&["1", "a"]]);
    rig.commit();
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    rig.rows(t, Insert, &[&["2", "b"]]);
    rig.commit();
    assert_eq!(query(&other, "SELECT id FROM t"), ["1"], "a reader's view moved under it");
    other.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    rig.target.as_ref().unwrap().connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let failure = rig.try_rows(t, Insert, &[&["3", "c"]]).unwrap_err();
    assert_eq!(failure.class, ErrorClass::Retry);
    assert!(failure.message.contains("replica.db"), "{}", failure.message);
    other.execute_batch("ROLLBACK").unwrap();
    rig.rows(t, Insert, &[&["3", "c"]]);
    assert_eq!(rig.table("t"), ["1 'a'", "2 'b'", "3 'c'"]);
}

#[test]
fn two_sinks_share_a_file_without_touching_each_others_tables() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("id")], key(&[0])));
    rig.rows(t, Insert, &[&["1"]]);
    rig.commit();
    rig.plan.name = "second".into();
    assert_eq!(rig.open().unwrap(), TargetState::Fresh);
    rig.rows(t, Insert, &[&["2"]]);
    assert!(rig.stop().unwrap().contains("that this sink did not make"));
    rig.open().unwrap();
    rig.plan.table_name = "second_{table}".into();
    rig.open().unwrap();
    rig.rows(t, Insert, &[&["2"]]);
    rig.commit();
    assert_eq!(rig.read("SELECT t.id, s.id FROM t, second_t AS s"), ["1 2"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_transaction_much_larger_than_the_cache_is_written_in_bounded_memory() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let blob = column("b", crate::model::ColumnType::Blob { length_bytes: 4 });
    let t = rig.create(schema(vec![int("id"), blob], key(&[0])));
    let half_megabyte = "x".repeat(1 << 19);
    for id in 0..512 {
        rig.rows(t, Insert, &[&[&id.to_string(), &half_megabyte]]);
    }
    rig.commit();
    assert_eq!(rig.read("SELECT count(*), sum(length(b)) FROM t"), ["512 268435456"]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 100 * 1024, "256 MiB were written with a peak of {kib} KiB");
}

#[tokio::test]
async fn the_sink_goes_through_its_life_behind_the_trait() {
    let rig = Rig::new(options(Mode::Mirror));
    let (wal, appender) = Wal::open(&rig.path().with_file_name("wal"), Options::new(64 << 20)).unwrap();
    let table = schema(vec![int("id"), text("name")], key(&[0]));
    let record = stored::encode(&SchemaRecord::Known(table.clone())).unwrap();
    wal.put_state(vec![(stored::SCHEMA.of_number(1), Some(record))]).await.unwrap();
    let mut catalog = Catalog::new(wal.reader());
    let payload = rows_frame(&[(SchemaId(1), Insert, 2, images(&table, &[&["1", "a"], &["2", "b"]]))]);

    let mut sink = SqliteSink::new(rig.plan.clone()).unwrap();
    assert_eq!(sink.hand_over(), HandOver::TargetTransaction);
    let frame = Frame::decode(&payload).unwrap();
    let write = |sink: &mut SqliteSink, catalog: &mut Catalog| sink.write(place(1), &frame, &mut Schemas::new(catalog));
    assert_eq!(write(&mut sink, &mut catalog).unwrap_err().class, ErrorClass::Fatal, "written before it was opened");
    assert_eq!(sink.open(wal.id()).await.unwrap(), TargetState::Fresh);
    sink.prepare(Lsn::new(1), SchemaId(1), &mut Schemas::new(&mut catalog)).await.unwrap();
    write(&mut sink, &mut catalog).unwrap();
    sink.rollback().await;
    assert_eq!(sink.take_counts(), [], "counts of a round that was taken back");
    assert_eq!(sink.open(wal.id()).await.unwrap(), TargetState::Fresh);
    sink.prepare(Lsn::new(1), SchemaId(1), &mut Schemas::new(&mut catalog)).await.unwrap();
    write(&mut sink, &mut catalog).unwrap();
    sink.spill().await.unwrap();
    assert_eq!(sink.pending_bytes(), 0);
    let truncate = TableChange::Truncate { table: table.name.clone() };
    sink.change(place(2), &origin(), &truncate, &mut Schemas::new(&mut catalog)).await.unwrap();
    assert!(!sink.is_prepared(SchemaId(1)));
    sink.prepare(Lsn::new(3), SchemaId(1), &mut Schemas::new(&mut catalog)).await.unwrap();
    write(&mut sink, &mut catalog).unwrap();
    assert_eq!(sink.take_counts(), [], "counts of an open round");
    sink.store(Lsn::new(3)).await.unwrap();
    assert_eq!(sink.settle().await.unwrap(), Settled::both(Lsn::new(3)));
    sink.close().await.unwrap();
    let counts = RowCounts { taken: 4, acknowledged: 4, ..RowCounts::default() };
    assert_eq!(sink.take_counts(), [(table.name.clone(), counts)]);
    assert_eq!(sink.take_counts(), []);
    let at_3 = TargetState::At { log: wal.id(), epoch: Epoch::FIRST, applied: Lsn::new(3) };
    assert_eq!(sink.open(wal.id()).await.unwrap(), at_3);
    assert_eq!(rig.read("SELECT * FROM t"), ["1 'a'", "2 'b'"]);
    drop(appender);
    wal.shutdown().await.unwrap();
}
