//! Tables without a key: equal rows, NULLs, updates of many rows. A mirror that cannot hold such a table stops it by name, and the other tables
//! go on. A changelog takes them at every sink.

use super::target::World;
use crate::support::sandbox::DATABASE;
use crate::support::status::{stop_reason, stopped};
use crate::support::workload::{Shape, Workload};

every_sink! { mysql_first:
    async fn equal_rows_and_nulls_are_followed_one_by_one_and_many_at_once<T: Target>(kind: Kind) {
        let world = World::<T>::both(kind).await;
        world.sql(
            "CREATE TABLE keyed (id INT PRIMARY KEY, v INT); INSERT INTO keyed VALUES (1, 1);
             CREATE TABLE loose (a INT, b VARCHAR(9), c DOUBLE);
             INSERT INTO loose VALUES (1, 'x', 0.5), (1, 'x', 0.5), (1, 'x', 0.5), (NULL, NULL, NULL), (NULL, NULL, NULL), (2, '', -0.25);
             CREATE TABLE nullable (id INT UNIQUE, v INT); INSERT INTO nullable VALUES (1, 1), (NULL, 2), (NULL, 2)"
        ).await;
        let loose = ["loose", "nullable"];
        let mut daemon = world.start();
        for changes in [
            "SELECT 1",
            "DELETE FROM loose WHERE a = 1 LIMIT 1; UPDATE loose SET b = 'y' WHERE a IS NULL LIMIT 1; DELETE FROM nullable WHERE id IS NULL LIMIT 1",
            "BEGIN; INSERT INTO loose SELECT * FROM loose; INSERT INTO loose SELECT * FROM loose; UPDATE loose SET a = 7, c = NULL WHERE a = 1;
             DELETE FROM loose WHERE b IS NULL LIMIT 3; INSERT INTO keyed VALUES (2, 2); COMMIT",
            "INSERT INTO loose SELECT NULL, b, c FROM loose; UPDATE loose SET a = NULL, b = NULL; INSERT INTO nullable VALUES (NULL, 2), (2, NULL)",
            "DELETE FROM loose LIMIT 5; UPDATE nullable SET v = NULL; UPDATE keyed SET v = 9",
            "TRUNCATE TABLE nullable; INSERT INTO nullable VALUES (NULL, NULL), (NULL, NULL)",
        ] {
            world.sql(changes).await;
            let status = world.caught_up(&mut daemon).await;
            if T::HOLDS_KEYLESS {
                assert_eq!(stopped(&status), [""; 0], "{changes}: {status:#}");
                world.assert_mirrored().await;
            } else {
                assert_eq!(stopped(&status), ["shop.loose", "shop.nullable"], "{changes}: {status:#}");
                world.assert_mirrored_but(&loose).await;
            }
            for table in ["keyed", "loose", "nullable"] {
                world.assert_logged(table).await;
            }
        }
        daemon.stop();
    }
}

every_sink! { mariadb_first:
    async fn writers_of_tables_without_a_key_are_followed_over_kills_or_stop_those_tables_alone<T: Target>(kind: Kind) {
        let world = World::<T>::both(kind).await;
        let shapes = [Shape::Integer, Shape::UniqueOnly, Shape::Keyless];
        let workload = Workload::new(DATABASE).with_shapes(&shapes);
        workload.create(&world.server, 200).await;
        // A changelog is written to after its snapshot: without a key the rows of both are not told apart.
        let mut daemon = world.start();
        world.caught_up(&mut daemon).await;

        let writing = workload.start(&world.server);
        for _ in 0..2 {
            writing.progressed_by(300).await;
            daemon.kill();
            daemon = world.start();
        }
        writing.stop().await;
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        if T::HOLDS_KEYLESS {
            assert_eq!(stopped(&status), [""; 0], "{status:#}");
            assert!(world.assert_mirrored().await.rows > 100);
        } else {
            assert_eq!(stopped(&status), ["shop.without_key"], "{status:#}");
            let reason = stop_reason(&status, "shop.without_key").unwrap();
            assert!(reason.contains("key") && reason.contains("history"), "{reason}");
            assert!(world.assert_mirrored_but(&["without_key"]).await.rows > 100);
        }
        for table in workload.tables() {
            let lines = world.assert_logged(&table.name).await;
            assert!(lines > 200, "{} has {lines} lines", table.name);
        }
    }
}
