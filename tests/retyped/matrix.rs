//! Every type made into every other, as the key of a table and beside it: the copy equals the source after the change, and after more
//! rows. A small part of it runs with the other tests; `scripts/drill.sh` runs all of it.

use std::env;

use mysql_async::prelude::Queryable as _;

use crate::support::sandbox::{DATABASE, Sandbox};

/// A type that a key may have, and values of it.
const TYPES: &[(&str, &str)] = &[
    ("INT", "1, 5, -7"),
    ("INT UNSIGNED", "1, 5, 3000000000"),
    ("TINYINT", "1, 5, -7"),
    ("BIGINT", "1, 5, -7000000000"),
    ("BIGINT UNSIGNED", "1, 20200101, 18446744073709551615"),
    ("INT(5) ZEROFILL", "1, 5, 20210203"),
    ("DECIMAL(10,2)", "1.5, -7.25, 20.99"),
    ("DECIMAL(12,4)", "1.5, -7.2345, 20.9999"),
    ("DECIMAL(12,0)", "1, -7, 20"),
    ("DECIMAL(10,2) UNSIGNED", "1.5, 7.25, 20.99"),
    ("FLOAT", "1.5, -7.25, 20"),
    ("DOUBLE", "1.5, -7.25, 20.123456789"),
    ("DOUBLE(10,1)", "1.5, -7.2, 20.1"),
    ("VARCHAR(10)", "'a ', '05', '-7.20'"),
    ("VARCHAR(40)", "'a ', '2020-01-02', '1'"),
    ("CHAR(10)", "'a', '05', '9'"),
    ("VARCHAR(20) CHARACTER SET latin1", "'caf\u{e9}', '7', '12:30:01'"),
    ("VARCHAR(20) COLLATE utf8mb4_bin", "'a', 'A', '\u{4e00}'"),
    ("BINARY(3)", "'ab', '7', 'c\\0d'"),
    ("BINARY(5)", "'ab', '7', 'c\\0d'"),
    ("VARBINARY(8)", "'ab', 'ab\\0', '20'"),
    ("DATE", "'2020-01-02', '1997-11-30', '2038-01-01'"),
    ("DATETIME", "'2020-01-02 03:04:05', '1997-11-30 00:00:00', '2038-01-01 10:00:00'"),
    ("DATETIME(6)", "'2020-01-02 03:04:05.6', '1997-11-30 00:00:00.000001', '2037-01-01 10:00:00.9'"),
    ("TIMESTAMP", "'2020-01-02 03:04:05', '1997-11-30 00:00:00', '2037-01-01 10:00:00'"),
    ("TIMESTAMP(6)", "'2020-01-02 03:04:05.6', '1997-11-30 00:00:00.000001', '2037-01-01 10:00:00.9'"),
    ("TIME", "'01:02:03', '-10:00:00', '100:00:00'"),
    ("TIME(2)", "'01:02:03.45', '-10:00:00', '100:00:00.99'"),
    ("YEAR", "2020, 1999, 2155"),
    ("ENUM('a', '5', 'c')", "'a', '5', 'c'"),
    ("ENUM('c', '5', 'a', 'b')", "'a', '5', 'c'"),
    ("SET('a', 'b', '5')", "'a', 'a,b', '5'"),
    ("BIT(8)", "1, 5, 200"),
];

/// The statements of one table: those that make it, the one that defines its column otherwise, and what is written after it.
struct Pair {
    table: String,
    made: [String; 2],
    altered: String,
    later: [String; 3],
}

fn pair(from: usize, to: usize, in_key: bool) -> Pair {
    let ((old, values), (new, _)) = (TYPES[from], TYPES[to]);
    let table = format!("{}{from}_{to}", if in_key { "k" } else { "c" });
    let key = if in_key { "c" } else { "id" };
    let rows: Vec<_> = split(values).iter().zip(1..).map(|(value, id)| format!("({id}, {value})")).collect();
    Pair {
        made: [
            format!("CREATE TABLE {table} (id INT NOT NULL, c {old} NOT NULL, PRIMARY KEY ({key})) CHARSET utf8mb4"),
            format!("INSERT INTO {table} VALUES {}", rows.join(", ")),
        ],
        altered: format!("ALTER TABLE {table} MODIFY c {new} NOT NULL"),
        later: [
            format!("DELETE FROM {table} WHERE id = 1"),
            format!("UPDATE {table} SET id = id + 100 WHERE id = 2"),
            format!("INSERT INTO {table} VALUES (50, '1')"),
        ],
        table,
    }
}

/// The values of a list, whose texts have commas.
fn split(values: &str) -> Vec<String> {
    let mut list = vec![String::new()];
    let mut inside = false;
    for character in values.chars() {
        inside ^= character == '\'';
        if character == ',' && !inside {
            list.push(String::new());
        } else if let Some(last) = list.last_mut() {
            last.push(character);
        }
    }
    list
}

/// Which pairs a run takes: of all of them, those whose number leaves a rest of `first` in a division by `every`.
struct Part {
    every: usize,
    first: usize,
}

impl Part {
    /// The part that `REPLICATOR_RETYPES` names (`3/10`: every tenth, from the third on), or a small one.
    fn of_environment(small: usize) -> Self {
        let named = env::var("REPLICATOR_RETYPES").ok();
        let named = named.as_ref().map(|part| part.split_once('/').unwrap_or(("0", part.as_str())));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("REPLICATOR_RETYPES: {text} is no number"));
        named.map_or(Self { every: small, first: 0 }, |(first, every)| Self {
            every: number(every),
            first: number(first),
        })
    }

    fn pairs(&self) -> Vec<Pair> {
        let all = (0..TYPES.len()).flat_map(|from| (0..TYPES.len()).map(move |to| (from, to)));
        let both = all.filter(|(from, to)| from != to).flat_map(|(from, to)| [(from, to, true), (from, to, false)]);
        let chosen = both.enumerate().filter(|(number, _)| number % self.every == self.first % self.every);
        chosen.map(|(_, (from, to, in_key))| pair(from, to, in_key)).collect()
    }
}

/// How a run goes.
#[derive(Clone, Copy)]
struct Way {
    /// The session's `sql_mode`.
    strict: bool,
    /// The daemon runs meanwhile.
    live: bool,
}

/// Runs statements in one session; those that the server refuses, it refuses.
async fn write<'s>(sandbox: &Sandbox, way: Way, statements: impl IntoIterator<Item = &'s String>) -> usize {
    let mut connection = sandbox.server.connect().await;
    let mode = if way.strict { "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE" } else { "" };
    connection.query_drop(format!("USE {DATABASE}")).await.unwrap();
    connection.query_drop(format!("SET sql_mode = '{mode}', time_zone = '+05:00'")).await.unwrap();
    let mut taken = 0;
    for statement in statements {
        taken += usize::from(connection.query_drop(statement).await.is_ok());
    }
    connection.disconnect().await.unwrap();
    taken
}

async fn compare(sandbox: &Sandbox, with_clickhouse: bool) {
    let compared = sandbox.assert_mirrored().await;
    if with_clickhouse {
        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await, compared);
    }
}

async fn run(sandbox: Sandbox, pairs: &[Pair], way: Way, with_clickhouse: bool) {
    write(&sandbox, way, pairs.iter().flat_map(|pair| &pair.made)).await;
    sandbox.run_once_within(crate::support::daemon::LIMIT * 20);
    let mut daemon = way.live.then(|| sandbox.start());
    let taken = write(&sandbox, way, pairs.iter().map(|pair| &pair.altered)).await;
    assert!(taken > 0, "the server takes none of the changes");
    for round in 0..2 {
        if round == 1 {
            write(&sandbox, way, pairs.iter().flat_map(|pair| &pair.later)).await;
        }
        match &mut daemon {
            Some(daemon) => drop(sandbox.caught_up_within(crate::support::daemon::LIMIT * 20, daemon).await),
            None => sandbox.run_once_within(crate::support::daemon::LIMIT * 20),
        }
        eprintln!("matrix: {} tables, {taken} changes taken, round {round}", pairs.len());
        compare(&sandbox, with_clickhouse).await;
    }
    // Changes and rows at once, with nothing known of what came between.
    let back: Vec<_> = pairs
        .iter()
        .flat_map(|Pair { table, .. }| {
            [
                format!("ALTER TABLE {table} MODIFY c VARCHAR(60) NOT NULL"),
                format!("UPDATE {table} SET c = CONCAT(c, 'x') WHERE id > 50"),
            ]
        })
        .collect();
    write(&sandbox, way, &back).await;
    match daemon {
        Some(mut daemon) => {
            sandbox.caught_up_within(crate::support::daemon::LIMIT * 20, &mut daemon).await;
            daemon.stop();
        }
        None => sandbox.run_once_within(crate::support::daemon::LIMIT * 20),
    }
    compare(&sandbox, with_clickhouse).await;
}

/// About 40 of 2,112 tables.
const SMALL: usize = 53;

both_servers! {
    async fn types_of_every_kind_become_each_other_with_a_strict_server(kind: Kind) {
        let pairs = Part::of_environment(SMALL).pairs();
        run(Sandbox::new(kind).await, &pairs, Way { strict: true, live: false }, false).await;
    }

    // Strict, because a lenient server makes zero dates, at which ClickHouse stops a table.
    async fn types_of_every_kind_become_each_other_at_every_sink(kind: Kind) {
        let pairs = Part::of_environment(4 * SMALL).pairs();
        run(Sandbox::with_every_sink(kind).await, &pairs, Way { strict: true, live: true }, true).await;
    }

    async fn types_of_every_kind_become_each_other_with_a_lenient_server(kind: Kind) {
        let pairs = Part::of_environment(SMALL).pairs();
        run(Sandbox::new(kind).await, &pairs, Way { strict: false, live: true }, false).await;
    }
}
