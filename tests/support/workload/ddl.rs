//! The connection that changes definitions, one table after another, with rows written between the changes.
//!
//! The other connections write to the fixed columns only, so what comes and goes here are columns beside them, and
//! this connection is the only one that knows and writes those.

use rand::RngExt;

use super::statements;
use super::tables::Table;
use super::{Outcome, Tally, Writer};

/// Types that a column may be added with: definition, a default, a value.
const TYPES: [(&str, &str, &str); 8] = [
    ("INT", "7", "-12"),
    ("BIGINT UNSIGNED", "18446744073709551615", "3"),
    ("VARCHAR(20)", "'by default'", "'caf\u{e9}'"),
    ("DECIMAL(8, 2)", "1.50", "-123456.78"),
    ("DATETIME(3)", "'2020-01-02 03:04:05.678'", "'1999-12-31 23:59:59.999'"),
    ("ENUM('p', 'q')", "'q'", "'p'"),
    ("VARBINARY(8)", "x'00ff'", "x''"),
    ("DOUBLE", "0.1", "1e300"),
];

/// Changes of type that keep every value: from, to, a value of the new type.
const RETYPES: [(&str, &str, &str); 5] = [
    ("INT", "BIGINT", "9000000000"),
    ("BIGINT", "VARCHAR(30)", "'text now'"),
    ("VARCHAR(20)", "VARCHAR(300)", "'longer than before, and more'"),
    ("DECIMAL(8, 2)", "DECIMAL(12, 4)", "-0.1234"),
    ("VARBINARY(8)", "BLOB", "x'0102030405060708090a'"),
];

/// What MariaDB has besides, and what its binlog calls the same.
const TYPES_OF_MARIADB: [(&str, &str, &str); 4] = [
    ("UUID", "'12345678-9ABC-1ef0-8234-567890abcd00'", "UUID()"),
    ("INET6", "'::ffff:1.2.3.0'", "'2001:db8::'"),
    ("INET4", "'10.0.0.0'", "'0.0.0.0'"),
    ("BINARY(16)", "x'0100'", "'bytes'"),
];

const RETYPES_OF_MARIADB: [(&str, &str, &str); 4] = [
    ("UUID", "BINARY(16)", "x'00ff'"),
    ("BINARY(16)", "INET6", "'::1:0'"),
    ("INET6", "VARCHAR(60)", "'text'"),
    ("INET4", "BINARY(4)", "x'01'"),
];

/// A column that was added and is still there.
struct Added {
    name: String,
    definition: &'static str,
    value: &'static str,
}

/// A table with what this connection has added to it.
struct Changing {
    table: Table,
    added: Vec<Added>,
}

pub(super) async fn change_definitions(mut writer: Writer, tables: Vec<Table>) -> Tally {
    let mut tables: Vec<Changing> = tables.into_iter().map(|table| Changing { table, added: Vec::new() }).collect();
    let mut names = 0_u32;
    while writer.goes_on() {
        let chosen = writer.rng.random_range(0..tables.len());
        let changing = &mut tables[chosen];
        names += 1;
        change(&mut writer, changing, names).await;
        for _ in 0..writer.rng.random_range(0..10) {
            write_rows(&mut writer, changing).await;
        }
    }
    writer.tally
}

/// One change. What a change needs (a column to drop) may be missing; then it adds a column.
async fn change(writer: &mut Writer, changing: &mut Changing, number: u32) {
    let table = changing.table.name.clone();
    let existing = (!changing.added.is_empty()).then(|| writer.rng.random_range(0..changing.added.len()));
    match (writer.rng.random_range(0..100), existing) {
        (0..15, Some(position)) => {
            let column = changing.added.remove(position).name;
            run(writer, &format!("ALTER TABLE {table} DROP COLUMN {column}")).await;
        }
        (15..30, Some(position)) => {
            let column = &mut changing.added[position];
            let new = format!("renamed_{number}");
            run(writer, &format!("ALTER TABLE {table} RENAME COLUMN {} TO {new}", column.name)).await;
            column.name = new;
        }
        (30..50, Some(position)) => {
            let column = &mut changing.added[position];
            let more = if writer.mariadb { &RETYPES_OF_MARIADB[..] } else { &[] };
            let found = RETYPES.iter().chain(more).find(|(from, _, _)| *from == column.definition);
            if let Some((_, to, value)) = found {
                run(writer, &format!("ALTER TABLE {table} MODIFY COLUMN {} {to} NULL", column.name)).await;
                (column.definition, column.value) = (to, value);
            }
        }
        (50..58, _) => run(writer, &format!("TRUNCATE TABLE {table}")).await,
        (58..66, _) => {
            run(writer, &format!("RENAME TABLE {table} TO {table}_away")).await;
            run(writer, &format!("DELETE FROM {table}_away WHERE a_tiny < 5")).await;
            run(writer, &format!("RENAME TABLE {table}_away TO {table}")).await;
        }
        (66..72, _) => {
            run(writer, &format!("DROP TABLE {table}")).await;
            let create = changing.table.create(&writer.database);
            run(writer, &create).await;
            changing.added.clear();
        }
        (72..76, _) => {
            run(writer, &format!("CREATE TABLE for_a_moment_{number} (id INT PRIMARY KEY, v TEXT)")).await;
            run(writer, &format!("INSERT INTO for_a_moment_{number} VALUES (1, 'here'), (2, NULL)")).await;
            if writer.chance(0.5) {
                run(writer, &format!("DROP TABLE for_a_moment_{number}")).await;
            }
        }
        // A change that is no change of columns.
        (76..80, _) => run(writer, &format!("ALTER TABLE {table} COMMENT = 'number {number}'")).await,
        _ => {
            let more = if writer.mariadb { &TYPES_OF_MARIADB[..] } else { &[] };
            let chosen = writer.rng.random_range(0..TYPES.len() + more.len());
            let (definition, default, value) = *TYPES.get(chosen).unwrap_or_else(|| &more[chosen - TYPES.len()]);
            let null = ["NULL".to_owned(), format!("NULL DEFAULT {default}"), format!("NOT NULL DEFAULT {default}")];
            let null = &null[writer.rng.random_range(0..null.len())];
            let place = ["", " FIRST", " AFTER a_int"][writer.rng.random_range(0..3)];
            let name = format!("added_{number}");
            run(writer, &format!("ALTER TABLE {table} ADD COLUMN {name} {definition} {null}{place}")).await;
            changing.added.push(Added { name, definition, value });
        }
    }
}

/// Runs a definition change until it is done, or the server is taken away for good.
///
/// Waiting for other connections' locks may end in a timeout or as a deadlock's victim, so a refusal is tried again.
/// When the connection was lost, the change may have been made all the same; then a refusal says so.
async fn run(writer: &mut Writer, statement: &str) {
    let mut perhaps_done = false;
    for _ in 0..100 {
        match writer.run(statement).await {
            Outcome::Done => return,
            Outcome::Refused if perhaps_done => return,
            Outcome::Refused => {}
            Outcome::Lost if !writer.goes_on() => return,
            Outcome::Lost => perhaps_done = true,
        }
    }
    panic!("refused a hundred times: {statement}");
}

/// One statement on the table, often on an added column.
async fn write_rows(writer: &mut Writer, changing: &Changing) {
    let statement = if !changing.added.is_empty() && writer.chance(0.6) {
        let column = &changing.added[writer.rng.random_range(0..changing.added.len())];
        let number = writer.rng.random_range(0..super::tables::KEYS);
        let condition = changing.table.has_key(number, &mut writer.rng);
        format!(
            "UPDATE {} SET {} = {}, {} WHERE {condition}",
            changing.table.name,
            column.name,
            column.value,
            statements::assignment(&mut writer.rng)
        )
    } else {
        statements::statement(std::slice::from_ref(&changing.table), &mut writer.rng)
    };
    writer.run_unit(&[statement]).await;
}
