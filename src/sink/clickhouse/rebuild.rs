//! A mirror's table made anew with another key or with types that the server does not convert in place: a second table is filled from
//! the first and takes its name. Readers see the old table until then, and the new one after.
//!
//! The copy is taken inside the barrier that the change is, so both tables have seen the same changes. Exchanging two names twice
//! undoes it; the new table carries the change's LSN in its comment, so a repetition sees that it has been done.

use wal::Lsn;

use super::client::Client;
use super::error::Refused;
use super::layout::Layout;
use super::literal::default_literal;
use super::names::{literal, quoted};
use super::reshape::Origin;
use super::types::{Base, Type};
use crate::config::{ClickHousePlan, ClickHouseTypes};
use crate::error::Failure;
use crate::model::TableSchema;

/// The comment of a table that the sink made at `lsn`.
pub(super) fn comment(sink: &str, lsn: Lsn) -> String {
    format!("replicator sink {sink}, made at lsn {lsn}")
}

/// Makes `new` out of `old`, which has its name.
pub(super) async fn rebuild(
    client: &Client,
    plan: &ClickHousePlan,
    (sink, lsn): (&str, Lsn),
    new: &Layout,
    schema: &TableSchema,
    origins: Option<&[Origin]>,
) -> Result<(), Refused> {
    let target = &new.target;
    let beside = format!("{target}__rebuild");
    let place = |name: &str| format!("{}.{}", quoted(&plan.database), quoted(name));
    let comment = comment(sink, lsn);
    let drop_beside = format!("DROP TABLE IF EXISTS {} SYNC SETTINGS max_table_size_to_drop = 0", place(&beside));
    let sql = format!(
        "SELECT count() FROM system.tables WHERE database = {} AND name = {} AND comment = {}",
        literal(&plan.database),
        literal(target),
        literal(&comment)
    );
    let done: Vec<(u64,)> = client.rows(&sql).await?;
    if done.first().is_none_or(|(count,)| *count == 0) {
        client.execute(&drop_beside, false).await?;
        client.execute(&new.create_statement(&plan.database, &beside, &comment), false).await?;
        if let Some(origins) = origins {
            let sql = format!(
                "INSERT INTO {} ({}) SELECT {} FROM {} FINAL",
                place(&beside),
                names(new),
                expressions(new, schema, origins, plan.types)
                    .map_err(|failure| Refused::refused_here(failure.chain()))?,
                place(target)
            );
            client.execute(&sql, true).await?;
        }
        client.execute(&format!("EXCHANGE TABLES {} AND {}", place(target), place(&beside)), false).await?;
    }
    client.execute(&drop_beside, false).await
}

fn names(layout: &Layout) -> String {
    let names: Vec<_> = layout.insert_columns().iter().map(|(name, _)| quoted(name)).collect();
    names.join(", ")
}

/// An expression over the old table for every column of the new one.
fn expressions(
    layout: &Layout,
    schema: &TableSchema,
    origins: &[Origin],
    types: ClickHouseTypes,
) -> Result<String, Failure> {
    let mut expressions = Vec::new();
    for (name, _) in layout.insert_columns() {
        let place = layout.columns.iter().position(|column| column.name == name);
        let expression = match place.and_then(|place| Some((layout.columns.get(place)?, origins.get(place)?))) {
            Some((column, Origin::Kept { name: old, ty })) => converted(&quoted(old), ty, &column.ty),
            Some((column, Origin::Added)) => {
                let default = match schema.columns.get(column.source) {
                    Some(source) => default_literal(&schema.name, source, &column.ty, types)?,
                    None => None,
                };
                default.unwrap_or_else(|| format!("defaultValueOfTypeName({})", literal(&column.ty)))
            }
            // The version, and the mark of a soft or hard deletion.
            None => quoted(&name),
        };
        expressions.push(expression);
    }
    Ok(expressions.join(", "))
}

/// The old column as the new type: exact where the new type holds the value. Where it does not, the source has converted it in
/// its own way and reads the table again, which overwrites what stands here until then.
fn converted(column: &str, old: &str, new: &str) -> String {
    if old == new {
        return column.to_owned();
    }
    let empty = format!("defaultValueOfTypeName({})", literal(new));
    let Some(ty) = Type::parse(new) else { return empty };
    match &ty.base {
        Base::String { .. } => {
            let text =
                if ty.nullable { format!("toString({column})") } else { format!("ifNull(toString({column}), '')") };
            format!("CAST({text}, {})", literal(new))
        }
        Base::Floats | Base::Strings | Base::Json => empty,
        base => {
            let near = format!("accurateCastOrNull({column}, {})", literal(&base.to_string()));
            if ty.nullable { near } else { format!("ifNull({near}, {empty})") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_new_type_cannot_hold_become_its_empty_value_until_they_are_read_again() {
        assert_eq!(converted("`a`", "Int32", "Int32"), "`a`");
        assert_eq!(
            converted("`a`", "Int32", "UInt8"),
            "ifNull(accurateCastOrNull(`a`, 'UInt8'), defaultValueOfTypeName('UInt8'))"
        );
        assert_eq!(converted("`a`", "Int32", "Nullable(UInt8)"), "accurateCastOrNull(`a`, 'UInt8')");
        assert_eq!(converted("`a`", "Int32", "String"), "CAST(ifNull(toString(`a`), ''), 'String')");
        assert_eq!(
            converted("`a`", "String", "DateTime64(3, 'UTC')"),
            "ifNull(accurateCastOrNull(`a`, 'DateTime64(3, \\'UTC\\')'), defaultValueOfTypeName('DateTime64(3, \\'UTC\\')'))"
        );
    }
}
