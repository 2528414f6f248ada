//! Rows without a key, found by scans and by a lookup: the same multiset, whatever is done to the connection in between.

use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;

use crate::codec::frame::RowOp;
use crate::config::{Mode, TableOptions, ValuePolicy, ZeroDates};
use crate::model::{ColumnType, RowCounts, TableSchema};
use crate::sink::sqlite::bind::Scratch;
use crate::sink::sqlite::keyless::Keyless;
use crate::sink::sqlite::layout::{Layout, Sqlite};
use crate::sink::sqlite::lookup::forget;
use crate::sink::sqlite::target::rules;
use crate::sink::sqlite::testing::*;

/// A row in text; `~` is NULL.
type Row = [&'static str; 4];

fn table() -> TableSchema {
    let columns = vec![
        int("a"),
        text("b"),
        column("c", ColumnType::Double),
        column("d", ColumnType::VarBinary { max_bytes: 20 }),
    ];
    schema(columns, None)
}

/// One table in memory, and how it is written.
struct Bench {
    connection: Connection,
    schema: TableSchema,
    keyless: Keyless,
    scratch: Scratch,
    counts: RowCounts,
}

impl Bench {
    fn new(options: &TableOptions) -> Self {
        Self::of(table(), options)
    }

    fn of(schema: TableSchema, options: &TableOptions) -> Self {
        let layout = Layout::new(&Sqlite, &schema, options, "t".into()).unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&layout.create_statement("t", "s")).unwrap();
        let rules = Arc::new(rules(&schema, &layout, ValuePolicy::new(ZeroDates::Keep)));
        let keyless = Keyless::new(&schema, &layout, "rowid", &rules).unwrap();
        Self { connection, schema, keyless, scratch: Scratch::default(), counts: RowCounts::default() }
    }

    fn write<R: AsRef<[&'static str]>>(&mut self, op: RowOp, rows: &[R]) {
        let rows: Vec<_> = rows.iter().map(AsRef::as_ref).collect();
        self.write_rows(op, &rows);
    }

    fn write_rows(&mut self, op: RowOp, rows: &[&[&str]]) {
        let body = images(&self.schema, rows);
        let counts = self.keyless.apply(&self.connection, op, &body, &mut self.scratch).unwrap();
        assert!(counts.balance(), "{counts:?}");
        self.counts.add(counts);
    }

    fn sql(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = query(&self.connection, "SELECT * FROM t");
        rows.sort();
        rows
    }

    fn has_lookup(&self) -> bool {
        query(&self.connection, "SELECT count(*) FROM temp.sqlite_schema WHERE type = 'table' AND name LIKE '%rows%'")
            != ["0"]
    }
}

/// Few values, so that rows are often equal; -0 and 0 are one, text and bytes are not.
fn row() -> impl Strategy<Value = Row> {
    let one_of = |values: &'static [&'static str]| prop::sample::select(values);
    let (a, b) = (one_of(&["~", "1", "2"]), one_of(&["~", "", "1"]));
    (a, b, one_of(&["~", "0", "-0", "0.1", "1"]), one_of(&["~", "", "1"])).prop_map(|(a, b, c, d)| [a, b, c, d])
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Row>),
    Update(Vec<(Row, Row)>),
    Delete(Vec<Row>),
    Savepoint,
    Rollback,
    Truncate,
    /// Another connection would do this; here it is a definition.
    Define,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = || prop::collection::vec(row(), 1..4);
    prop_oneof![
        6 => rows().prop_map(Step::Insert),
        6 => prop::collection::vec((row(), row()), 1..4).prop_map(Step::Update),
        5 => rows().prop_map(Step::Delete),
        2 => Just(Step::Savepoint),
        2 => Just(Step::Rollback),
        1 => Just(Step::Truncate),
        1 => Just(Step::Define),
        1 => Just(Step::Forget),
    ]
}

/// What SQLite shows of a row.
fn shown([a, b, c, d]: Row) -> String {
    let or_null = |value: &str, shown: String| if value == "~" { "NULL".to_owned() } else { shown };
    let float = if c == "~" { 0.0 } else { c.parse::<f64>().unwrap() + 0.0 };
    let hex: Vec<_> = d.bytes().map(|byte| format!("{byte:02x}")).collect();
    [
        or_null(a, a.into()),
        or_null(b, format!("'{b}'")),
        or_null(c, format!("{float:?}r")),
        or_null(d, format!("x'{}'", hex.concat())),
    ]
    .join(" ")
}

/// Live rows, softly deleted rows, and changes that found none.
#[derive(Clone, Default)]
struct Model {
    live: Vec<String>,
    gone: Vec<String>,
    unmatched: u64,
}

impl Model {
    fn take(&mut self, row: Row) -> bool {
        let found = self.live.iter().position(|live| *live == shown(row));
        self.unmatched += u64::from(found.is_none());
        found.map(|place| self.live.swap_remove(place)).is_some()
    }
}

fn run(steps: &[Step], soft_deletion: bool, by_lookup: bool) {
    let mut bench = Bench::new(&if soft_deletion { soft() } else { options(Mode::Mirror) });
    let mut model = Model::default();
    let mut saved: Option<Model> = None;
    bench.sql("BEGIN");
    for step in steps {
        bench.keyless.force(by_lookup);
        match step {
            Step::Insert(rows) => {
                bench.write(RowOp::Insert, rows);
                model.live.extend(rows.iter().map(|row| shown(*row)));
            }
            Step::Update(pairs) => {
                bench.write(RowOp::Update, &pairs.iter().flat_map(|(a, b)| [*a, *b]).collect::<Vec<_>>());
                for (before, after) in pairs {
                    model.take(*before);
                    model.live.push(shown(*after));
                }
            }
            Step::Delete(rows) => {
                bench.write(RowOp::Delete, rows);
                for row in rows {
                    if model.take(*row) && soft_deletion {
                        model.gone.push(shown(*row));
                    }
                }
            }
            Step::Savepoint => {
                bench.sql("SAVEPOINT section");
                saved = Some(model.clone());
            }
            Step::Rollback => {
                if let Some(before) = saved.take() {
                    bench.sql("ROLLBACK TO section");
                    model = Model { unmatched: model.unmatched, ..before };
                }
            }
            Step::Truncate if soft_deletion => {
                bench.sql("UPDATE t SET is_deleted = 1 WHERE is_deleted = 0");
                model.gone.append(&mut model.live);
            }
            Step::Truncate => {
                bench.sql("DELETE FROM t");
                model.live.clear();
            }
            Step::Define => bench.sql("CREATE TABLE other (x); DROP TABLE other; INSERT INTO t (a) VALUES (1)"),
            Step::Forget => {
                forget(&bench.connection, "t").unwrap();
                bench.sql("INSERT INTO t (a) VALUES (1)");
            }
        }
        if matches!(step, Step::Define | Step::Forget) {
            model.live.push("1 NULL NULL NULL".into());
        }
    }
    let mark = |rows: &[String], mark: &str| -> Vec<String> {
        rows.iter().map(|row| if soft_deletion { format!("{row} {mark}") } else { row.clone() }).collect()
    };
    let mut expected = [mark(&model.live, "0"), mark(&model.gone, "1")].concat();
    expected.sort();
    assert_eq!(bench.rows(), expected);
    assert_eq!(bench.counts.unmatched, model.unmatched);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_table_without_a_key_is_the_sources_multiset_after_any_changes_and_rollbacks(
        steps in prop::collection::vec(step(), 1..40),
        soft_deletion in any::<bool>(),
    ) {
        for by_lookup in [false, true] {
            run(&steps, soft_deletion, by_lookup);
        }
    }
}

/// Steps of SQLite's machine that the statements of the lookup have taken.
fn steps(connection: &Connection, sql: &str) -> u64 {
    let statement = connection.prepare_cached(sql).unwrap();
    u64::from(statement.reset_status(rusqlite::StatementStatus::VmStep).cast_unsigned())
}

/// Updates every row of a table, then deletes it; says how many steps were spent on scans, and on finding rows in the lookup.
fn steps_to_change_all(count: usize, distinct: bool) -> (u64, u64) {
    const SECTION: usize = 500;
    let mut bench = Bench::new(&options(Mode::Mirror));
    bench.sql("BEGIN");
    let numbers: Vec<_> = (0..count).map(|n| if distinct { n.to_string() } else { "7".to_owned() }).collect();
    let before: Vec<[&str; 4]> = numbers.iter().map(|n| [n.as_str(), "x", "~", "~"]).collect();
    let after: Vec<[&str; 4]> = numbers.iter().map(|n| [n.as_str(), "y", "~", "~"]).collect();
    let (mut scans, mut finds, mut last) = (0, 0, 0);
    let mut spent = |bench: &Bench| {
        let now = bench.keyless.spent();
        // It begins at zero again when a lookup is made.
        scans += now.checked_sub(last).unwrap_or(now);
        last = now;
        let columns = "t.\"a\", t.\"b\", t.\"c\", t.\"d\"";
        finds += steps(
            &bench.connection,
            &format!(
                "SELECT r.number FROM temp._replicator_rows_1 AS r CROSS JOIN main.\"t\" AS t ON t.rowid = r.number
                 WHERE r.hash = ?5 AND ({columns}) IS (?1, ?2, ?3, ?4) LIMIT 1"
            ),
        );
    };
    for rows in before.chunks(SECTION) {
        bench.write_rows(RowOp::Insert, &rows.iter().map(<[&str; 4]>::as_slice).collect::<Vec<_>>());
    }
    for (before, after) in before.chunks(SECTION).zip(after.chunks(SECTION)) {
        let pairs: Vec<_> = before.iter().zip(after).flat_map(|(a, b)| [a.as_slice(), b.as_slice()]).collect();
        bench.write_rows(RowOp::Update, &pairs);
        if bench.has_lookup() {
            spent(&bench);
        }
    }
    for rows in after.chunks(SECTION) {
        bench.write_rows(RowOp::Delete, &rows.iter().map(<[&str; 4]>::as_slice).collect::<Vec<_>>());
        if bench.has_lookup() {
            spent(&bench);
        }
    }
    assert_eq!((bench.counts.unmatched, bench.rows().len()), (0, 0));
    assert!(bench.has_lookup());
    (scans, finds)
}

#[test]
fn changing_every_row_takes_a_number_of_steps_in_proportion_to_the_rows() {
    for distinct in [true, false] {
        let (less, more) = (steps_to_change_all(4_000, distinct), steps_to_change_all(16_000, distinct));
        // Found by scans alone, the rows of the large table would take 600 million steps.
        assert!(more.1 < 32 * 2 * 16_000, "{less:?} {more:?}");
        assert!(more.1 < less.1 * 5, "{less:?} {more:?}");
        assert!(more.0 < 8 << 20, "{less:?} {more:?}");
    }
}

#[test]
fn a_lookup_is_of_as_many_columns_as_the_source_allows() {
    let columns: Vec<_> = (0..1017).map(|place| int(&format!("column_{place}"))).collect();
    let mut bench = Bench::of(schema(columns, None), &options(Mode::Mirror));
    let (ones, twos) = (["1"; 1017], ["2"; 1017]);
    bench.write_rows(RowOp::Insert, &[&ones, &ones]);
    bench.keyless.force(true);
    bench.write_rows(RowOp::Update, &[&ones, &twos]);
    bench.write_rows(RowOp::Delete, &[&ones]);
    assert!(bench.has_lookup());
    assert_eq!(bench.counts.unmatched, 0);
    assert_eq!(query(&bench.connection, "SELECT count(*), sum(column_1016) FROM t"), ["1 2"]);
}

#[test]
fn few_changes_make_no_lookup_and_neither_does_a_table_that_triggers_change() {
    let mut bench = Bench::new(&options(Mode::Mirror));
    let rows: Vec<Row> = vec![["1", "x", "~", "~"]; 3];
    bench.write(RowOp::Insert, &rows);
    bench.write(RowOp::Delete, &rows[..1]);
    assert!(!bench.has_lookup());
    bench.sql("CREATE TABLE log (x)");
    bench.sql("CREATE TRIGGER again AFTER INSERT ON log BEGIN INSERT INTO \"T\" VALUES (new.x, 'x', NULL, NULL); END");
    bench.keyless.force(true);
    bench.write(RowOp::Delete, &rows[..1]);
    assert!(!bench.has_lookup());
    bench.sql("DROP TRIGGER again");
    bench.keyless.force(true);
    bench.write(RowOp::Delete, &rows[..1]);
    assert!(bench.has_lookup());
    assert_eq!(bench.rows(), [""; 0]);
}

#[test]
fn a_lookup_goes_where_another_connection_has_written_and_where_rows_only_come_in() {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("a"), text("b")], None));
    rig.commit();
    let number = |n: usize| n.to_string();
    let names: Vec<_> = (0..3_000).map(number).collect();
    let rows: Vec<Vec<&str>> = names.iter().map(|n| vec![n.as_str(), "x"]).collect();
    let all: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    let lookups = |rig: &Rig| {
        query(
            &rig.target.as_ref().unwrap().connection,
            "SELECT count(*) FROM temp.sqlite_schema WHERE type = 'table' AND name LIKE '%rows%'",
        )
    };
    rig.rows(t, RowOp::Insert, &all);
    // From the last row on, each scan is as long as it can be.
    let mut last: Vec<_> = all.iter().rev().copied().take(2_000).collect();
    rig.rows(t, RowOp::Delete, &last);
    assert_eq!(lookups(&rig), ["1"]);
    rig.commit();
    // Kept from round to round.
    rig.rows(t, RowOp::Delete, &all[..1]);
    assert_eq!(lookups(&rig), ["1"]);
    rig.commit();
    Connection::open(rig.path()).unwrap().execute_batch("INSERT INTO t VALUES (5000, 'x')").unwrap();
    rig.rows(t, RowOp::Delete, &[&["5000", "x"]]);
    assert_eq!((lookups(&rig), rig.commit().unmatched), (vec!["0".to_owned()], 0));
    rig.rows(t, RowOp::Insert, &last);
    last.rotate_left(1);
    rig.rows(t, RowOp::Delete, &last);
    assert_eq!(lookups(&rig), ["1"]);
    for _ in 0..23 {
        rig.rows(t, RowOp::Insert, &all);
    }
    assert_eq!((lookups(&rig), rig.commit().unmatched), (vec!["0".to_owned()], 0));
    assert_eq!(rig.read("SELECT count(*) FROM t"), [(999 + 23 * 3_000).to_string()]);
}
