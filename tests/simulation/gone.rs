//! Tables of which the source has none any more, and tables that are not captured any more.

use replicator::codec::frame::TableChange;
use replicator::source::mysql::schema::Flavour;
use replicator::table::{Ask, Cause, Event, Reach};

use super::kinds::Kind;
use super::script::{Script, column};
use super::shape::K;

#[test]
fn a_table_that_the_sinks_were_told_of_and_that_is_gone_is_dropped_though_no_schema_of_it_was_known() {
    let mut script = Script::new(Flavour::MariaDb);
    let table = script.name.table();
    let (end, server) = (script.server.place(script.server.end()), script.server.facts().identity);
    for event in [
        Event::Met { initial: true },
        // A routine may have changed it.
        Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a routine was called")),
        Event::Missing { number: 2, end, server },
    ] {
        script.daemon.core.happened(&table, event).unwrap();
    }

    let changes = script.changes();
    assert!(matches!(&changes[..], [TableChange::Gap { .. }, TableChange::Drop { .. }]), "{changes:?}");
}

#[test]
fn a_table_that_is_excluded_before_its_definition_is_known_is_not_asked_for_and_not_met_again() {
    let mut script = Script::new(Flavour::MariaDb);
    script.write("CREATE TABLE {} (`k` INT NOT NULL PRIMARY KEY)", &[column(K, Kind::Int)]);
    script.read_to(1);
    assert_eq!(script.daemon.core.asking(), [script.name.table()]);

    let mut script = script.excluded();

    assert!(script.daemon.core.asking().is_empty());
    assert!(!script.record().is_captured());
}
