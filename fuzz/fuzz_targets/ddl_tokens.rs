//! Any text is read as some statement, whatever the quoting rules: no panic, no endless loop, and column names follow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replicator::source::mysql::ddl::{SqlMode, Statement, parse};

fuzz_target!(|input: (bool, bool, &str)| {
    let (ansi_quotes, no_backslash_escapes, sql) = input;
    if let Statement::AlterTable { ops, .. } = parse(sql, "d", SqlMode { ansi_quotes, no_backslash_escapes, ..SqlMode::default() }) {
        let before = ["id".to_owned(), "a".to_owned()];
        if let Some(after) = ops.column_names_after(&before) {
            assert!(after.len() <= before.len() + sql.len());
        }
    }
});
