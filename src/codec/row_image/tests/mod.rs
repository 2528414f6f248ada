//! The format against real servers' bytes, against itself, and against hostile bytes.

mod allocation;
mod charsets;
mod golden;
mod hostile;
mod json;
mod key;
mod partial;
mod plain;
mod plan;
mod round_trip;
mod value;
mod writer;

use value::{Collect, Value};

use super::Plan;
use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, TableName, TableSchema};

/// A table of nullable columns named `c0`, `c1` and so on.
fn table(types: Vec<ColumnType>) -> TableSchema {
    named(types.into_iter().enumerate().map(|(index, ty)| (format!("c{index}"), ty)).collect())
}

fn named(columns: Vec<(String, ColumnType)>) -> TableSchema {
    TableSchema {
        name: TableName::new("shop", "t"),
        columns: columns
            .into_iter()
            .map(|(name, ty)| Column {
                name,
                ty,
                nullable: true,
                default: ColumnDefault::Unknown,
                attributes: None,
                collation: None,
            })
            .collect(),
        key: None,
    }
}

fn int(width: IntWidth) -> ColumnType {
    ColumnType::Int { width, unsigned: false }
}

fn varchar(max_bytes: u16, charset: &str) -> ColumnType {
    ColumnType::VarChar { max_bytes, charset: Charset::new(charset) }
}

fn members(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

/// Every column's value.
fn read_all(plan: &Plan, image: &[u8]) -> Vec<Value> {
    let mut collect = Collect::default();
    let consumed = plan.read(image, &mut collect).unwrap();
    assert_eq!(consumed, image.len());
    collect.in_order()
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}
