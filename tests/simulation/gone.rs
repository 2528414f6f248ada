//! Tables of which the source has none.

use replicator::codec::frame::TableChange;
use replicator::source::mysql::schema::Flavour;
use replicator::table::{Ask, Cause, Event, Reach};

use super::script::Script;

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
