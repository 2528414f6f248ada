//! What the tests of every sink share: schemas in one line, rows in text, configurations.

use std::path::Path;

use crate::codec::row_image::ImageWriter;
use crate::config::{Deletion, Mode, Plan, TableOptions, parse};
use crate::model::{Column, Key, KeyKind, TableName, TableSchema};

#[expect(clippy::unnecessary_wraps, reason = "it is written where a schema has its key or None")]
pub(super) fn key(columns: &[u16]) -> Option<Key> {
    Some(Key { kind: KeyKind::Primary, columns: columns.to_vec() })
}

pub(super) fn schema(columns: Vec<Column>, key: Option<Key>) -> TableSchema {
    TableSchema { name: TableName::new("shop", "t"), columns, key }
}

pub(super) fn options(mode: Mode) -> TableOptions {
    TableOptions::new(mode)
}

pub(super) fn soft() -> TableOptions {
    TableOptions { deletion: Deletion::Soft, ..options(Mode::Mirror) }
}

/// The image bytes of rows in text; `~` is NULL, also where a column forbids it: a row that is gone by its key has that.
pub(super) fn images(schema: &TableSchema, rows: &[&[&str]]) -> Vec<u8> {
    let mut schema = schema.clone();
    schema.columns.iter_mut().for_each(|column| column.nullable = true);
    let writer = ImageWriter::new(&schema).unwrap();
    let mut body = Vec::new();
    for row in rows {
        let mut builder = writer.row(&mut body);
        for value in *row {
            if *value == "~" { builder.null() } else { builder.text_protocol(value.as_bytes()) }.unwrap();
        }
        builder.finish().unwrap();
    }
    body
}

/// The plan of a configuration.
pub(super) fn plan(text: &str) -> Plan {
    parse(Path::new("r.yaml"), text, &|_| Ok(None), &super::types()).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a configuration.
pub(super) fn problems(text: &str) -> Vec<String> {
    let error = parse(Path::new("r.yaml"), text, &|_| Ok(None), &super::types()).expect_err("it is wrong");
    error.problems().iter().map(ToString::to_string).collect()
}
