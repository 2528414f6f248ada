//! Files that another version wrote.

use rusqlite::Connection;
use wal::{LogId, Lsn};

use crate::codec::frame::RowOp::Insert;
use crate::codec::version::Epoch;
use crate::config::Mode;
use crate::error::ErrorClass;
use crate::model::{CheckStatus, TableName};
use crate::sink::checking::Against;
use crate::sink::claim::Opener;
use crate::sink::sqlite::SqlitePlan;
use crate::sink::sqlite::preflight::preflight;
use crate::sink::sqlite::target::Target;
use crate::sink::sqlite::testing::*;
use crate::sink::{TakeOver, TargetState};

/// The sink's own tables as version 1 made them.
const FORMAT_1: &str = r#"
    DROP TABLE IF EXISTS "_replicator_cursor";
    CREATE TABLE "_replicator_cursor" (
      "sink" TEXT NOT NULL PRIMARY KEY, "format" INTEGER NOT NULL, "log_id" TEXT NOT NULL, "lsn" INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS "_replicator_tables" (
      "sink" TEXT NOT NULL, "source_database" TEXT NOT NULL, "source_table" TEXT NOT NULL, "target" TEXT NOT NULL,
      "mode" TEXT NOT NULL, "options" TEXT NOT NULL, "source_schema" TEXT NOT NULL,
      PRIMARY KEY ("sink", "source_database", "source_table")
    ) STRICT, WITHOUT ROWID;
"#;

const CURSOR_1: &str = "INSERT INTO _replicator_cursor VALUES ('local', 1, '0000000000000000000000000000004d', 9);";

/// A rig over a file of format 1, not yet opened.
fn format_1(sql: &str) -> Rig {
    let mut rig = Rig::new(options(Mode::History));
    rig.target = None;
    let path = &rig.plan.settings::<SqlitePlan>().unwrap().path;
    Connection::open(path).unwrap().execute_batch(&[FORMAT_1, sql].concat()).unwrap();
    rig
}

#[test]
fn a_target_of_format_1_is_refused_by_name_and_not_changed() {
    let mut rig = format_1(CURSOR_1);
    let before = rig.read("SELECT name, sql FROM sqlite_schema ORDER BY name");
    let failure = rig.open().unwrap_err();
    assert_eq!(failure.class, ErrorClass::Fatal);
    let says = "the target of sink \"local\" was written in format 1, this version reads and writes format 4";
    assert_eq!(failure.message, says);
    assert_eq!(rig.read("SELECT name, sql FROM sqlite_schema ORDER BY name"), before);
    let against = Against { log: None, tables: &[], reads_all: false };
    let found = preflight(&rig.plan, against).unwrap().items.pop().unwrap();
    assert_eq!((found.status, found.detail.as_str()), (CheckStatus::Fail, says));
    assert_eq!(found.mend, failure.hint);
    rig.plan.name = "another".into();
    assert_eq!(rig.open().unwrap_err().message, says, "a sink that shares the file");
}

#[test]
fn a_target_that_was_moved_away_as_the_hint_says_is_copied_again() {
    let mut rig = format_1(CURSOR_1);
    let hint = rig.open().unwrap_err().hint.unwrap();
    assert!(hint.contains("move the database file away with its -wal and -shm files"), "{hint}");
    for name in ["replica.db", "replica.db-wal", "replica.db-shm"] {
        let path = rig.path().with_file_name(name);
        if path.exists() {
            std::fs::rename(&path, path.with_file_name(format!("old-{name}"))).unwrap();
        }
    }
    assert!(hint.contains("`replicator sink reset NAME`"), "{hint}");
    // What a reset comes to for a target that is not there any more.
    assert_eq!(rig.open_for(LogId::new(78)).unwrap(), TargetState::Fresh);
    let t = rig.create(schema(vec![int("id")], key(&[0])));
    rig.rows(t, Insert, &[&["1"]]);
    rig.commit();
    let state = TargetState::At { log: LogId::new(78), epoch: Epoch::FIRST, applied: Lsn::new(2) };
    assert_eq!(rig.open_for(LogId::new(78)).unwrap(), state);
    assert_eq!(rig.read("SELECT after_id FROM t"), ["1"]);
}

#[test]
fn a_file_of_format_1_that_was_never_written_to_is_taken() {
    let mut rig = format_1("");
    assert_eq!(rig.open().unwrap(), TargetState::Fresh);
    rig.commit();
    let state = TargetState::At { log: LOG, epoch: Epoch::FIRST, applied: Lsn::new(0) };
    assert_eq!(rig.open().unwrap(), state);
}

#[test]
fn a_log_that_takes_a_target_over_writes_newer_versions_than_are_there() {
    let mut rig = Rig::new(options(Mode::History));
    let t = rig.create(schema(vec![int("id")], key(&[0])));
    rig.rows(t, Insert, &[&["1"], &["2"]]);
    rig.commit();
    let other = LogId::new(78);
    assert!(matches!(rig.open_for(other).unwrap(), TargetState::At { log: LOG, epoch: Epoch::FIRST, .. }));
    rig.restart_log();
    rig.rows(t, Insert, &[&["3"]]);
    rig.commit();
    let second = Epoch::FIRST.next().unwrap();
    assert_eq!(rig.open_for(other).unwrap(), TargetState::At { log: other, epoch: second, applied: Lsn::new(1) });
    let lines = rig.read("SELECT after_id, _lsn, _ordinal, _version >> 56 FROM t ORDER BY _version");
    assert_eq!(lines, ["1 2 0 1", "2 2 1 1", "3 1 0 2"]);
}

#[test]
fn a_changelog_of_a_build_that_wrote_no_reasons_is_stopped_and_not_changed() {
    let mut rig = Rig::new(options(Mode::History));
    rig.create(schema(vec![int("id")], key(&[0])));
    rig.commit();
    rig.target = None;
    Connection::open(rig.path()).unwrap().execute_batch("ALTER TABLE t DROP COLUMN _reason").unwrap();

    rig.open().unwrap();

    let reason = rig.stop().unwrap();
    assert!(reason.contains("the changelog \"t\"") && reason.contains("no column \"_reason\""), "{reason}");
    let columns = rig.read("SELECT name FROM pragma_table_info('t')");
    assert!(!columns.contains(&"'_reason'".to_owned()), "{columns:?}");
}

#[test]
fn a_target_is_taken_over_under_the_next_epoch_whatever_its_cursor_says() {
    let log = LogId::new(78);
    let cases = [
        ("as it is", "SELECT 1"),
        ("a cursor that cannot be read", "UPDATE _replicator_cursor SET log_id = 'mine'"),
        ("a cursor that is gone", "DELETE FROM _replicator_cursor"),
        ("a table of cursors that is gone", "DROP TABLE _replicator_cursor"),
    ];
    for (name, change) in cases {
        let mut rig = Rig::new(options(Mode::History));
        let t = rig.create(schema(vec![int("id")], key(&[0])));
        rig.rows(t, Insert, &[&["1"]]);
        rig.commit();
        rig.target = None;
        let connection = Connection::open(rig.path()).unwrap();
        let stop = "INSERT INTO _replicator_stopped_tables VALUES ('local', 'shop', 't', 90, 'why', 0, '{}')";
        connection.execute_batch(&format!("{stop}; {change}")).unwrap();

        let (target, state) =
            Target::take_over(&rig.path(), &rig.plan, rig.taking(log, 7), &mut Opener::new()).unwrap();

        let second = Epoch::FIRST.next().unwrap();
        let at = TargetState::At { log, epoch: second, applied: Lsn::new(7) };
        assert_eq!((state, target.epoch), (at, second), "{name}");
        assert_eq!(target.followed.stops.get(&TableName::new("shop", "t")).unwrap().since, Lsn::ZERO, "{name}");
        drop(target);
        assert_eq!(rig.open_for(log).unwrap(), at, "{name}");
        assert_eq!(rig.read("SELECT count(*) FROM t"), ["1"], "{name}");
        let (_, again) = Target::take_over(&rig.path(), &rig.plan, rig.taking(log, 9), &mut Opener::new()).unwrap();
        assert!(matches!(again, TargetState::At { epoch, .. } if epoch.number() == 3), "{name}");
        // A start that was cut off after it.
        let taking = TakeOver { is_again: true, ..rig.taking(log, 12) };
        let (_, again) = Target::take_over(&rig.path(), &rig.plan, taking, &mut Opener::new()).unwrap();
        assert_eq!(again, TargetState::At { log, epoch: Epoch::new(3).unwrap(), applied: Lsn::new(12) }, "{name}");
    }
}
