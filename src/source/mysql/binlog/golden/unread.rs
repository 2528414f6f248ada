//! Rows that are not what their `TABLE_MAP` says, and rows in a form that is not read: whose matter that is.

use super::*;

/// A transaction whose rows event is changed; what its rows come to, with the end of the transaction behind them.
fn rows_of(decoder: &mut Decoder, change: impl Fn(&mut Vec<u8>)) -> Result<String, Failure> {
    let mut events = one_transaction();
    let rows = events.iter().position(|event| is_rows(kind_of(event))).unwrap();
    change(&mut events[rows]);
    let mut items = Vec::new();
    for event in &events {
        items.push(format!("{:?}", decoder.decode(&RawEvent::parse(event).unwrap())?));
    }
    assert_eq!(items.last().unwrap(), "Commit", "the stream goes on");
    Ok(items.swap_remove(rows))
}

fn is_rows(kind: u8) -> bool {
    matches!(kind, kind::WRITE_ROWS | kind::UPDATE_ROWS | kind::DELETE_ROWS)
}

/// Where an event of version 2 without extra data states its columns: behind header, table id, flags and the length of the data.
const COLUMNS: usize = 19 + 6 + 2 + 2;

#[test]
fn rows_of_another_number_of_columns_are_never_decoded() {
    let plain = rows_of(&mut decoder(false), |_| {}).unwrap();
    assert!(plain.starts_with("Rows {"), "{plain}");
    for more in [1, u8::MAX] {
        let item = rows_of(&mut decoder(false), |event| event[COLUMNS] = event[COLUMNS].wrapping_add(more)).unwrap();
        assert!(item.starts_with("Unread {") && item.contains("columns, and its TABLE_MAP event"), "{item}");
    }
}

#[test]
fn bytes_that_are_left_over_are_no_rows() {
    for left_over in [&[0xaa_u8][..], &[0, 1], &[0; 3]] {
        let item = rows_of(&mut decoder(false), |event| event.extend(left_over)).unwrap();
        assert!(item.starts_with("Unread {") && item.contains("do not fit their TABLE_MAP event"), "{item}");
    }
    let item = rows_of(&mut decoder(false), |event| {
        event.pop();
    });
    assert!(item.as_ref().unwrap().starts_with("Unread {"), "{item:?}");
}

#[test]
fn load_data_in_statement_format_is_a_statement_and_its_file_is_nothing() {
    let mut decoder = decoder(false);
    let whole = one_transaction();
    for event in &whole[..3] {
        decoder.decode(&RawEvent::parse(event).unwrap()).unwrap();
    }
    for kind in [17, 9, 11] {
        let item = decoder.decode(&RawEvent {
            header: EventHeader { kind, ..EventHeader::default() },
            data: &[1, 0, 0, 0],
            unpacked: false,
        });
        assert_eq!(format!("{:?}", item.unwrap()), "Nothing");
    }
    let mut load = vec![0; 8];
    load.extend([4, 0, 0, 0, 0]);
    load.extend([0; 13]);
    load.extend(b"shop\0LOAD DATA INFILE 'x' INTO TABLE t");
    let header = EventHeader { kind: kind::EXECUTE_LOAD_QUERY, ..EventHeader::default() };
    let item = decoder.decode(&RawEvent { header, data: &load, unpacked: false }).unwrap();
    let Item::Statement(statement) = item else { panic!("{item:?}") };
    assert_eq!((&*statement.database, &*statement.sql), ("shop", "LOAD DATA INFILE 'x' INTO TABLE t"));
    assert!(statement.in_transaction);
}
