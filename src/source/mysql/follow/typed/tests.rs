//! What statements say of types, and what a condition in them lets be known.

use super::super::lineage::ColumnSteps;
use super::*;
use crate::model::{Column, ColumnDefault, TableName};
use crate::source::mysql::ddl::{self, SqlMode, Statement};

fn alter(sql: &str) -> AlterOps {
    match ddl::parse(&format!("ALTER TABLE t {sql}"), "d", SqlMode::default()) {
        Statement::AlterTable { ops, .. } => ops,
        other => panic!("{sql}: {other:?}"),
    }
}

/// `u` is a UUID, `b` a BINARY(16), `v` something else. What each of `asked` is after the statements, if called BINARY(16).
fn after(statements: &[&str], asked: &[&str]) -> Vec<Option<ColumnType>> {
    let column = |name: &str, ty| Column {
        name: name.into(),
        ty,
        nullable: true,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    let columns = vec![
        column("u", ColumnType::Uuid),
        column("b", ColumnType::Binary { length: 16 }),
        column("v", ColumnType::Double),
    ];
    let before = TableSchema { name: TableName::new("d", "t"), columns, key: None };
    let (mut typed, mut steps) = (Typed::default(), Vec::new());
    let follow =
        |steps: &[ColumnSteps]| Lineage::follow(before.columns.iter().map(|column| column.name.as_str()), steps);
    for sql in statements {
        let ops = alter(sql);
        let lineage = follow(&steps);
        typed.follow(&ops, Some(&lineage));
        if let AlterOps::Known(ops) = &ops {
            steps.push(ColumnSteps::of(ops));
        }
    }
    let lineage = follow(&steps);
    asked.iter().map(|name| typed.known(name, Some(&before), &lineage).told(16)).collect()
}

const BINARY: Option<ColumnType> = Some(ColumnType::Binary { length: 16 });
const UUID: Option<ColumnType> = Some(ColumnType::Uuid);
const INET6: Option<ColumnType> = Some(ColumnType::Inet6);

#[test]
fn a_type_is_what_the_last_statement_about_it_said() {
    for (statements, u, b) in [
        (&[][..], UUID, BINARY),
        (&["ADD x INT, ADD KEY (u)"], UUID, BINARY),
        (&["MODIFY u BINARY(16), MODIFY B UUID"], BINARY, UUID),
        (&["MODIFY u VARCHAR(36)", "MODIFY u INET6"], INET6, BINARY),
        (&["RENAME COLUMN u TO b, RENAME COLUMN b TO u"], BINARY, UUID),
        (&["CHANGE u b BINARY(16), CHANGE b u INET6"], INET6, BINARY),
        (&["DROP u, ADD u INET6"], INET6, BINARY),
        (&["DROP u", "ADD u BINARY(16)"], BINARY, BINARY),
        (&["ADD COLUMN IF NOT EXISTS u BINARY(16)", "ADD COLUMN IF NOT EXISTS b UUID"], UUID, BINARY),
        (&["RENAME COLUMN u TO x, ADD u BINARY(16)"], BINARY, BINARY),
        (&["MODIFY u BINARY(16)", "RENAME COLUMN u TO x", "RENAME COLUMN x TO u"], BINARY, BINARY),
        // Something that the binlog would call otherwise.
        (&["MODIFY u INET4"], None, BINARY),
        (&["what is this"], None, None),
    ] {
        assert_eq!(after(statements, &["u", "b"]), [u, b], "{statements:?}");
    }
}

/// What is told of `u` and `b`, of a table without a schema.
fn told_without_schema(mut typed: Typed, statements: &[&str]) -> [Option<ColumnType>; 2] {
    for sql in statements {
        typed.follow(&alter(sql), None);
    }
    let nothing = Lineage::follow([], []);
    ["u", "b"].map(|name| typed.known(name, None, &nothing).told(16))
}

#[test]
fn a_condition_counts_where_it_is_known_whether_the_column_was_there() {
    for (statements, u, b) in [
        (&["MODIFY COLUMN IF EXISTS u INET6, CHANGE COLUMN IF EXISTS b b UUID"][..], INET6, UUID),
        (&["MODIFY COLUMN IF EXISTS gone UUID", "ADD gone BINARY(16)", "RENAME COLUMN gone TO x"], UUID, BINARY),
        (&["CHANGE COLUMN IF EXISTS gone u BINARY(16)", "CHANGE IF EXISTS gone b UUID"], UUID, BINARY),
        (&["DROP u, ADD COLUMN IF NOT EXISTS u INET6"], INET6, BINARY),
        (&["DROP u", "ADD COLUMN IF NOT EXISTS u INET6", "ADD COLUMN IF NOT EXISTS u UUID"], INET6, BINARY),
    ] {
        assert_eq!(after(statements, &["u", "b"]), [u.clone(), b.clone()], "{statements:?}");
        let list = [("u".to_owned(), TypeName::Uuid), ("b".to_owned(), TypeName::Other)];
        assert_eq!(told_without_schema(Typed::created(Some(&list)), statements), [u, b], "created, {statements:?}");
    }
    let gone = ["MODIFY COLUMN IF EXISTS gone UUID", "ADD gone BINARY(16)"];
    assert_eq!(after(&gone, &["gone"]), [BINARY]);
}

#[test]
fn a_condition_tells_nothing_of_a_column_that_may_or_may_not_have_been_there() {
    for (statements, u, b) in [
        (&["ADD COLUMN IF NOT EXISTS u UUID, MODIFY COLUMN IF EXISTS b UUID"][..], None, None),
        (&["CHANGE COLUMN IF EXISTS x u UUID, ADD COLUMN IF NOT EXISTS (b INET6)"], None, None),
        (&["ADD u UUID, MODIFY b INET6", "ADD IF NOT EXISTS u INET6", "MODIFY IF EXISTS b UUID"], UUID, UUID),
        (&["DROP COLUMN IF EXISTS u, ADD COLUMN IF NOT EXISTS u UUID"], UUID, None),
        (&["MODIFY IF EXISTS u UUID", "ADD u BINARY(16)"], BINARY, None),
        (&["CHANGE x u UUID", "what is this", "ADD IF NOT EXISTS u INET6"], None, None),
    ] {
        assert_eq!(told_without_schema(Typed::default(), statements), [u, b], "{statements:?}");
    }
}

#[test]
fn a_column_of_which_nothing_was_said_is_not_known() {
    assert_eq!(after(&[], &["x", "v"]), [None, None]);
    assert_eq!(after(&["DROP u"], &["u"]), [None]);
    let typed = Typed::created(Some(&[("id".to_owned(), TypeName::Other), ("u".to_owned(), TypeName::Uuid)]));
    let nothing = Lineage::follow([], []);
    assert_eq!(typed.known("U", None, &nothing).told(16), UUID);
    assert_eq!(typed.known("id", None, &nothing).told(16), BINARY);
    assert_eq!(Typed::created(None).known("u", None, &nothing), Known::Nothing);
}

#[test]
fn a_description_of_a_later_state_is_not_allowed() {
    let text = ColumnType::Text { length_bytes: 2, charset: crate::model::Charset::new("utf8mb4") };
    let plain = ColumnType::Binary { length: 16 };
    assert!(Known::Is(ColumnType::Uuid).allows(&ColumnType::Uuid) && Known::Is(plain.clone()).allows(&plain));
    for (known, found) in [
        (Known::Is(ColumnType::Uuid), &plain),
        (Known::Is(ColumnType::Uuid), &text),
        (Known::Is(plain.clone()), &ColumnType::Uuid),
        (Known::Is(plain.clone()), &text),
        (Known::SaidOther, &ColumnType::Inet6),
        (Known::WasOther, &ColumnType::Uuid),
    ] {
        assert!(!known.allows(found), "{known:?} {found:?}");
    }
    assert!(Known::SaidOther.allows(&text) && Known::WasOther.allows(&plain));
}

#[test]
fn a_statement_touches_the_columns_that_it_names() {
    for (sql, expected) in [
        ("MODIFY U UUID", Touched::Retyped),
        ("DROP u", Touched::Moved),
        ("RENAME COLUMN u TO x", Touched::Moved),
        ("CHANGE u x UUID", Touched::Retyped),
        ("MODIFY b UUID, ADD u2 UUID AFTER u", Touched::Not),
        ("what is this", Touched::Retyped),
    ] {
        assert_eq!(touched(&alter(sql), "u"), expected, "{sql}");
    }
}

#[test]
fn a_guess_is_not_known_under_any_name_until_a_statement_gives_it_a_type() {
    let mut typed = Typed::default();
    typed.guess(vec!["u".to_owned()]);
    let mut told = |sql: &str, asked: &str| {
        let lineage = Lineage::follow(["u", "x", "b"], []);
        typed.follow(&alter(sql), Some(&lineage));
        typed.known(asked, None, &lineage)
    };
    assert_eq!(told("ADD v INT", "u"), Known::Nothing);
    assert_eq!(told("RENAME COLUMN u TO x", "x"), Known::Nothing);
    assert_eq!(told("MODIFY x UUID", "x"), Known::Is(ColumnType::Uuid));
}

#[test]
fn a_mark_is_reached_on_the_server_that_it_was_taken_of() {
    let server = |server_id| ServerIdentity::MariaDb { server_id, domain_id: 0 };
    let at = |server_id, file: &str, pos| SourcePosition {
        server: server(server_id),
        file: file.to_owned(),
        pos,
        file_created: 0,
        gtid: String::new(),
    };
    let mark = Described { server: server(1), file_number: 7, pos: 500 };
    assert!(mark.is_reached(&at(1, "log.000007", 500)) && mark.is_reached(&at(1, "log.000010", 4)));
    assert!(!mark.is_reached(&at(1, "log.000007", 499)) && !mark.is_reached(&at(1, "log.000006", 900)));
    assert!(!mark.is_reached(&at(2, "log.000010", 4)) && !mark.is_reached(&at(1, "", 900)));
}

#[test]
fn the_stated_types_of_a_table_are_stored_as_committed() {
    let types = [TypeName::Uuid, TypeName::Inet6, TypeName::Inet4, TypeName::Other];
    let columns = types.into_iter().enumerate().map(|(place, ty)| (format!("c{place}"), ty)).collect();
    let described = |server| Some(Described { server, file_number: 3, pos: 1234 });
    let mysql = ServerIdentity::MySql { server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into() };
    let mariadb = ServerIdentity::MariaDb { server_id: 70_000, domain_id: 3 };
    crate::codec::stored::fixture::check(&[
        ("nothing", Typed::default()),
        ("created", Typed { columns, all: true, ..Typed::default() }),
        ("lost", Typed { lost: true, ..Typed::default() }),
        ("guessed", Typed { guessed: vec!["u".into()], described_until: described(mariadb), ..Typed::default() }),
        ("described", Typed { described_until: described(mysql), ..Typed::default() }),
    ]);
}
