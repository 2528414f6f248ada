//! A mirror's table made again: empty, with another key, or with types that the server does not convert in place. A second table is
//! filled and takes the first one's name. Readers see the old table until then, and the new one after.
//!
//! The copy is taken inside the barrier that the change is, so both tables have seen the same changes. Exchanging two names twice
//! undoes it; the new table carries the change's LSN in its comment, so a repetition sees that it has been done. An INSERT that the
//! server still works on goes into the table that had the name when it began, which is the old one: that is why a table is not
//! emptied with TRUNCATE.
//!
//! The caller sees to it that the second table's name is free, or what is left of an earlier try.

use super::client::Client;
use super::copy::Copy;
use super::error::Refused;
use super::literal::default_literal;
use super::names::{literal, quoted};
use super::types::{Base, Type};
use crate::config::ValuePolicy;
use crate::error::Failure;
use crate::model::Kept;
use crate::sink::clickhouse::ClickHousePlan;
use crate::sink::definitions::Rebuild;
use crate::sink::left::LeftColumn;
use crate::sink::reshape::Origin;

/// The name of the second table.
pub(super) fn second_name(target: &str) -> String {
    format!("{target}__rebuild")
}

/// Makes `new` out of the table that has its name.
pub(super) async fn rebuild(
    client: &Client,
    plan: &ClickHousePlan,
    (comment, policy): (&str, ValuePolicy),
    rebuild: &Rebuild<'_, String>,
) -> Result<(), Refused> {
    let (new, left) = (rebuild.layout, &rebuild.left);
    let target = &new.target;
    let second = place(plan, &second_name(target));
    let mut making = vec![new.create_statement(&plan.database, &second_name(target), comment)];
    if !left.is_empty() {
        let add = |left: &LeftColumn| format!("ADD COLUMN {} {}", quoted(&left.new_name), left.definition);
        let left: Vec<_> = left.iter().map(add).collect();
        making.push(format!("ALTER TABLE {second} {}", left.join(", ")));
    }
    let copy = if rebuild.is_filled {
        let values = values(rebuild, left, policy).map_err(|failure| Refused::refused_here(failure.chain()))?;
        let (columns, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Some(Copy {
            into: second,
            columns: columns.join(", "),
            values: values.join(", "),
            from: place(plan, target),
            layout: &rebuild.old.layout,
            only: None,
        })
    } else {
        None
    };
    exchange(client, plan, comment, target, (&making, copy)).await
}

/// Puts a table without rows in the place of `target`, with all that somebody may have added to its definition.
pub(super) async fn empty(client: &Client, plan: &ClickHousePlan, comment: &str, target: &str) -> Result<(), Refused> {
    let (second, first) = (place(plan, &second_name(target)), place(plan, target));
    let making = format!("CREATE TABLE {second} AS {first} COMMENT {}", literal(comment));
    exchange(client, plan, comment, target, (&[making], None)).await
}

/// Makes and fills the second table and gives it the first one's name, unless that has been done.
async fn exchange(
    client: &Client,
    plan: &ClickHousePlan,
    comment: &str,
    target: &str,
    (making, copy): (&[String], Option<Copy<'_>>),
) -> Result<(), Refused> {
    let (second, first) = (place(plan, &second_name(target)), place(plan, target));
    let drop_second = format!("DROP TABLE IF EXISTS {second} SYNC SETTINGS max_table_size_to_drop = 0");
    let sql = format!(
        "SELECT count() FROM system.tables WHERE database = {} AND name = {} AND comment = {}",
        literal(&plan.database),
        literal(target),
        literal(comment)
    );
    let done: Vec<(u64,)> = client.rows(&sql).await?;
    if done.first().is_none_or(|(count,)| *count == 0) {
        client.execute(&drop_second, false).await?;
        for sql in making {
            client.execute(sql, true).await.map_err(|error| error.of_statement(sql))?;
        }
        if let Some(copy) = copy
            && let Err(refused) = copy.run(client).await
        {
            if refused.code.is_some() {
                // Half a copy is of no use, and may be what there is no space for. A broken connection is no answer: the server
                // may still be filling it.
                if let Err(error) = client.execute(&drop_second, false).await {
                    tracing::warn!(table = %second, %error, "what was copied before a refusal cannot be dropped yet");
                }
            }
            return Err(refused);
        }
        client.execute(&format!("EXCHANGE TABLES {first} AND {second}"), false).await?;
    }
    client.execute(&drop_second, false).await
}

fn place(plan: &ClickHousePlan, table: &str) -> String {
    format!("{}.{}", quoted(&plan.database), quoted(table))
}

/// The columns of the new table, each with an expression over the old one.
fn values(
    rebuild: &Rebuild<'_, String>,
    left: &[LeftColumn],
    policy: ValuePolicy,
) -> Result<Vec<(String, String)>, Failure> {
    let Rebuild { old, schema, layout: new, origins, .. } = rebuild;
    let mut values = Vec::new();
    for (name, _) in new.insert_columns() {
        let place = new.columns.iter().position(|column| column.name == name);
        let value = match place.and_then(|place| Some((new.columns.get(place)?, origins.get(place)?))) {
            Some((column, Origin::Kept { place, kept })) => match old.layout.columns.get(*place) {
                Some(before) => {
                    // No read brings softly deleted rows: they keep what the new type holds of their values.
                    let kept = if new.soft.is_some() { Kept::Same } else { *kept };
                    converted(&quoted(&before.name), &before.ty, &column.ty, kept)
                }
                None => empty_value(&column.ty),
            },
            Some((column, Origin::Added)) => {
                let default = match schema.columns.get(column.source) {
                    Some(source) => default_literal(&schema.name, source, &column.ty, policy)?,
                    None => None,
                };
                default.unwrap_or_else(|| empty_value(&column.ty))
            }
            // The version, and the mark of a soft or hard deletion.
            None => quoted(&name),
        };
        values.push((quoted(&name), value));
    }
    values.extend(left.iter().map(|left| (quoted(&left.new_name), quoted(&left.name))));
    Ok(values)
}

fn empty_value(ty: &str) -> String {
    format!("defaultValueOfTypeName({})", literal(ty))
}

/// The old column as the new type. Values that a read of the source brings are not copied: what the server makes of them may be refused.
fn converted(column: &str, old: &str, new: &str, kept: Kept) -> String {
    if kept == Kept::Unknown {
        return empty_value(new);
    }
    if old == new {
        return column.to_owned();
    }
    let empty = empty_value(new);
    let (Some(before), Some(ty)) = (Type::parse(old), Type::parse(new)) else { return empty };
    match &ty.base {
        Base::String { .. } => {
            let text = match before.base {
                // The labels of a SET.
                Base::Strings => format!("arrayStringConcat({column}, ',')"),
                _ => format!("toString({column})"),
            };
            let text = if ty.nullable { text } else { format!("ifNull({text}, '')") };
            format!("CAST({text}, {})", literal(new))
        }
        base if !is_castable(&before.base, base) => empty,
        base => {
            let near = format!("accurateCastOrNull({column}, {})", literal(&base.to_string()));
            if ty.nullable { near } else { format!("ifNull({near}, {empty})") }
        }
    }
}

/// Whether the server makes the values of one type those of another, one by one: of other types it refuses the whole statement, for the
/// types or for a single value that does not fit.
fn is_castable(old: &Base, new: &Base) -> bool {
    match (old, new) {
        (_, Base::Floats | Base::Strings | Base::Json) => false,
        (Base::String { .. }, _)
        | (Base::Int { .. }, Base::Int { .. } | Base::Float64)
        | (Base::Float32 | Base::Float64, Base::Float32 | Base::Float64)
        | (Base::DateTime64 { .. }, Base::DateTime64 { .. })
        | (Base::Date32, Base::DateTime64 { .. })
        | (Base::Time64 { .. }, Base::Time64 { .. }) => true,
        (Base::Decimal { precision: a, scale: x }, Base::Decimal { precision: b, scale: y }) => {
            y >= x && b.saturating_sub(*y) >= a.saturating_sub(*x)
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_new_type_cannot_hold_become_its_empty_value_until_they_are_read_again() {
        assert_eq!(converted("`a`", "Int32", "Int32", Kept::Same), "`a`");
        assert_eq!(
            converted("`a`", "Int32", "UInt8", Kept::Same),
            "ifNull(accurateCastOrNull(`a`, 'UInt8'), defaultValueOfTypeName('UInt8'))"
        );
        assert_eq!(converted("`a`", "Int32", "Nullable(UInt8)", Kept::Same), "accurateCastOrNull(`a`, 'UInt8')");
        assert_eq!(converted("`a`", "Int32", "String", Kept::Same), "CAST(ifNull(toString(`a`), ''), 'String')");
        assert_eq!(
            converted("`a`", "Array(String)", "Nullable(String)", Kept::Same),
            "CAST(arrayStringConcat(`a`, ','), 'Nullable(String)')"
        );
        for (old, new) in [("Decimal(10, 1)", "UInt32"), ("Date32", "Decimal(8, 0)"), ("Time64(0)", "Int32")] {
            assert_eq!(
                converted("`a`", old, new, Kept::Same),
                format!("defaultValueOfTypeName('{new}')"),
                "the server refuses it"
            );
        }
        assert_eq!(
            converted("`a`", "String", "DateTime64(3, 'UTC')", Kept::Same),
            "ifNull(accurateCastOrNull(`a`, 'DateTime64(3, \\'UTC\\')'), defaultValueOfTypeName('DateTime64(3, \\'UTC\\')'))"
        );
    }
}
