//! Columns that are added: the rows that were there before hold the default, as the statement gave it.

use super::target::World;

/// What an added column may hold in the rows that were there before.
const ADDED: [&str; 25] = [
    "INT NULL DEFAULT 7",
    "INT NOT NULL DEFAULT -7",
    "INT NOT NULL",
    "INT NULL",
    "BIGINT UNSIGNED NULL DEFAULT 18446744073709551615",
    "VARCHAR(20) NULL DEFAULT 'by \\\\ default'",
    "VARCHAR(20) NOT NULL",
    "DECIMAL(8, 2) NULL DEFAULT 1.50",
    "DECIMAL(65, 30) NULL DEFAULT 99999999999999999999999999999999999.000000000000000000000000000001",
    "DATETIME(3) NULL DEFAULT '2020-01-02 03:04:05.678'",
    "ENUM('p', 'q') NOT NULL DEFAULT 'q'",
    "ENUM('p', 'q') NOT NULL",
    "SET('p', 'q') NULL DEFAULT 'p,q'",
    "VARBINARY(8) NULL DEFAULT x'00ff'",
    "BINARY(4) NOT NULL DEFAULT 'a'",
    "DOUBLE NULL DEFAULT 0.1",
    "FLOAT NULL DEFAULT 0.1",
    "BIT(9) NULL DEFAULT b'101010101'",
    "DATE NULL DEFAULT '2024-02-29'",
    "TIME(2) NULL DEFAULT '-12:34:56.78'",
    "YEAR NULL DEFAULT 2001",
    "TIMESTAMP NULL DEFAULT '2020-06-07 12:00:00'",
    "CHAR(3) NULL DEFAULT 'x'",
    "TEXT NULL",
    "BOOLEAN NOT NULL DEFAULT TRUE",
];

/// Tables whose older rows must get what each statement said, though later ones said something else.
const TABLES: [&str; 7] = [
    "CREATE TABLE later_default (id INT PRIMARY KEY)",
    "CREATE TABLE dropped_and_added (id INT PRIMARY KEY)",
    "CREATE TABLE same_again (id INT PRIMARY KEY, b INT)",
    "CREATE TABLE same_at_once (id INT PRIMARY KEY, b INT)",
    "CREATE TABLE renamed (id INT PRIMARY KEY)",
    "CREATE TABLE swapped (id INT PRIMARY KEY, a INT, b INT)",
    "CREATE TABLE bytes (id INT PRIMARY KEY)",
];

const LATER: [&str; 24] = [
    "ALTER TABLE later_default ADD c INT NOT NULL DEFAULT 5",
    "ALTER TABLE later_default ALTER c SET DEFAULT 9",
    "INSERT INTO later_default (id) VALUES (3)",
    "ALTER TABLE dropped_and_added ADD c INT DEFAULT 5, ADD d INT DEFAULT 6",
    "UPDATE dropped_and_added SET c = 50, d = 60 WHERE id = 2",
    "ALTER TABLE dropped_and_added DROP c",
    "ALTER TABLE dropped_and_added ADD c INT DEFAULT 7",
    "INSERT INTO dropped_and_added (id) VALUES (3)",
    "ALTER TABLE same_again DROP b",
    "ALTER TABLE same_again ADD b INT DEFAULT 7",
    "INSERT INTO same_again (id) VALUES (3)",
    "ALTER TABLE same_at_once DROP b, ADD b INT DEFAULT 7",
    "INSERT INTO same_at_once (id) VALUES (3)",
    "ALTER TABLE renamed ADD c VARCHAR(9) NOT NULL DEFAULT 'it''s'",
    "ALTER TABLE renamed CHANGE c d VARCHAR(9) NOT NULL DEFAULT 'other'",
    "ALTER TABLE renamed ADD c VARCHAR(9) NOT NULL DEFAULT 'new'",
    "RENAME TABLE renamed TO renamed_too",
    "INSERT INTO renamed_too (id) VALUES (3)",
    "ALTER TABLE swapped RENAME COLUMN a TO b, RENAME COLUMN b TO a",
    "INSERT INTO swapped VALUES (3, 5, 6)",
    "ALTER TABLE bytes ADD c VARBINARY(8) NOT NULL DEFAULT x'00ff3f27', ADD d BINARY(4) DEFAULT x'6100'",
    "ALTER TABLE bytes ADD e VARCHAR(9) CHARACTER SET latin1 DEFAULT 'caf\u{e9}', ADD f FLOAT DEFAULT 0.1",
    "ALTER TABLE bytes ALTER c SET DEFAULT x'01'",
    "INSERT INTO bytes (id) VALUES (3)",
];

every_sink! { mysql_first:
    async fn older_rows_hold_the_default_of_an_added_column<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        let keys: &[(&str, &str)] =
            if T::HOLDS_KEYLESS { &[("keyed", "PRIMARY KEY"), ("loose", "")] } else { &[("keyed", "PRIMARY KEY")] };
        for number in 0..ADDED.len() {
            for (table, key) in keys {
                world.sql(format!("CREATE TABLE {table}_{number} (id INT {key}); INSERT INTO {table}_{number} VALUES (1), (2)")).await;
            }
            if T::HOLDS_KEYLESS {
                world.sql(format!("INSERT INTO loose_{number} VALUES (1)")).await;
            }
        }
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        for (number, definition) in ADDED.iter().enumerate() {
            for (table, _) in keys {
                world.sql(format!("ALTER TABLE {table}_{number} ADD COLUMN added {definition}")).await;
            }
        }
        world.caught_up(&mut daemon).await;
        daemon.stop();

        let rows = if T::HOLDS_KEYLESS { 5 } else { 2 };
        assert_eq!(world.assert_mirrored().await.rows, rows * ADDED.len());
    }
}

every_sink! { mariadb_first:
    async fn older_rows_get_the_default_of_then_and_not_of_now<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        for statement in TABLES {
            world.sql(statement).await;
        }
        for table in ["later_default", "dropped_and_added", "renamed", "bytes"] {
            world.sql(format!("INSERT INTO {table} VALUES (1), (2)")).await;
        }
        for table in ["same_again", "same_at_once"] {
            world.sql(format!("INSERT INTO {table} VALUES (1, 10), (2, NULL)")).await;
        }
        world.sql("INSERT INTO swapped VALUES (1, 10, 20), (2, NULL, 1)").await;
        world.run_once();
        world.assert_mirrored().await;

        for statement in LATER {
            world.sql(statement).await;
        }
        world.run_once();

        let compared = world.assert_mirrored().await;
        assert_eq!((compared.tables, compared.rows), (TABLES.len(), 3 * TABLES.len()));
    }
}
