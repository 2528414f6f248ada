//! The tables of a ClickHouse as the cells that a source's rows become: a second statement of the type table in
//! docs/clickhouse.md. The engine prints every value in the text that the source's server prints.

use std::net::Ipv6Addr;

use super::cells::{Cell, Content};
use super::clickhouse::ClickHouse;

/// A column and its type as `DESCRIBE TABLE` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaColumn {
    pub name: String,
    pub ty: String,
}

/// What the text of a value becomes.
#[derive(Clone, Copy)]
enum Rule {
    Integer,
    /// The bits of a double, as an integer.
    Real,
    Text,
    /// Text of an IPv6 address, which both servers spell in a way of their own.
    Address,
    /// Text, of which the empty one stands for NULL: an array cannot be NULL.
    Array,
}

/// How the values of a type are asked for: an expression of text, or of NULL.
fn rule(ty: &str, column: &str) -> (String, Rule) {
    let bare = |text: &str| {
        let text = text.strip_prefix("LowCardinality(").and_then(|text| text.strip_suffix(')')).unwrap_or(text);
        text.strip_prefix("Nullable(").and_then(|text| text.strip_suffix(')')).unwrap_or(text).to_owned()
    };
    let ty = bare(ty);
    match ty.split('(').next().unwrap() {
        name if name.starts_with("Int") || name.starts_with("UInt") => (format!("toString({column})"), Rule::Integer),
        "Float32" | "Float64" => (format!("toString(reinterpretAsUInt64(toFloat64({column})))"), Rule::Real),
        "Decimal" => {
            let scale = ty.trim_end_matches(')').rsplit(", ").next().unwrap();
            (format!("toDecimalString({column}, {scale})"), Rule::Text)
        }
        "Date32" | "DateTime64" | "Time64" | "UUID" | "IPv4" => (format!("toString({column})"), Rule::Text),
        "IPv6" => (format!("toString({column})"), Rule::Address),
        "String" => (column.to_owned(), Rule::Text),
        // The bytes of a vector as the source sends them: reinterpretAsString would cut zeros off their end.
        "Array" if ty == "Array(Float32)" => (
            format!("unhex(arrayStringConcat(arrayMap(x -> hex(reinterpretAsFixedString(x)), {column})))"),
            Rule::Array,
        ),
        "Array" if ty == "Array(String)" => (format!("arrayStringConcat({column}, ',')"), Rule::Text),
        _ => panic!("no rule for the type '{ty}' of {column}"),
    }
}

/// The tables that are not the sink's own bookkeeping, sorted. Views are not tables.
pub async fn replica_tables(server: &ClickHouse, database: &str) -> Vec<String> {
    let names = server
        .query(format!(
            "SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'
             AND (NOT startsWith(name, '_replicator') OR startsWith(name, '_replicator_new_')) ORDER BY name"
        ))
        .await;
    names.lines().map(str::to_owned).collect()
}

/// The columns of a table in its order.
pub async fn replica_columns(server: &ClickHouse, database: &str, table: &str) -> Vec<ReplicaColumn> {
    let lines = server
        .query(format!(
            "SELECT hex(name), hex(type) FROM system.columns WHERE database = '{database}' AND table = '{table}'
             ORDER BY position"
        ))
        .await;
    let columns = lines.lines().map(|line| {
        let (name, ty) = line.split_once('\t').unwrap();
        ReplicaColumn { name: from_hex_text(name), ty: from_hex_text(ty) }
    });
    columns.collect()
}

/// The given columns of every row that FINAL shows.
pub async fn replica_rows(server: &ClickHouse, database: &str, table: &str, columns: &[String]) -> Vec<Vec<Cell>> {
    let all = replica_columns(server, database, table).await;
    let mut rules = Vec::new();
    let mut expressions = Vec::new();
    for name in columns {
        let found = all.iter().find(|column| column.name == *name);
        let ty = &found.unwrap_or_else(|| panic!("{table} has no column {name} but {all:?}")).ty;
        let (expression, rule) = rule(ty, &quoted(name));
        // Hexadecimal text has nothing to escape, and NULL stays apart from it.
        expressions.push(format!("hex({expression})"));
        rules.push(rule);
    }
    let list = expressions.join(", ");
    let sql = format!("SELECT {list} FROM {database}.{} FINAL FORMAT TSV", quoted(table));
    let lines = server.query(sql).await;
    let row = |line: &str| line.split('\t').zip(&rules).map(|(text, rule)| cell(*rule, text)).collect();
    lines.lines().map(row).collect()
}

/// The source's rows as this sink keeps them in `columns`, whose names are those of the source behind `prefix`: it has one type for
/// text and bytes, and prints an IPv6 address in its own way.
pub fn as_replicated(mut source: Content, columns: &[ReplicaColumn], prefix: &str) -> Content {
    let is_address = |name: &String| {
        let kept = columns.iter().find(|column| column.name.strip_prefix(prefix) == Some(name));
        kept.is_some_and(|column| matches!(rule(&column.ty, name).1, Rule::Address))
    };
    let addresses: Vec<bool> = source.columns.iter().map(is_address).collect();
    for row in &mut source.rows {
        for (cell, is_address) in row.iter_mut().zip(&addresses) {
            if let Cell::Blob(bytes) = cell {
                *cell = Cell::Text(std::mem::take(bytes));
            }
            if let (Cell::Text(bytes), true) = (cell, is_address) {
                spell_address(bytes);
            }
        }
    }
    source
}

fn cell(rule: Rule, text: &str) -> Cell {
    if text == "\\N" {
        return Cell::Null;
    }
    let bytes = from_hex(text);
    let number = || std::str::from_utf8(&bytes).expect("a number in ASCII");
    match rule {
        Rule::Integer => number().parse().map_or_else(|_| Cell::Text(bytes.clone()), Cell::Integer),
        Rule::Real => Cell::real(f64::from_bits(number().parse().expect("the bits of a number"))),
        Rule::Array if bytes.is_empty() => Cell::Null,
        Rule::Text | Rule::Array => Cell::Text(bytes),
        Rule::Address => {
            let mut bytes = bytes;
            spell_address(&mut bytes);
            Cell::Text(bytes)
        }
    }
}

/// Spells text that is an IPv6 address in the one way that both sides are compared in.
fn spell_address(text: &mut Vec<u8>) {
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    if let Some(address) = address {
        *text = address.to_string().into_bytes();
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal digits");
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::try_from(16 * digit(pair[0]) + digit(pair[1])).unwrap()).collect()
}

fn from_hex_text(text: &str) -> String {
    String::from_utf8(from_hex(text)).unwrap()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
