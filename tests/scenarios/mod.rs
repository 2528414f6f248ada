//! What is asked of every sink, in tests that know no sink: each scenario is one function, and every sink has it.
//!
//! A new sink brings two things and one line:
//!
//! - a [`Copied`](crate::support::copies::Copied): how its tables are read, and what becomes of the source's values there;
//! - a [`Target`](target::Target) in a module of its own: how the sink is configured, how its server starts if it has one, how somebody
//!   changes the target by hand, how the target goes away and comes back, and what a mirror cannot hold;
//! - its line in `sinks!`, below. With it the sink has every scenario.
//!
//! A scenario compares whole contents, and asks a target what it can do by the constants of its `Target`. Where it cannot do
//! something, the scenario asserts what is promised in its place: the table stops by name and the others go on. No scenario is left out.
//! What is particular to one sink is tested beside it (`tests/clickhouse/`, `tests/removed_file.rs`).

/// Has each scenario at every sink. One line for each: the name in its tests, its `Target`, and its place, `first` or `second`, which
/// says which source it has where a scenario runs once per sink. Give a new sink either.
macro_rules! sinks {
    ($servers:ident $scenario:ident) => {
        sink_tests!($servers $scenario first sqlite Sqlite);
        sink_tests!($servers $scenario second clickhouse ClickHouse);
    };
}

/// The tests of one scenario at one sink.
macro_rules! sink_tests {
    (mysql_first $scenario:ident first $sink:ident $target:ident) => { sink_tests!(@ $scenario $sink $target on_mysql MySql); };
    (mysql_first $scenario:ident second $sink:ident $target:ident) => { sink_tests!(@ $scenario $sink $target on_mariadb MariaDb); };
    (mariadb_first $scenario:ident first $sink:ident $target:ident) => { sink_tests!(@ $scenario $sink $target on_mariadb MariaDb); };
    (mariadb_first $scenario:ident second $sink:ident $target:ident) => { sink_tests!(@ $scenario $sink $target on_mysql MySql); };
    (both_servers $scenario:ident $place:ident $sink:ident $target:ident) => {
        sink_tests!(@ $scenario $sink $target on_mysql MySql on_mariadb MariaDb);
    };
    (other_in_drill $scenario:ident first $sink:ident $target:ident) => {
        sink_tests!(@ $scenario $sink $target on_mysql MySql #[ignore = "make drill"] on_mariadb MariaDb);
    };
    (other_in_drill $scenario:ident second $sink:ident $target:ident) => {
        sink_tests!(@ $scenario $sink $target #[ignore = "make drill"] on_mysql MySql on_mariadb MariaDb);
    };
    (@ $scenario:ident $sink:ident $target:ident $($(#[$attribute:meta])* $test:ident $kind:ident)+) => {
        mod $sink {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    Box::pin(super::$scenario::<$crate::scenarios::$sink::$target>($crate::support::server::Kind::$kind)).await;
                }
            )+
        }
    };
}

/// Makes of each function the tests of one scenario: `NAME::SINK::on_mysql` or `NAME::SINK::on_mariadb`.
///
/// Its first word says from which source: `mysql_first` and `mariadb_first` have the sinks in turn at one server and the other, so
/// that the scenario runs once per sink and at both servers; `both_servers` runs it at every sink from every server; `other_in_drill` has the
/// sinks in turn, and the other server in the drill.
macro_rules! every_sink {
    ($servers:ident: $($(#[$attribute:meta])* async fn $name:ident<$target:ident: Target>($kind:ident: Kind) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "the body is written for the module around it")]
            use super::*;

            async fn scenario<$target: $crate::scenarios::target::Target>($kind: $crate::support::server::Kind) $body

            sinks!($servers scenario);
        }
    )+};
}

mod batches; // batches that end by the limits of a table
mod clickhouse; // the ClickHouse sink as the scenarios see it
mod dead; // rows that are refused become dead letters
mod defaults; // what older rows hold of a column that is added
mod definitions; // definitions that change while the daemon runs, and while nobody reads
mod faults; // the target is gone, dies in a commit, or refuses one table
mod history; // every change of a row is one line
mod keyless; // tables without a key
mod keys; // what identifies a row changes
mod kills; // the same after signal 9 at any moment
mod mirror; // the copy equals the source, whatever happens on the way
mod replaces; // a table is read again in whole, beside the copy that readers see
mod sqlite; // the SQLite sink as the scenarios see it
mod target; // what a sink has to bring, and the world around it
mod types; // every type of both servers, with the values at its edges
