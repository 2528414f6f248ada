//! Frames written and read back, and headers that are damaged.

use super::*;
use crate::model::{BinlogPlace, Gtid, SourcePlace};

fn rows_header(sections: Vec<Section>) -> FrameHeader {
    let gtid = Gtid::MySql { uuid: [7; 16], tag: "t".into(), number: 9 };
    let place = SourcePlace::MySql(BinlogPlace { file_number: 3, pos: 1234, gtid });
    FrameHeader::Rows(RowsHeader { origin: Origin { commit_micros: 5, place }, audience: Audience::All, sections })
}

#[test]
fn a_rows_frame_reads_back_as_written() {
    let sections = vec![
        Section { schema: SchemaId(1), op: RowOp::Insert, rows: 2, bytes: 3 },
        Section { schema: SchemaId(2), op: RowOp::Update, rows: 1, bytes: 4 },
    ];
    let header = rows_header(sections.clone());
    let mut bytes = Vec::new();
    encode_header(&header, &mut bytes).unwrap();
    bytes.extend_from_slice(b"abcdefg");
    let frame = Frame::decode(&bytes).unwrap();
    assert_eq!(frame.header, header);
    let read: Vec<_> = frame.sections().collect();
    assert_eq!(read, vec![(sections[0], &b"abc"[..], 0), (sections[1], &b"defg"[..], 2)]);
}

#[test]
fn a_section_that_is_left_out_does_not_come_and_its_rows_keep_their_ordinals() {
    let section = |schema, rows, bytes| Section { schema: SchemaId(schema), op: RowOp::Insert, rows, bytes };
    let sections = vec![section(1, 2, 2), section(2, 3, 3), section(1, 1, 1), section(3, 1, 1)];
    let mut bytes = Vec::new();
    encode_header(&rows_header(sections.clone()), &mut bytes).unwrap();
    bytes.extend_from_slice(b"abcdefg");
    let mut frame = Frame::decode(&bytes).unwrap();

    frame.leave_out(SchemaId(2));
    let read: Vec<_> = frame.sections().collect();
    frame.leave_out(SchemaId(1));
    let rest: Vec<_> = frame.sections().collect();

    assert_eq!(read, [(sections[0], &b"ab"[..], 0), (sections[2], b"f", 5), (sections[3], b"g", 6)]);
    assert_eq!(rest, [(sections[3], &b"g"[..], 6)]);
    assert_eq!(frame.described(), sections);
}

#[test]
fn a_cut_or_altered_frame_is_an_error_and_never_a_panic() {
    let mut bytes = Vec::new();
    encode_header(
        &rows_header(vec![Section { schema: SchemaId(1), op: RowOp::Delete, rows: 1, bytes: 2 }]),
        &mut bytes,
    )
    .unwrap();
    bytes.extend_from_slice(b"xy");
    for cut in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    bytes[0] = 9;
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Format { found: 9 })));
    let huge = [FORMAT, 255, 255, 255, 255, 1, 2, 3];
    assert!(matches!(Frame::decode(&huge), Err(FrameError::Short { part: "header", .. })));
}
