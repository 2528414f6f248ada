//! Rows events without every column, of real servers: `binlog_row_image` MINIMAL, NOBLOB and MariaDB's FULL_NODUP,
//! `binlog_row_value_options=PARTIAL_JSON`, and table maps without full metadata among them (`partial.sql`).

use super::*;
use crate::codec::row_image::Fields;
use crate::source::mysql::binlog::Partial;

const MYSQL: &[u8] = include_bytes!("partial-mysql-9.7.binlog");
const MARIADB: &[u8] = include_bytes!("partial-mariadb-10.11.binlog");
const MARIADB_NODUP: &[u8] = include_bytes!("partial-mariadb-11.8.binlog");

/// What the event says, column by column.
pub(super) fn told(partial: &Partial<'_>) -> String {
    let fields = |fields: &Fields<'_>| {
        let mut text = String::new();
        for column in (0..partial.columns()).filter(|column| fields.has(*column)) {
            let value = fields.key(&[u16::try_from(column).unwrap()]);
            let value = value.map_or("NULL".to_owned(), |bytes| hex(&bytes));
            write!(text, " {column}={value}").unwrap();
        }
        text
    };
    let mut text = String::new();
    for row in partial {
        let row = row.unwrap();
        for (name, side) in [("before", &row.before), ("after", &row.after)] {
            if let Some(side) = side {
                write!(text, "\n  {name}:{}", fields(side)).unwrap();
            }
        }
    }
    if let Some(images) = partial.completed().unwrap() {
        write!(text, "\n  completed {}", hex(&images)).unwrap();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn what_mysql_tells_in_part_decodes_as_written() {
    let found = transcript(decoder(false), &events(MYSQL)).unwrap();
    compare("partial-mysql-9.7.txt", include_str!("partial-mysql-9.7.txt"), &found);
}

#[test]
fn what_mariadb_tells_in_part_decodes_as_written() {
    let found = transcript(decoder(true), &events(MARIADB)).unwrap();
    compare("partial-mariadb-10.11.txt", include_str!("partial-mariadb-10.11.txt"), &found);
}

#[test]
fn what_mariadb_tells_without_saying_it_twice_decodes_as_written() {
    let found = transcript(decoder(true), &events(MARIADB_NODUP)).unwrap();
    compare("partial-mariadb-11.8.txt", include_str!("partial-mariadb-11.8.txt"), &found);
}

#[test]
fn rows_of_tables_that_are_not_captured_are_passed_over_whatever_their_form() {
    for (mariadb, file) in [(false, MYSQL), (true, MARIADB), (true, MARIADB_NODUP)] {
        let found = transcript(decoder_of(mariadb, "another.*"), &events(file)).unwrap();
        assert!(found.contains("filtered") && !found.contains("partial") && !found.contains("unread"), "{found}");
    }
}

/// The events of a file with rows in part, cut and changed; the decoder says of each what it is, or that it is damaged.
fn damaged(file: &[u8], mariadb: bool, damage: &[(usize, usize, u8)], cut: Option<(usize, usize)>) {
    let mut events = events(file);
    let rows: Vec<usize> = (0..events.len()).filter(|at| is_rows(kind_of(&events[*at]))).collect();
    for (event, byte, value) in damage {
        let event = &mut events[rows[event % rows.len()]];
        // Behind the header, the table id and the flags.
        let at = 27 + byte % (event.len() - 27);
        event[at] = *value;
    }
    if let Some((event, at)) = cut {
        let event = &mut events[rows[event % rows.len()]];
        let len = 27 + at % (event.len() - 27);
        event.truncate(len);
    }
    let mut decoder = decoder(mariadb);
    for bytes in &events {
        match decoder.decode(&RawEvent::parse(bytes).unwrap()) {
            Ok(Item::Partial { partial, .. }) => {
                assert_eq!(u32::try_from(partial.iter().count()).unwrap(), partial.rows());
                drop(told(&partial));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
}

fn is_rows(kind: u8) -> bool {
    super::super::rows::layout(kind).is_some()
}

proptest! {
    #[test]
    fn damaged_rows_in_part_are_rows_in_part_or_an_error(
        file in 0_usize..3,
        damage in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 0..6),
        cut in proptest::option::of((any::<usize>(), any::<usize>())),
    ) {
        let (file, mariadb) = [(MYSQL, false), (MARIADB, true), (MARIADB_NODUP, true)][file];
        damaged(file, mariadb, &damage, cut);
    }
}
