//! Between two starts: the next start does what was asked for.

use serde_json::json;

use super::{
    DATABASE, NEW, REPLACED, SINKS, TABLES, assert_refused, assert_whole, change, copied, copy, empty_targets, files,
    reset, said,
};
use crate::support::cells::open_sqlite;
use crate::support::sandbox::{CHANGELOG, Sandbox};

/// Follows the hint for every sink, and runs to the end.
fn follow_the_hint(sandbox: &Sandbox) {
    for sink in SINKS {
        let said = reset(sandbox, sink);
        assert!(said.contains("the next replicator start reads every table again"), "{said}");
    }
    sandbox.run_once();
}

both_servers! {
    async fn targets_that_were_emptied_are_filled_again(kind: Kind) {
        let sandbox = copied(kind).await;
        empty_targets(&sandbox).await;
        change(&sandbox, "second", 100).await;
        assert_refused(&sandbox, "it was emptied or exchanged");

        follow_the_hint(&sandbox);

        assert_whole(&sandbox, NEW).await;
        sandbox.run_once();
        assert_whole(&sandbox, NEW).await;
    }

    async fn targets_that_were_restored_from_copies_older_than_the_log_are_replaced(kind: Kind) {
        let mut sandbox = copied(kind).await;
        sandbox.clickhouse_mut().stop();
        let (data, saved) = (sandbox.clickhouse().data_directory(), sandbox.path("saved"));
        copy(&data, &saved);
        for file in files(&sandbox).iter().filter(|file| file.exists()) {
            copy(file, &file.with_extension("saved"));
        }
        sandbox.clickhouse_mut().start_again().await;
        // Several blocks of the log, so that some are trimmed.
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.large (id INT PRIMARY KEY, v LONGTEXT)")).await;
        for round in 0..2 {
            for id in 0..10 {
                sandbox.server.exec(format!("INSERT INTO {DATABASE}.large VALUES ({}, REPEAT('x', 60000))", round * 10 + id)).await;
            }
            change(&sandbox, "second", 100 + round).await;
            sandbox.run_once();
        }
        sandbox.clickhouse_mut().stop();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&saved, &data);
        for file in files(&sandbox) {
            if file.exists() {
                std::fs::remove_file(&file).unwrap();
            }
            let saved = file.with_extension("saved");
            if saved.exists() {
                std::fs::rename(&saved, &file).unwrap();
            }
        }
        sandbox.clickhouse_mut().start_again().await;
        assert_refused(&sandbox, "the target was restored from an older copy");

        follow_the_hint(&sandbox);

        assert_whole(&sandbox, REPLACED).await;
    }

    async fn a_log_that_was_restored_from_an_older_copy_takes_its_targets_over(kind: Kind) {
        let sandbox = copied(kind).await;
        let (wal, saved) = (sandbox.wal_directory(), sandbox.path("saved-wal"));
        copy(&wal, &saved);
        // No stream brings these places of the log again.
        for _ in 0..3 {
            let output = sandbox.run(&["backfill", "--database", DATABASE, "--table", "t"]);
            assert!(output.status.success(), "{}", said(&output));
        }
        std::fs::remove_dir_all(&wal).unwrap();
        copy(&saved, &wal);
        change(&sandbox, "second", 100).await;
        assert_refused(&sandbox, "the log was restored from an older copy");

        follow_the_hint(&sandbox);

        assert_whole(&sandbox, REPLACED).await;
        // Places in the log come again, and what is there of an earlier life is older all the same.
        for number in 0..20 {
            change(&sandbox, &format!("round {number}"), 200 + number).await;
        }
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_log_that_was_lost_and_begun_again_takes_its_targets_over(kind: Kind) {
        let mut sandbox = copied(kind).await;
        sandbox.server.exec(format!("DELETE FROM {DATABASE}.t WHERE id = 2; UPDATE {DATABASE}.u SET v = 'lost' WHERE id = 3")).await;
        sandbox.set("/wal/path", json!(sandbox.path("another-wal")));
        assert_refused(&sandbox, "belongs to log");
        change(&sandbox, "second", 100).await;

        // The sinks one by one, as the messages say, or all of them.
        let output = sandbox.run(&["resync"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        assert_whole(&sandbox, REPLACED).await;
        let epochs = sandbox.clickhouse().query("SELECT max(epoch) FROM replica._replicator_cursors").await;
        assert_eq!(epochs, "2\n");
        change(&sandbox, "third", 101).await;
        sandbox.run_once();
        sandbox.assert_mirrored().await;
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn targets_that_have_lost_their_cursors_are_taken_over(kind: Kind) {
        for is_gone in [true, false] {
            let sandbox = copied(kind).await;
            for file in [sandbox.sqlite(), sandbox.changelog()] {
                let change = if is_gone { "DROP TABLE _replicator_cursor" } else { "UPDATE _replicator_cursor SET log_id = 'mine'" };
                rusqlite::Connection::open(file).unwrap().execute_batch(change).unwrap();
            }
            for database in ["replica", CHANGELOG] {
                let change = if is_gone {
                    format!("TRUNCATE TABLE {database}._replicator_cursors")
                } else {
                    format!("INSERT INTO {database}._replicator_cursors SELECT * REPLACE (200 AS epoch, 'mine' AS log) FROM {database}._replicator_cursors")
                };
                sandbox.clickhouse().exec(change).await;
            }
            change(&sandbox, "second", 100).await;
            assert_refused(&sandbox, if is_gone { "no cursor" } else { "is not readable" });

            follow_the_hint(&sandbox);

            assert_whole(&sandbox, REPLACED).await;
            let newest: i64 = open_sqlite(&sandbox.changelog())
                .query_row(&format!("SELECT max(_version) >> 56 FROM {}", TABLES[0]), [], |row| row.get(0))
                .unwrap();
            assert_eq!(newest, 2);
            let newest = sandbox.clickhouse().query("SELECT max(bitShiftRight(_version, 56)) FROM replica.t").await;
            assert_eq!(newest, "2\n");
        }
    }

    async fn a_reset_is_refused_where_there_is_nothing_to_reset(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let no_log = sandbox.run(&["sink", "reset", "local"]);
        assert_eq!(no_log.status.code(), Some(1));
        assert!(said(&no_log).contains("there is no log"), "{}", said(&no_log));
        sandbox.run_once();
        let no_sink = sandbox.run(&["sink", "reset", "other"]);
        assert_eq!(no_sink.status.code(), Some(1));
        assert!(said(&no_sink).contains("no sink \"other\" is configured") && said(&no_sink).contains("\"local\""), "{}", said(&no_sink));
    }
}
