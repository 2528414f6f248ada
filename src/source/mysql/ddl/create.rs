//! `CREATE TABLE`.
//!
//! Columns are told only when the statement lists them all: not with a query, whose columns join them, and not when
//! another table or an engine gives them.

use super::columns::{self, Element, TypeName};
use super::cursor::Cursor;
use super::definition::Definition;
use super::names;
use super::stated::StatedTable;
use super::statement::CreateTable;
use super::tokens::Token;
use crate::model::TableName;

/// Takes what follows `CREATE [OR REPLACE] [TEMPORARY] TABLE`; `None` when no table is named.
pub(super) fn table(
    cursor: &mut Cursor<'_>,
    default_database: &str,
    or_replace: bool,
    temporary: bool,
) -> Option<CreateTable> {
    let if_not_exists = cursor.eat_if_not_exists();
    let table = names::table(cursor, default_database)?;
    let mut create = CreateTable {
        table,
        columns: None,
        definitions: Vec::new(),
        stated: None,
        like: None,
        as_select: false,
        if_not_exists,
        or_replace,
        temporary,
        engine: None,
        system_versioned: false,
        is_sequence: false,
        union: None,
        starts_transaction: false,
    };
    let mut inside = *cursor;
    let parenthesis = inside.eat_symbol(b'(');
    if inside.eat("LIKE") {
        create.like = names::table(&mut inside, default_database);
        return Some(create);
    }
    if parenthesis && !starts_query(&inside) {
        create.system_versioned = has_versioned_column(inside);
        if let Some((columns, stated)) = column_list(&mut inside) {
            create.stated = stated;
            create.columns = Some(columns.iter().map(|(name, ty, _)| (name.clone(), *ty)).collect());
            create.definitions = columns.into_iter().map(|(name, _, definition)| (name, definition)).collect();
        }
        cursor.take_in_item();
    }
    options(cursor, default_database, &mut create);
    if create.as_select {
        create.columns = None;
        create.definitions.clear();
        create.stated = None;
    }
    Some(create)
}

/// The columns that a statement lists, each with what its definition says.
type Columns = Vec<(String, TypeName, Definition)>;

/// Behind the opening parenthesis: the columns, when every element is read up to the closing one, and what the list alone makes of the
/// table, if nothing else decides it.
fn column_list(cursor: &mut Cursor<'_>) -> Option<(Columns, Option<StatedTable>)> {
    let mut columns = Vec::new();
    let mut table = Some(StatedTable::default());
    loop {
        let element = columns::element(cursor)?;
        table = table.and_then(|table| table.with(&element));
        if let Element::Column { name, ty, definition, .. } = element {
            columns.push((name, ty, *definition));
        }
        if cursor.eat_symbol(b')') {
            return Some((columns, table));
        }
        if !cursor.eat_symbol(b',') {
            return None;
        }
    }
}

/// Behind the opening parenthesis: whether any column is `WITH SYSTEM VERSIONING`, which makes the table one that is.
fn has_versioned_column(mut cursor: Cursor<'_>) -> bool {
    while !cursor.at_end() && !cursor.is_symbol(b')') {
        if cursor.is_all(&["WITH", "SYSTEM", "VERSIONING"]) {
            return true;
        }
        if cursor.take_in_item().is_none() {
            cursor.take();
        }
    }
    false
}

/// Reads the options of the table, its partitions, and the query, if there is one.
fn options(cursor: &mut Cursor<'_>, default_database: &str, create: &mut CreateTable) {
    while !cursor.at_end() {
        if cursor.eat_all(&["START", "TRANSACTION"]) {
            create.starts_transaction = true;
            continue;
        }
        if cursor.eat_all(&["WITH", "SYSTEM", "VERSIONING"]) {
            create.system_versioned = true;
            continue;
        }
        if let Some(engine) = engine(cursor) {
            create.engine = Some(engine);
            continue;
        }
        if let Some(is_sequence) = sequence(cursor) {
            create.is_sequence = is_sequence;
            continue;
        }
        if let Some(union) = union(cursor, default_database) {
            create.union = Some(union);
            continue;
        }
        if starts_query(cursor) || cursor.is("AS") {
            create.as_select = true;
            return;
        }
        // Options may have commas between them.
        if cursor.take_in_item().is_none() {
            cursor.take();
        }
    }
}

/// Takes `ENGINE [=] name` if it stands next.
pub(super) fn engine(cursor: &mut Cursor<'_>) -> Option<String> {
    let mut ahead = *cursor;
    if !ahead.eat("ENGINE") {
        return None;
    }
    ahead.eat_symbol(b'=');
    let engine = ahead.identifier()?;
    *cursor = ahead;
    Some(engine)
}

/// Takes MariaDB's `SEQUENCE [=] number` if it stands next: whether the table is a sequence.
pub(super) fn sequence(cursor: &mut Cursor<'_>) -> Option<bool> {
    let mut ahead = *cursor;
    if !ahead.eat("SEQUENCE") {
        return None;
    }
    ahead.eat_symbol(b'=');
    if ahead.peek() != Some(Token::Number) {
        return None;
    }
    let is_sequence = ahead.source().parse() != Ok(0);
    ahead.take();
    *cursor = ahead;
    Some(is_sequence)
}

/// Takes `UNION [=] (tables)` if it stands next, the option of a MERGE table.
pub(super) fn union(cursor: &mut Cursor<'_>, default_database: &str) -> Option<Vec<TableName>> {
    let mut ahead = *cursor;
    if !ahead.eat("UNION") {
        return None;
    }
    ahead.eat_symbol(b'=');
    if !ahead.eat_symbol(b'(') {
        return None;
    }
    let tables = if ahead.is_symbol(b')') { Vec::new() } else { names::tables(&mut ahead, default_database)? };
    if !ahead.eat_symbol(b')') {
        return None;
    }
    *cursor = ahead;
    Some(tables)
}

/// Whether a query starts here, perhaps in parentheses. `WITH SYSTEM VERSIONING` is an option.
fn starts_query(cursor: &Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    while ahead.eat_symbol(b'(') {}
    if ahead.is("WITH") { !ahead.is_all(&["WITH", "SYSTEM"]) } else { ahead.is_any(&["SELECT", "VALUES", "TABLE"]) }
}
