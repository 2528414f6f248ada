//! Doubts of an earlier run, and what ends them.

use super::*;

#[tokio::test]
async fn a_doubt_that_the_log_ends_later_needs_no_other_read() {
    let replaced = |table| TableChange::ReplaceBegin { table, schema: SchemaId(1) };
    let renamed = || TableChange::Rename { from: table(), to: other_table(), schema: SchemaId(2) };
    let others = || Audience::Sinks(vec!["x".into()]);
    let none = Vec::<TableName>::new;
    for (name, later, in_doubt) in [
        ("nothing", Vec::new(), vec![table()]),
        ("a replace", vec![(Audience::All, replaced(table()))], none()),
        ("a replace for others", vec![(others(), replaced(table()))], vec![table()]),
        ("a replace of another table", vec![(Audience::All, replaced(other_table()))], vec![table()]),
        (
            "a replace that does not reach the sink",
            vec![(Audience::All, TableChange::ReplaceBegin { table: table(), schema: SchemaId(3) })],
            vec![table()],
        ),
        ("an end", vec![(Audience::All, TableChange::Drop { table: table() })], none()),
        ("a new name", vec![(Audience::All, renamed())], vec![other_table()]),
        (
            "a replace under a new name",
            vec![(Audience::All, renamed()), (Audience::All, replaced(other_table()))],
            none(),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path()).await;
        let left_out = SchemaRecord::LeftOut { seen: schema_of(table()), before: None, reason: "no answer".to_owned() };
        log.decide(3, left_out).await;
        // The read that came before the doubt does not end it.
        log.change(replaced(table()));
        let middle = log.rows(&[(1, 3)]);
        log.flush().await;
        let faults = vec![Fault::Reports(table(), applied(2))];
        assert_eq!(Serve::until(middle).with(faults).run(&log.wal).await.doubts.len(), 1, "{name}");
        for (audience, change) in later {
            log.change_for(audience, change);
        }
        log.flush().await;

        let tables: Vec<_> = log.doubts("m").into_iter().map(|(table, _)| table).collect();

        assert_eq!(tables, in_doubt, "{name}");
    }
}

#[tokio::test]
async fn what_a_sink_wishes_when_it_is_opened_is_not_asked_for_again_once_the_log_has_it() {
    let replace = || TableChange::ReplaceBegin { table: table(), schema: SchemaId(1) };
    // A drop does not end it: the table stays stopped where drops are not followed.
    for (name, later, asked) in [
        ("nothing", None, 1),
        ("a replace", Some(replace()), 0),
        ("a drop", Some(TableChange::Drop { table: table() }), 1),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path()).await;
        let last = log.rows(&[(1, 1)]);
        later.map(|change| log.change(change));
        log.flush().await;
        let wished = vec![(table(), "it was stopped under another setting".to_owned())];
        let target = Arc::new(Mutex::new(Target { wished, ..Target::default() }));
        // It ends before it is at the replace, and looks again at its next start.
        let fails = || vec![Fault::Write(last, Failure::fatal("the process ends here"))];
        for _ in 0..2 {
            let run = Serve::until(last).to(&target).with(fails()).run(&log.wal).await;
            run.result.unwrap_err();
            assert_eq!(run.doubts.len(), asked, "{name}");
        }
    }
}
