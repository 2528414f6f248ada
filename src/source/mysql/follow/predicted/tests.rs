use super::super::known::Current;
use super::*;
use crate::model::{Attributes, BinlogPlace, Charset, Gtid, IntWidth, SchemaId};
use crate::source::mysql::ddl::{self, SqlMode, Statement};

const MYSQL: Dialect = Dialect { flavour: Flavour::MySql, version: (9, 7, 0) };
const MARIADB: Dialect = Dialect { flavour: Flavour::MariaDb, version: (10, 11, 0) };

fn int() -> ColumnType {
    ColumnType::Int { width: IntWidth::W4, unsigned: false }
}

fn big() -> ColumnType {
    ColumnType::Int { width: IntWidth::W8, unsigned: false }
}

fn described(name: &str, ty: ColumnType, nullable: bool) -> Column {
    let attributes = Some(Attributes::default());
    Column { name: name.into(), ty, nullable, default: ColumnDefault::Unknown, attributes, collation: None }
}

fn table(columns: &[Column], key: &[u16]) -> TableSchema {
    let key = (!key.is_empty()).then(|| Key { kind: KeyKind::Primary, columns: key.to_vec() });
    TableSchema { name: TableName::new("d", "t"), columns: columns.to_vec(), key }
}

fn id() -> Column {
    described("id", int(), false)
}

fn a() -> Column {
    described("a", int(), true)
}

fn b() -> Column {
    described("b", int(), true)
}

/// A table with the primary key `id`, and the columns `a` and `b`.
fn known() -> Followed {
    of(table(&[id(), a(), b()], &[0]))
}

fn of(schema: TableSchema) -> Followed {
    Followed::stored(Some(Current::new(SchemaId(1), schema).unwrap()), super::super::known::Since::default())
}

fn alter(followed: &Followed, what: &str, dialect: Dialect) -> Followed {
    let Statement::AlterTable { ops, .. } = ddl::parse(&format!("ALTER TABLE t {what}"), "d", SqlMode::default())
    else {
        panic!("{what}")
    };
    let gtid = Gtid::MariaDb { domain: 0, server: 1, sequence: 1 };
    followed.altered(&ops, &BinlogPlace { file_number: 1, pos: 4, gtid }, dialect).followed
}

fn alter_all(followed: &Followed, statements: &[&str]) -> Followed {
    statements.iter().fold(followed.clone(), |followed, what| alter(&followed, what, MYSQL))
}

fn create(sql: &str, dialect: Dialect) -> Followed {
    let Statement::CreateTable(create) = ddl::parse(sql, "d", SqlMode::default()) else { panic!("{sql}") };
    let mut followed = Followed::default();
    followed.created(create.columns.as_deref(), &create.definitions, dialect);
    followed.predict_created(&create.table, create.stated.as_ref(), &create.definitions, dialect);
    followed
}

#[test]
fn a_description_of_what_the_statements_have_made_holds_at_once() {
    let c = || described("c", int(), true);
    let text = ColumnType::VarChar { max_bytes: 40, charset: Charset::new("utf8mb4") };
    let unsigned = Attributes { unsigned: true, ..Attributes::default() };
    for (statements, found) in [
        (&["ADD c INT"][..], table(&[id(), a(), b(), c()], &[0])),
        (&["ADD c INT FIRST"], table(&[c(), id(), a(), b()], &[1])),
        (&["ADD c INT AFTER a"], table(&[id(), a(), c(), b()], &[0])),
        (&["ADD c INT AFTER id, ADD e INT AFTER c"], table(&[id(), c(), described("e", int(), true), a(), b()], &[0])),
        (&["ADD (c INT, e INT)"], table(&[id(), a(), b(), c(), described("e", int(), true)], &[0])),
        (&["ADD COLUMN IF NOT EXISTS A TEXT CHARACTER SET latin1"], table(&[id(), a(), b()], &[0])),
        (&["DROP a"], table(&[id(), b()], &[0])),
        (&["DROP a, ADD a BIGINT"], table(&[id(), b(), described("a", big(), true)], &[0])),
        (&["RENAME COLUMN a TO c"], table(&[id(), c(), b()], &[0])),
        (&["RENAME COLUMN a TO b, RENAME COLUMN b TO a"], table(&[id(), b(), a()], &[0])),
        (&["CHANGE id no BIGINT NOT NULL AFTER b"], table(&[a(), b(), described("no", big(), false)], &[2])),
        (&["MODIFY a INT NOT NULL FIRST"], table(&[described("a", int(), false), id(), b()], &[1])),
        (
            &["MODIFY a INT UNSIGNED"],
            table(
                &[
                    id(),
                    Column {
                        attributes: Some(unsigned),
                        ..described("a", ColumnType::Int { width: IntWidth::W4, unsigned: true }, true)
                    },
                    b(),
                ],
                &[0],
            ),
        ),
        // What the statement does not say of it, the description may.
        (
            &["ADD c VARCHAR(10) CHARACTER SET utf8mb4"],
            table(&[id(), a(), b(), Column { collation: Some(255), ..described("c", text, true) }], &[0]),
        ),
        (&["ADD INDEX (a)", "COMMENT = 'x'", "ADD CHECK (a > 0)"], table(&[id(), a(), b()], &[0])),
        (&["ADD c INT", "DROP b", "CHANGE c d BIGINT"], table(&[id(), a(), described("d", big(), true)], &[0])),
    ] {
        let followed = alter_all(&known(), statements);
        let adopted = followed.confirmed(&found).unwrap_or_else(|| panic!("{statements:?}"));
        assert!(adopted.same_image(&found), "{statements:?}");
        assert_eq!(adopted.key, found.key, "{statements:?}");
    }
}

#[test]
fn a_description_of_a_later_state_never_does() {
    let c = || described("c", int(), true);
    let with = |attributes: Attributes| Column { attributes: Some(attributes), ..a() };
    for (what, later) in [
        // ADD c, and then another statement.
        ("ADD c INT", table(&[id(), a(), b(), c(), described("d", int(), true)], &[0])),
        ("ADD c INT", table(&[id(), a(), b()], &[0])),
        ("ADD c INT", table(&[id(), a(), b(), described("c", big(), true)], &[0])),
        ("ADD c INT", table(&[id(), a(), b(), described("c", int(), false)], &[0])),
        ("ADD c INT", table(&[id(), a(), c(), b()], &[0])),
        ("ADD c INT", table(&[id(), a(), b(), described("C", int(), true)], &[0])),
        ("ADD c INT", table(&[id(), a(), b(), c()], &[1])),
        ("ADD c INT", table(&[id(), a(), b(), c()], &[0, 3])),
        ("ADD c INT", table(&[id(), a(), b(), c()], &[])),
        (
            "ADD c INT",
            table(&[id(), with(Attributes { auto_increment: true, ..Attributes::default() }), b(), c()], &[0]),
        ),
        (
            "ADD c INT",
            table(&[id(), with(Attributes { generated: Some("b".into()), ..Attributes::default() }), b(), c()], &[0]),
        ),
        ("ADD c INT", TableSchema { name: TableName::new("d", "u"), ..table(&[id(), a(), b(), c()], &[0]) }),
        ("RENAME COLUMN a TO c", table(&[id(), a(), b()], &[0])),
    ] {
        assert_eq!(alter(&known(), what, MYSQL).confirmed(&later), None, "{what}: {later:?}");
    }
    // A later statement has given the text that was there another collation.
    let text = ColumnType::VarChar { max_bytes: 40, charset: Charset::new("utf8mb4") };
    let column = |collation| Column { collation: Some(collation), ..described("c", text.clone(), true) };
    let followed = alter(&of(table(&[id(), column(255)], &[0])), "ADD a INT", MYSQL);
    assert_eq!(followed.confirmed(&table(&[id(), column(46), a()], &[0])), None);
    assert!(followed.confirmed(&table(&[id(), column(255), a()], &[0])).is_some());
}

#[test]
fn what_the_text_does_not_decide_is_not_predicted() {
    for statements in [
        &["ADD c VARCHAR(10)"][..],
        &["ADD c TEXT"],
        &["ADD c TIMESTAMP"],
        &["ADD c SERIAL"],
        &["ADD c INT GENERATED ALWAYS AS (a)"],
        &["ADD c INT UNIQUE"],
        &["ADD c INT AFTER e, RENAME COLUMN a TO e"],
        &["ADD c INT AFTER nowhere"],
        &["ADD UNIQUE (a)"],
        &["DROP INDEX a"],
        &["DROP PRIMARY KEY"],
        &["DROP id"],
        &["DROP nowhere"],
        &["MODIFY id BIGINT"],
        &["MODIFY id BIGINT NULL"],
        &["MODIFY nowhere INT"],
        &["CONVERT TO CHARACTER SET latin1"],
        &["ENGINE = InnoDB"],
        &["ADD SYSTEM VERSIONING"],
        &["ADD PERIOD FOR p (a, b)"],
        &["TRUNCATE PARTITION p"],
        &["FROBNICATE"],
        // Nor what comes after it.
        &["ADD c TEXT", "DROP c"],
        &["FROBNICATE", "ADD c INT"],
    ] {
        assert_eq!(alter_all(&known(), statements).predicted, None, "{statements:?}");
    }
}

#[test]
fn which_unique_key_identifies_rows_is_not_guessed() {
    let keyless = of(table(&[a(), b()], &[]));
    for what in ["DROP a", "MODIFY a INT NOT NULL"] {
        assert_eq!(alter(&keyless, what, MYSQL).predicted, None, "{what}");
    }
    assert!(alter(&keyless, "ADD c INT", MYSQL).predicted.is_some());
}

#[test]
fn an_expression_is_not_predicted_under_other_names() {
    let generated = Attributes { generated: Some("`a` + 1".into()), ..Attributes::default() };
    let followed = of(table(&[id(), a(), Column { attributes: Some(generated), ..b() }], &[0]));
    assert_eq!(alter(&followed, "RENAME COLUMN a TO c", MYSQL).predicted, None);
    assert!(alter(&followed, "ADD c INT", MYSQL).predicted.is_some());
}

#[test]
fn nothing_is_predicted_of_a_schema_that_is_not_exact() {
    let mut guessed = known();
    guessed.typed.guess(vec!["a".into()]);
    assert_eq!(alter(&guessed, "ADD c INT", MARIADB).predicted, None);
    let mut unsettled = known();
    unsettled.unsettle();
    assert_eq!(alter(&unsettled, "ADD c INT", MYSQL).predicted, None);
    let mut completed = alter(&known(), "ADD c INT", MYSQL);
    completed.complete(known().current.unwrap(), None, Vec::new());
    assert_eq!(completed.predicted, None, "the schema before it was another one");
    let reopened = Followed::stored(known().current, alter(&known(), "ADD c INT", MYSQL).since);
    assert_eq!(alter(&reopened, "ADD d INT", MYSQL).predicted, None);
}

#[test]
fn a_prediction_goes_with_its_table_to_another_name() {
    let mut followed = alter(&known(), "ADD c INT", MYSQL);
    let schema = TableSchema { name: TableName::new("d", "u"), ..table(&[id(), a(), b()], &[0]) };
    followed.is_now(Some(Current::new(SchemaId(2), schema).unwrap()));
    let found = table(&[id(), a(), b(), described("c", int(), true)], &[0]);
    assert_eq!(followed.confirmed(&found), None);
    let found = TableSchema { name: TableName::new("d", "u"), ..found };
    assert_eq!(followed.confirmed(&found), Some(found));
}

#[test]
fn a_table_is_predicted_from_the_list_that_makes_it() {
    let found = table(&[described("a", big(), false), b()], &[0]);
    for sql in [
        "CREATE TABLE t (a BIGINT PRIMARY KEY, b INT)",
        "CREATE TABLE t (a BIGINT, b INT DEFAULT 5, KEY (b), CHECK (b > 0), PRIMARY KEY USING BTREE (a)) ENGINE=InnoDB",
    ] {
        assert_eq!(create(sql, MYSQL).confirmed(&found), Some(found.clone()), "{sql}");
    }
    let followed = create("CREATE TABLE t (a BIGINT, b INT, PRIMARY KEY (b, a))", MYSQL);
    let found = table(&[described("a", big(), false), described("b", int(), false)], &[1, 0]);
    assert_eq!(followed.confirmed(&found), Some(found));
    for sql in [
        "CREATE TABLE t (a BIGINT, b INT)",
        "CREATE TABLE t (a BIGINT NOT NULL, b INT, UNIQUE (a))",
        "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)",
        "CREATE TABLE t (a BIGINT PRIMARY KEY, b DATE, c DATE, PERIOD FOR p (b, c))",
        "CREATE TABLE t (a BIGINT PRIMARY KEY) SELECT 1 AS b",
        "CREATE TABLE t LIKE u",
    ] {
        assert_eq!(create(sql, MYSQL).predicted, None, "{sql}");
    }
    let json = "CREATE TABLE t (a BIGINT PRIMARY KEY, b JSON)";
    assert!(create(json, MYSQL).predicted.is_some());
    assert_eq!(create(json, MARIADB).predicted, None);
}
