//! Rows and schemas under rules.

use std::sync::Arc;

use super::cut::{Kind, Piece};
use super::*;
use crate::codec::frame::RowOp;
use crate::codec::row_image::{PlainVisitor, Plan, Scratch, ValueError};
use crate::config::{HashKey, RangeEnd, RowCondition, RowTest, SourceTag, TableOptions};
use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth};
use crate::sink::sqlite::SqlitePlan;
use crate::sink::testing::{images, key, options, schema};

fn column(name: &str, ty: ColumnType) -> Column {
    Column { name: name.into(), ty, nullable: true, default: ColumnDefault::Unknown, attributes: None, collation: None }
}

fn int(name: &str) -> Column {
    column(name, ColumnType::Int { width: IntWidth::W4, unsigned: false })
}

fn text(name: &str, charset: &str) -> Column {
    column(name, ColumnType::VarChar { max_bytes: 40, charset: Charset::new(charset) })
}

fn plan(change: impl FnOnce(&mut SinkPlan, &mut TableOptions)) -> SinkPlan {
    let settings = Arc::new(SqlitePlan { path: "t.db".into() });
    let mut plan = SinkPlan::new("s", options(Mode::Mirror), SqlitePlan::BATCH, settings);
    let mut of_tables = plan.defaults.clone();
    change(&mut plan, &mut of_tables);
    plan.defaults = of_tables;
    plan
}

fn one_of(values: &[&str]) -> RowTest {
    RowTest::In(values.iter().map(|value| (*value != "~").then(|| (*value).to_owned())).collect())
}

fn range(low: Option<(&str, bool)>, high: Option<(&str, bool)>) -> RowTest {
    let end =
        |end: Option<(&str, bool)>| end.map(|(value, is_included)| RangeEnd { value: value.to_owned(), is_included });
    RowTest::Range { low: end(low), high: end(high) }
}

/// Which of these values of a column fulfil a test.
fn taken<'v>(ty: &ColumnType, test: RowTest, values: &[&'v str]) -> Vec<&'v str> {
    let table = schema(vec![int("id"), column("v", ty.clone())], key(&[0]));
    let condition = RowCondition { column: "V".into(), test };
    let plan = plan(|_, options| options.rows = vec![condition]);
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let mut scratch = RuleScratch::default();
    let is_taken = |value: &&&str| {
        let body = images(&table, &[&["1", value]]);
        let cut = rules.cut(RowOp::Insert, &body, Kind::Other, &mut scratch).unwrap();
        assert_eq!(cut.pieces.len() + usize::try_from(cut.ruled_out).unwrap(), 1);
        !cut.pieces.is_empty()
    };
    let mut is_taken = is_taken;
    values.iter().filter(|value| is_taken(value)).copied().collect()
}

#[test]
fn listed_values_are_compared_exactly_and_null_only_where_it_is_listed() {
    let latin = text("v", "latin1").ty;
    assert_eq!(taken(&latin, one_of(&["DE", "\u{e9}"]), &["DE", "de", "DE2", "~"]), ["DE"]);
    assert_eq!(taken(&latin, one_of(&["DE", "~"]), &["DE", "AT", "~"]), ["DE", "~"]);
    assert_eq!(taken(&latin, RowTest::NotIn(vec![Some("DE".into())]), &["DE", "AT", "~"]), ["AT", "~"]);
    let int = ColumnType::Int { width: IntWidth::W8, unsigned: true };
    assert_eq!(
        taken(&int, one_of(&["18446744073709551615", "0"]), &["0", "1", "18446744073709551615"]),
        ["0", "18446744073709551615"]
    );
    assert_eq!(taken(&ColumnType::Decimal { precision: 9, scale: 2 }, one_of(&["1.5"]), &["1.50", "1.51"]), ["1.50"]);
    assert_eq!(
        taken(
            &ColumnType::DateTime { fsp: 0 },
            one_of(&["2024-01-01"]),
            &["2024-01-01 00:00:00", "2024-01-01 00:00:01"]
        ),
        ["2024-01-01 00:00:00"]
    );
    let label = ColumnType::Enum { members: vec!["a".into(), "b".into()] };
    assert_eq!(taken(&label, one_of(&["b"]), &["a", "b"]), ["b"]);
    assert_eq!(taken(&ColumnType::Double, one_of(&["0"]), &["0", "-0", "0.5"]), ["0", "-0"]);
    assert_eq!(taken(&ColumnType::Binary { length: 4 }, one_of(&["ab", "0x61620000"]), &["ab", "abc"]), ["ab"]);
}

#[test]
fn ranges_are_in_the_order_of_the_type_and_null_is_in_none() {
    let int = ColumnType::Int { width: IntWidth::W2, unsigned: false };
    assert_eq!(
        taken(&int, range(Some(("-5", true)), Some(("300", false))), &["-6", "-5", "0", "299", "300", "~"]),
        ["-5", "0", "299"]
    );
    let decimal = ColumnType::Decimal { precision: 20, scale: 3 };
    assert_eq!(
        taken(&decimal, range(Some(("-10.5", false)), None), &["-10.500", "-10.499", "-11", "9999999999.999"]),
        ["-10.499", "9999999999.999"]
    );
    let time = ColumnType::Time { fsp: 3 };
    assert_eq!(
        taken(
            &time,
            range(Some(("-10:00:00", true)), Some(("100:00:00", true))),
            &["-10:00:00.001", "-09:59:59.999", "99:59:59.999", "100:00:00.001"]
        ),
        ["-09:59:59.999", "99:59:59.999"]
    );
    assert_eq!(
        taken(&ColumnType::Date, range(None, Some(("2023-12-31", true))), &["2023-12-31", "2024-01-01", "1999-05-06"]),
        ["2023-12-31", "1999-05-06"]
    );
    assert_eq!(
        taken(
            &ColumnType::Double,
            range(Some(("-0.5", false)), Some(("1e3", true))),
            &["-0.5", "-0.25", "1000", "1000.5"]
        ),
        ["-0.25", "1000"]
    );
    for charset in ["latin1", "utf8mb4"] {
        // Umlauts are after all letters of ASCII, in every character set.
        let names = text("v", charset).ty;
        assert_eq!(
            taken(&names, range(Some(("b", true)), Some(("c", false))), &["a", "b", "bz", "c", "~"]),
            ["b", "bz"],
            "{charset}"
        );
    }
    let year = ColumnType::Year;
    assert_eq!(
        taken(&year, range(Some(("1999", true)), Some(("2001", true))), &["1998", "1999", "2001", "2002"]),
        ["1999", "2001"]
    );
}

#[test]
fn a_condition_that_means_nothing_is_refused_by_name() {
    let table = schema(vec![int("id"), column("doc", ColumnType::Json)], key(&[0]));
    for (name, test, says) in [
        ("gone", one_of(&["1"]), "the table has no such column"),
        ("id", one_of(&["x"]), "\"x\" is no value of the column"),
        ("doc", one_of(&["1"]), "not compared"),
        ("doc", range(Some(("1", true)), None), "no order"),
    ] {
        let plan = plan(|_, options| options.rows = vec![RowCondition { column: name.into(), test }]);
        let refused = RowRules::of(&plan, &table).unwrap_err();
        assert!(refused.message.contains(says) && refused.message.contains("shop.t"), "{refused}");
    }
}

/// Pieces as (what is done, first row, rows, quiet).
fn pieces(pieces: &[Piece]) -> Vec<(RowOp, u32, u32, bool)> {
    pieces.iter().map(|piece| (piece.op, piece.first, piece.rows, piece.is_quiet)).collect()
}

#[test]
fn an_update_that_moves_a_row_out_is_a_delete_and_one_that_moves_it_in_an_insert() {
    let table = schema(vec![int("id"), int("v")], key(&[0]));
    let plan = plan(|_, options| {
        options.rows = vec![RowCondition { column: "v".into(), test: one_of(&["1"]) }];
    });
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let mut scratch = RuleScratch::default();
    let mut cut = |op, rows: &[&[&str]], kind| {
        let cut = rules.cut(op, &images(&table, rows), kind, &mut scratch).unwrap();
        (pieces(&cut.pieces), cut.ruled_out)
    };
    let keyed = Kind::Keyed { is_filled: false };
    let updates: [&[&str]; 10] = [
        &["1", "1"],
        &["1", "1"], // stays
        &["2", "1"],
        &["2", "1"], // stays
        &["3", "1"],
        &["3", "2"], // goes
        &["4", "2"],
        &["4", "1"], // comes
        &["5", "2"],
        &["5", "2"], // was never there
    ];
    let expected = vec![(RowOp::Update, 0, 2, false), (RowOp::Delete, 2, 1, false), (RowOp::Insert, 3, 1, false)];
    assert_eq!(cut(RowOp::Update, &updates, keyed), (expected, 1));
    let rows: [&[&str]; 3] = [&["1", "1"], &["2", "2"], &["3", "1"]];
    let apart = |op| vec![(op, 0, 1, false), (op, 2, 1, false)];
    assert_eq!(cut(RowOp::Insert, &rows, keyed), (apart(RowOp::Insert), 1));
    assert_eq!(cut(RowOp::Delete, &rows, keyed), (apart(RowOp::Delete), 1));
    // A read over what is there takes away what is left out, and one that fills a copy has nothing to take away.
    let over = vec![(RowOp::Snapshot, 0, 1, false), (RowOp::DeleteByKey, 1, 1, true), (RowOp::Snapshot, 2, 1, false)];
    assert_eq!(cut(RowOp::Snapshot, &rows, keyed), (over, 0));
    assert_eq!(cut(RowOp::Snapshot, &rows, Kind::Keyed { is_filled: true }), (apart(RowOp::Snapshot), 1));
    assert_eq!(cut(RowOp::Snapshot, &rows, Kind::Other), (apart(RowOp::Snapshot), 1));
    // Of a key alone it is not known whether its row was there.
    assert_eq!(cut(RowOp::DeleteByKey, &[&["1", "~"]], keyed), (vec![(RowOp::DeleteByKey, 0, 1, true)], 0));
}

/// Keeps every value as text.
#[derive(Default)]
struct Shown(Vec<String>);

impl PlainVisitor for Shown {
    type Error = ValueError;

    fn null(&mut self, _: usize) -> Result<(), ValueError> {
        self.0.push("~".into());
        Ok(())
    }

    fn int(&mut self, _: usize, value: i64) -> Result<(), ValueError> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn uint(&mut self, _: usize, value: u64) -> Result<(), ValueError> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn real(&mut self, _: usize, value: f64) -> Result<(), ValueError> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn text(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.0.push(String::from_utf8(value.to_vec()).unwrap());
        Ok(())
    }

    fn bytes(&mut self, _: usize, value: &[u8]) -> Result<(), ValueError> {
        self.0.push(format!("{value:?}"));
        Ok(())
    }
}

#[test]
fn a_target_is_shown_hashes_and_the_tag_and_nothing_of_what_they_hide() {
    let mut columns = vec![int("id"), text("email", "latin1"), int("number")];
    // More than one byte of null bits, before the tag and with it.
    columns.extend((0..6).map(|place| int(&format!("c{place}"))));
    let table = Arc::new(schema(columns, key(&[1, 0])));
    let key = HashKey::new(b"a key").unwrap();
    let plan = plan(|plan, options| {
        options.hash = vec!["EMAIL".into(), "number".into()];
        plan.hash_key = Some(key.clone());
        plan.source_tag = Some(SourceTag { column: "_source".into(), source: "main".into() });
    });
    let shown = shown_schema(&plan, Arc::clone(&table));
    assert_eq!(shown.columns.len(), 10);
    assert_eq!(shown.key.as_ref().unwrap().columns, [0, 2, 1], "the tag is the first column of the key");
    let rows: [&[&str]; 2] =
        [&["1", "a@b", "-7", "0", "1", "2", "3", "4", "~"], &["2", "~", "~", "~", "~", "~", "~", "~", "5"]];
    let body = images(&table, &rows);
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let cut = rules.cut(RowOp::Insert, &body, Kind::Other, &mut RuleScratch::default()).unwrap();
    assert_eq!(pieces(&cut.pieces), [(RowOp::Insert, 0, 2, false)]);
    let made = cut.made.unwrap();
    let (reader, mut scratch) = (Plan::all(&shown).unwrap(), Scratch::default());
    let mut at = 0;
    let mut read = || {
        let mut values = Shown::default();
        at += reader.read_plain(&made[at..], &mut values, &mut scratch).unwrap();
        values.0
    };
    let hash = |value: &str| String::from_utf8(key.hash(value.as_bytes()).to_vec()).unwrap();
    assert_eq!(read(), ["main.shop", "1", &hash("a@b"), &hash("-7"), "0", "1", "2", "3", "4", "~"]);
    assert_eq!(read(), ["main.shop", "2", "~", "~", "~", "~", "~", "~", "~", "5"]);
    assert_eq!(at, made.len());
}

#[test]
fn the_keys_of_rows_are_those_that_the_target_has() {
    let table = Arc::new(schema(vec![text("email", "latin1"), int("n")], key(&[0])));
    let plan = plan(|plan, options| {
        options.hash = vec!["email".into()];
        plan.hash_key = HashKey::new(b"a key");
        plan.source_tag = Some(SourceTag { column: "_source".into(), source: "main".into() });
    });
    let rows: [&[&str]; 2] = [&["a", "1"], &["b", "2"]];
    let body = images(&table, &rows);
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let made = rules.cut(RowOp::Insert, &body, Kind::Other, &mut RuleScratch::default()).unwrap().made.unwrap();
    let shown = shown_schema(&plan, Arc::clone(&table));
    let at_target = Plan::walker(&shown).unwrap().key_hashes(&shown.key.as_ref().unwrap().columns, &made).unwrap();
    let mut keys = RowKeys::of(&plan, &table).unwrap().unwrap();
    let (first, used) = keys.first(&body).unwrap();
    let (second, _) = keys.first(&body[used..]).unwrap();
    assert_eq!([first, second], at_target[..]);
    let plain = Plan::walker(&table).unwrap().key_hashes(&[0], &body).unwrap();
    let mut keys = RowKeys::plain(&table).unwrap().unwrap();
    assert_eq!((keys.first(&body).unwrap().0, used), (plain[0], keys.first(&body).unwrap().1));
    assert!(RowKeys::plain(&schema(vec![int("n")], None)).unwrap().is_none());
}

#[test]
fn a_malformed_value_is_hashed_and_stops_nothing() {
    let table = schema(vec![int("id"), text("email", "utf8mb4")], key(&[0]));
    let plan = plan(|plan, options| {
        options.hash = vec!["email".into()];
        plan.hash_key = HashKey::new(b"a key");
    });
    let rows: [&[&str]; 2] = [&["1", "xyz"], &["2", "xyw"]];
    let mut body = images(&table, &rows);
    for byte in body.iter_mut().filter(|byte| **byte == b'x') {
        *byte = 0xff;
    }
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let made = rules.cut(RowOp::Insert, &body, Kind::Other, &mut RuleScratch::default()).unwrap().made.unwrap();
    let hashes: Vec<_> = made.windows(64).filter(|hash| hash.iter().all(u8::is_ascii_hexdigit)).collect();
    assert_eq!(hashes.len(), 2);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_table_without_a_rule_goes_as_it_lies_in_the_log() {
    let table = Arc::new(schema(vec![int("id")], key(&[0])));
    let plan = plan(|_, _| {});
    assert!(RowRules::of(&plan, &table).unwrap().is_none());
    assert!(Arc::ptr_eq(&shown_schema(&plan, Arc::clone(&table)), &table));
}

#[test]
fn rows_of_hashed_numbers_cost_no_allocation_each() {
    let table = schema(vec![int("id"), int("number")], key(&[0]));
    let plan = plan(|plan, options| {
        options.hash = vec!["number".into()];
        plan.hash_key = HashKey::new(b"a key");
    });
    let rules = RowRules::of(&plan, &table).unwrap().unwrap();
    let row: &[&str] = &["1", "-7"];
    let body = images(&table, &vec![row; 1000]);
    let mut scratch = RuleScratch::default();
    let counted = allocation_counter::measure(|| {
        let cut = rules.cut(RowOp::Insert, &body, Kind::Other, &mut scratch).unwrap();
        assert_eq!(pieces(&cut.pieces), [(RowOp::Insert, 0, 1000, false)]);
    });
    assert!(counted.count_total < 20, "{}", counted.count_total);
}

#[test]
fn a_hashed_or_dropped_column_under_another_name_is_refused() {
    let old = schema(vec![int("id"), int("secret")], key(&[0]));
    let renamed = schema(vec![int("id"), int("other")], key(&[0]));
    let gone = schema(vec![int("id")], key(&[0]));
    for rule in ["hash", "drop"] {
        let plan = plan(|_, options| {
            let list = if rule == "hash" { &mut options.hash } else { &mut options.drop };
            list.push("Secret".into());
        });
        let names = [("secret".to_owned(), "other".to_owned())];
        let refused = hides_on(&plan, (&old, &renamed), Some(&names));
        // What `drop` leaves out, the lineage of columns refuses by itself.
        assert_eq!(refused.is_err(), rule == "hash", "{refused:?}");
        assert!(hides_on(&plan, (&old, &gone), Some(&[])).is_ok(), "it was dropped at the source");
        assert!(hides_on(&plan, (&old, &renamed), None).is_err(), "nobody knows what became of it");
        assert!(hides_on(&plan, (&old, &old), None).is_ok());
    }
}
