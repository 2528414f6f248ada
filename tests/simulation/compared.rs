//! A definition that changes without a statement in the binlog, and without a difference in what table maps say.

use replicator::model::Lacks;
use replicator::source::mysql::schema::Flavour;

use super::clock::Time;
use super::kinds::Kind;
use super::metadata::Metadata;
use super::script::{Script, column};
use super::shape::{B, K, V};

const CREATE: &str = "CREATE TABLE {} (`k` INT NOT NULL PRIMARY KEY, `v` INT, `b` INT)";
const MINUTE: u64 = 60_000;

/// The daemon at so many minutes after its connect, and whether it asked how all tables are defined.
fn at(script: &mut Script, minutes: u64) -> bool {
    script.daemon.set_time(Time { now: minutes * MINUTE, wall: 1_000_000_000 });
    script.daemon.look().unwrap();
    script.is_asked()
}

#[test]
fn a_definition_that_changed_past_the_binlog_is_found_within_ten_minutes_and_doubted_at_its_place() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        for lacks in [Lacks::MINIMAL, Lacks::NO_LOG] {
            let mut script = Script::with(flavour, Metadata::Always(lacks));
            let columns = [column(K, Kind::Int), column(V, Kind::Int), column(B, Kind::Int)];
            script.write(CREATE, &columns);
            script.read_to(script.server.end());
            script.answer();
            assert_eq!(script.schemas(), [["k", "v", "b"]], "{flavour:?}");
            assert!(at(&mut script, 0), "{flavour:?}: a server is asked where it is read for the first time");
            script.answer();
            assert!(!at(&mut script, 9), "{flavour:?}");

            let [k, v, b] = columns;
            script.write("CREATE VIEW x.v AS SELECT 1", &[k, b, v]);
            script.write_others();
            assert!(at(&mut script, 10), "{flavour:?}");
            script.answer();
            script.answer();
            assert!(script.record().read.is_none(), "{flavour:?}: the stream has not come to the answer's place");
            script.read_to(script.server.end());
            script.daemon.look().unwrap();
            let read = script.record().read.unwrap_or_else(|| panic!("{flavour:?}: it is not in doubt"));
            assert!(read.is_doubt && read.why.contains("no statement that changed it"), "{read:?}");
            assert_eq!(script.schemas(), [["k", "v", "b"], ["k", "b", "v"]], "{flavour:?}");
            assert!(!at(&mut script, 19), "{flavour:?}");
        }
    }
}

#[test]
fn nobody_asks_while_table_maps_have_the_names() {
    let mut script = Script::new(Flavour::MySql);
    script.write(CREATE, &[column(K, Kind::Int), column(V, Kind::Int), column(B, Kind::Int)]);
    script.read_to(script.server.end());
    script.answer();
    assert!((0..30).all(|minutes| !at(&mut script, minutes)));
}
