//! The copy equals the source, whatever happens on the way: the shortest form of what the product promises.

use serde_json::json;

use super::target::{Mode, World, mirrored_shapes};
use crate::support::cells::Cell;
use crate::support::compare::View;
use crate::support::copies::Copied;
use crate::support::sandbox::DATABASE;
use crate::support::status::stopped;
use crate::support::workload::Workload;

every_sink! { mysql_first:
    async fn once_copies_what_is_there_then_what_came_after<T: Target>(kind: Kind) {
        let world = World::<T>::mirror(kind).await;
        let shapes = mirrored_shapes::<T>();
        let workload = Workload::new(DATABASE).with_shapes(&shapes);
        workload.create(&world.server, 400).await;

        world.run_once();
        let first = world.assert_mirrored().await;
        workload.run(&world.server, 500).await;
        world.run_once();
        let second = world.assert_mirrored().await;

        assert_eq!((first.tables, first.rows), (shapes.len(), 400 * shapes.len()));
        assert!(second.rows > 400, "{second:?}");
    }

    async fn a_killed_daemon_goes_on_where_its_log_ends<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 600).await;
        world.set("/source/snapshot", json!({ "chunk_rows": 20, "parallel": 2 }));

        let writing = workload.start(&world.server);
        let mut daemon = world.start();
        for _ in 0..5 {
            writing.progressed_by(150).await;
            daemon.kill();
            daemon = world.start();
        }
        writing.stop().await;
        world.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(world.assert_mirrored().await.rows > 400);
    }
}

every_sink! { mariadb_first:
    async fn writers_during_the_snapshot_and_after_it_are_followed<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        let workload = Workload::new(DATABASE).with_connections(3).with_shapes(&mirrored_shapes::<T>());
        workload.create(&world.server, 600).await;
        // Chunks small enough for writers to meet the snapshot in the middle of every table.
        world.set("/source/snapshot", json!({ "chunk_rows": 50, "parallel": 2 }));

        let writing = workload.start(&world.server);
        let mut daemon = world.start();
        writing.progressed_by(1500).await;
        writing.stop().await;
        world.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(world.assert_mirrored().await.rows > 400);
    }

    async fn soft_deletion_and_renamed_and_left_out_columns_hold_every_value<T: Target>(kind: Kind) {
        let mut world = World::<T>::mirror(kind).await;
        world.set("/sinks/0/soft_delete_column", json!("gone"));
        let shape = json!({ "database": DATABASE, "table": "shaped", "rename": { "id": "key", "v": "value `of` v" }, "drop": ["secret"] });
        let mut soft = shape.clone();
        soft["table"] = json!("soft");
        soft["deletion"] = json!("soft");
        let workload = Workload::new(DATABASE).with_shapes(&mirrored_shapes::<T>());
        let written = workload.tables().iter().map(|table| table.name.clone());
        let softly = |table: &String| json!({ "database": DATABASE, "table": table, "deletion": "soft" });
        world.set("/tables", written.clone().map(|table| softly(&table)).chain([shape, soft]).collect());
        workload.create(&world.server, 200).await;
        for table in ["shaped", "soft", "plain"] {
            world.sql(format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, secret TEXT, v VARCHAR(20), n DECIMAL(9, 2));
                 INSERT INTO {table} VALUES (1, 's', 'one', 1.5), (2, 's', 'two', NULL), (3, NULL, NULL, -3), (4, 's', 'four', 4)"
            )).await;
        }
        world.run_once();
        let mut daemon = world.start();
        for table in ["shaped", "soft", "plain"] {
            world.sql(format!(
                "DELETE FROM {table} WHERE id IN (1, 2); UPDATE {table} SET v = 'third', secret = 't' WHERE id = 3;
                 INSERT INTO {table} VALUES (2, 's', 'again', 22); UPDATE {table} SET id = 40 WHERE id = 4;
                 ALTER TABLE {table} ADD w INT NOT NULL DEFAULT 7; INSERT INTO {table} VALUES (5, 's', 'five', 5, 55)"
            )).await;
        }
        workload.run(&world.server, 300).await;
        let status = world.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&status), [""; 0], "{status:#}");
        let of = |table: &str, from: &str, to: &str| (table.to_owned(), from.to_owned(), to.to_owned());
        let view = View {
            renamed: ["shaped", "soft"].iter().flat_map(|table| [of(table, "id", "key"), of(table, "v", "value `of` v")]).collect(),
            dropped: ["shaped", "soft"].map(|table| (table.to_owned(), "secret".to_owned())).to_vec(),
            soft_deleted: written.chain(["soft".to_owned()]).map(|table| (table, "gone".to_owned())).collect(),
            ..View::default()
        };
        assert!(world.assert_mirrored_as(&view).await.rows > 400);
        let columns = ["key", "value `of` v", "gone"].map(str::to_owned);
        let mut rows = world.target.copy(Mode::Mirror).rows("soft", &columns).await;
        rows.sort();
        let row = |key, value: &str, gone| vec![Cell::Integer(key), Cell::text(value), Cell::Integer(gone)];
        let expected =
            [row(1, "one", 1), row(2, "again", 0), row(3, "third", 0), row(4, "four", 1), row(5, "five", 0), row(40, "four", 0)];
        assert_eq!(rows, expected);
    }
}
