//! The header of every kind of frame, in the bytes of format 2.

use replicator::codec::frame::{
    Audience, CheckHeader, FORMAT, Frame, FrameError, FrameHeader, KeyRange, Mark, RowOp, RowsHeader, Section,
    TableChange, encode_header,
};
use replicator::model::{BinlogPlace, Gtid, Origin, SchemaId, SourcePlace, TableName};

use super::{committed, examples_of, hex_lines};

fn table() -> TableName {
    TableName::new("shop", "users")
}

fn origin(gtid: Gtid) -> Origin {
    let place = SourcePlace::MySql(BinlogPlace { file_number: 3, pos: 1234, gtid });
    Origin { commit_micros: 1_795_251_600_000_001, place }
}

fn rows(gtid: Gtid, audience: Audience, sections: Vec<Section>) -> FrameHeader {
    FrameHeader::Rows(RowsHeader { origin: origin(gtid), audience, sections })
}

fn change(change: TableChange) -> FrameHeader {
    FrameHeader::Change { origin: origin(Gtid::Anonymous), audience: Audience::All, change }
}

/// Every kind. A new one does not compile here until it has a name, and then needs an example.
fn kind(header: &FrameHeader) -> &'static str {
    match header {
        FrameHeader::Rows(_) => "rows",
        FrameHeader::Change { change, .. } => change.kind(),
        FrameHeader::Mark { mark: Mark::SnapshotBegun { .. }, .. } => "snapshot_begun",
        FrameHeader::Mark { mark: Mark::SnapshotFinished { .. }, .. } => "snapshot_finished",
        FrameHeader::Mark { mark: Mark::Created { .. }, .. } => "created",
        FrameHeader::Check(_) => "check",
    }
}

const KINDS: [&str; 14] = [
    "rows",
    "create",
    "alter",
    "truncate",
    "drop",
    "rename",
    "replace_begin",
    "replace_end",
    "gap",
    "left_out",
    "snapshot_begun",
    "snapshot_finished",
    "created",
    "check",
];

fn examples() -> Vec<(&'static str, FrameHeader)> {
    let section = |schema, op, rows, bytes| Section { schema: SchemaId(schema), op, rows, bytes };
    let sections = vec![
        section(1, RowOp::Insert, 2, 3),
        section(2, RowOp::Update, 1, 4),
        section(300, RowOp::Delete, 1, 1),
        section(1, RowOp::Snapshot, 1, 1),
    ];
    let tagged = Gtid::MySql { uuid: *b"0123456789abcdef", tag: "nightly".into(), number: 9 };
    let domain = Gtid::MariaDb { domain: 3, server: 70_000, sequence: 12 };
    let some = Audience::Sinks(vec!["local".into(), "ch".into()]);
    let schema =
        |from, renamed, lost| change(TableChange::Schema { table: table(), from, to: SchemaId(5), renamed, lost });
    let mark = |mark| FrameHeader::Mark { origin: origin(Gtid::Anonymous), audience: Audience::All, mark };
    vec![
        ("rows_of_mysql", rows(tagged, Audience::All, sections)),
        ("rows_of_mariadb_for_two_sinks", rows(domain, some, vec![section(1, RowOp::Snapshot, 1, 1)])),
        ("create", schema(None, vec![], false)),
        ("alter", schema(Some(SchemaId(4)), vec![("a".into(), "b".into())], true)),
        ("truncate", change(TableChange::Truncate { table: table() })),
        ("drop", change(TableChange::Drop { table: table() })),
        (
            "rename",
            change(TableChange::Rename { from: table(), to: TableName::new("shop", "people"), schema: SchemaId(6) }),
        ),
        ("replace_begin", change(TableChange::ReplaceBegin { table: table(), schema: SchemaId(5) })),
        ("replace_end", change(TableChange::ReplaceEnd { table: table() })),
        ("gap", change(TableChange::Gap { table: table(), reason: "a statement was not understood".into() })),
        ("left_out", change(TableChange::LeftOut { table: table(), reason: "no answer within 2s".into() })),
        ("snapshot_begun", mark(Mark::SnapshotBegun { table: table(), whole: true })),
        ("snapshot_finished", mark(Mark::SnapshotFinished { table: table(), rows: 300 })),
        ("created", mark(Mark::Created { table: table() })),
        (
            "check",
            FrameHeader::Check(CheckHeader {
                origin: origin(Gtid::Anonymous),
                audience: Audience::Sinks(vec!["local".into()]),
                table: table(),
                schema: SchemaId(5),
                range: KeyRange { after: Some(vec![0, 1]), upto: None },
                left_out: vec![1 << 100],
                rows: 2,
                bytes: 5,
            }),
        ),
    ]
}

/// Bytes of the body that a header announces.
fn body(header: &FrameHeader) -> Vec<u8> {
    let bytes = match header {
        FrameHeader::Rows(rows) => rows.sections.iter().map(|section| section.bytes).sum(),
        FrameHeader::Check(check) => check.bytes,
        FrameHeader::Change { .. } | FrameHeader::Mark { .. } => 0,
    };
    vec![7; usize::try_from(bytes).unwrap()]
}

fn encoded(header: &FrameHeader) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_header(header, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_frame_header_reads_and_writes_as_committed() {
    let examples = examples();
    let now: Vec<_> = examples.iter().map(|(name, header)| (*name, encoded(header))).collect();
    let text = committed(&format!("stored/frame.v{FORMAT}.hex"), &hex_lines(&now));
    let committed = examples_of(&text);
    assert_eq!(committed.len(), examples.len());
    for ((name, bytes), (expected, header)) in committed.iter().zip(&examples) {
        let changed = format!("{name}: the header's shape changed, so frames need a new format (docs/formats.md)");
        assert_eq!(name, expected);
        let payload = [bytes.as_slice(), &body(header)].concat();
        let frame = Frame::decode(&payload).unwrap_or_else(|error| panic!("{changed}: {error}"));
        assert_eq!(&frame.header, header, "{changed}");
        assert_eq!(&encoded(header), bytes, "{changed}");
        for cut in 0..payload.len() {
            assert!(Frame::decode(&payload[..cut]).is_err(), "{name}, cut at {cut}");
        }
        let longer = [payload.as_slice(), &[0]].concat();
        assert!(matches!(Frame::decode(&longer), Err(FrameError::Body { .. })), "{name}, with a byte left over");
        let other = [&[FORMAT + 1], &payload[1..]].concat();
        assert!(matches!(Frame::decode(&other), Err(FrameError::Format { found }) if found == FORMAT + 1), "{name}");
    }
}

#[test]
fn every_kind_of_frame_has_an_example() {
    let examples = examples();
    for kind_of_all in KINDS {
        assert!(examples.iter().any(|(_, header)| kind(header) == kind_of_all), "{kind_of_all}");
    }
    assert!(examples.iter().all(|(_, header)| KINDS.contains(&kind(header))), "a kind that KINDS does not list");
}
