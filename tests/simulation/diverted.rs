//! Rows that wait for the copy of their table, and a definition that is asked for meanwhile.

use replicator::ingest::core::Diverting;
use replicator::source::mysql::schema::Flavour;
use replicator::source::mysql::snapshot::handoff::SnapshotMark;

use super::clock::Time;
use super::kinds::Kind;
use super::script::{Script, column};
use super::shape::{K, Keyed, Shape};

#[test]
fn rows_do_not_wait_again_before_the_spool_of_an_earlier_wait_that_has_just_ended_is_cleared() {
    let mut script = Script::new(Flavour::MariaDb);
    let table = script.name.table();
    // Which key its rows have is asked for, and not answered in time.
    let shape = Shape::new(&[column(K, Kind::Text)], Keyed::Prefix(K), true);
    script.insert(shape);
    script.read_to(1);
    script.changes();
    let begun = SnapshotMark::Begun { table: table.clone(), number: 1, at_once: true };
    let at = script.server.place(1);
    let core = &mut script.daemon.core;
    assert!(core.mark(&begun).unwrap());
    // A copy says which, for the rows that come after it.
    assert!(core.begin_whole(&shape.described(script.name), 1, &at).unwrap());
    assert!(matches!(core.divert(&table, 1).unwrap(), Diverting::Begun(_)));
    let mut later = Time::BEGIN;
    later.pass(3_000);
    script.daemon.set_time(later);

    let core = &mut script.daemon.core;
    assert_eq!(core.decide_beside().unwrap().len(), 1);
    assert_eq!(core.divert(&table, 1).unwrap(), Diverting::Busy);
    assert!(core.has_spooling() && !core.is_diverted(&table), "the earlier wait has ended");
    drop(core.take_spooling());
    assert!(matches!(core.divert(&table, 1).unwrap(), Diverting::Begun(_)));
}
