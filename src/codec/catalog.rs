//! Schemas by id, kept in the log's state beside the frames that name them.
//!
//! The writer of the log gives out ids and stores each schema in the same commit as the first frame that names it, so a
//! reader that sees the frame finds the schema.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wal::Reader;

use super::state::State;
use super::stored::{self, Entry, Record, SCHEMA};
use crate::error::Failure;
use crate::model::{Lacks, SchemaId, TableSchema};

/// What the log says of a schema id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaRecord {
    /// The schema of every image under the id.
    Known(TableSchema),
    /// The server is still asked for a part of it. The images are in the log at their place; delivery waits for the answer.
    Pending {
        /// What the binlog says of it.
        seen: TableSchema,
        /// Places of the columns whose type is asked for. The key is asked for if `seen` has none.
        unknown: Vec<u16>,
        /// The table's schema before it.
        before: Option<SchemaId>,
    },
    /// It could not be known: rows under the id are left out, and the table is read again.
    LeftOut {
        /// What the binlog says of it.
        seen: TableSchema,
        /// The table's schema before it.
        before: Option<SchemaId>,
        /// Why, for an operator.
        reason: String,
    },
    /// The server is still asked for all of it: the binlog has no names. The images are in the log at their place; delivery waits for the
    /// answer.
    Unnamed {
        /// What the binlog says of it; columns are called by their places (`@1`).
        seen: TableSchema,
        /// What it does not say.
        lacks: Lacks,
        /// The table's schema before it.
        before: Option<SchemaId>,
    },
}

impl Record for SchemaRecord {
    const ENTRY: &'static Entry = &SCHEMA;
}

impl SchemaRecord {
    /// The schema as far as it is known: of an id that is not [`SchemaRecord::Known`], what the binlog says.
    pub fn schema(&self) -> &TableSchema {
        match self {
            Self::Known(schema)
            | Self::Pending { seen: schema, .. }
            | Self::LeftOut { seen: schema, .. }
            | Self::Unnamed { seen: schema, .. } => schema,
        }
    }
}

/// What a sink gets of a schema id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The schema.
    Known(Arc<TableSchema>),
    /// Not decided yet.
    Pending(Arc<TableSchema>),
    /// Rows under the id are left out; `before` is the table's schema before it.
    LeftOut {
        /// What the binlog says of the schema.
        seen: Arc<TableSchema>,
        /// The table's schema before it.
        before: Option<SchemaId>,
    },
}

impl Resolved {
    /// The schema as far as it is known.
    pub fn schema(&self) -> &Arc<TableSchema> {
        match self {
            Self::Known(schema) | Self::Pending(schema) | Self::LeftOut { seen: schema, .. } => schema,
        }
    }
}

/// Schemas read so far; one per reader of the log's state.
#[derive(Debug)]
pub struct Catalog<S = Reader> {
    reader: S,
    /// Ids that are decided: these never change.
    known: HashMap<SchemaId, Resolved>,
}

impl<S: State> Catalog<S> {
    /// An empty cache over the log.
    pub fn new(reader: S) -> Self {
        Self { reader, known: HashMap::new() }
    }

    /// What the log says of the id at this moment.
    ///
    /// # Errors
    /// Fatal, when the log does not hold it or cannot be read.
    pub fn resolve(&mut self, id: SchemaId) -> Result<Resolved, Failure> {
        if let Some(resolved) = self.known.get(&id) {
            return Ok(resolved.clone());
        }
        let record: Option<SchemaRecord> = stored::get(&self.reader, &SCHEMA.of_number(id.0))?;
        let record = record
            .ok_or_else(|| Failure::fatal(format!("the log holds no schema {id}")).hint("see replicator wal verify"))?;
        let resolved = match record {
            SchemaRecord::Known(schema) => Resolved::Known(Arc::new(schema)),
            SchemaRecord::Pending { seen, .. } | SchemaRecord::Unnamed { seen, .. } => {
                return Ok(Resolved::Pending(Arc::new(seen)));
            }
            SchemaRecord::LeftOut { seen, before, .. } => Resolved::LeftOut { seen: Arc::new(seen), before },
        };
        self.known.insert(id, resolved.clone());
        Ok(resolved)
    }

    /// What the binlog says of an id that is not decided at this moment.
    ///
    /// # Errors
    /// As [`Catalog::resolve`].
    pub fn pending(&mut self, id: SchemaId) -> Result<Option<Arc<TableSchema>>, Failure> {
        if self.known.contains_key(&id) {
            return Ok(None);
        }
        match self.resolve(id)? {
            Resolved::Pending(seen) => Ok(Some(seen)),
            Resolved::Known(_) | Resolved::LeftOut { .. } => Ok(None),
        }
    }

    /// The schema of an id that is known.
    ///
    /// # Errors
    /// As [`Catalog::resolve`]; fatal, when the id is still pending or is left out.
    pub fn get(&mut self, id: SchemaId) -> Result<Arc<TableSchema>, Failure> {
        match self.resolve(id)? {
            Resolved::Known(schema) => Ok(schema),
            unknown => {
                let table = &unknown.schema().name;
                Err(Failure::fatal(format!("schema {id} of table \"{table}\" is not known")))
            }
        }
    }

    /// Every schema the log holds, by id.
    ///
    /// # Errors
    /// As [`all_schemas`].
    pub fn all(&self) -> Result<Vec<(SchemaId, SchemaRecord)>, Failure> {
        all_schemas(&self.reader)
    }
}

/// Every schema of a log, by id.
///
/// # Errors
/// Fatal, when the log cannot be read, or a key or a record is damaged.
pub fn all_schemas(state: &impl State) -> Result<Vec<(SchemaId, SchemaRecord)>, Failure> {
    let entries = state.under(SCHEMA.key()).map_err(|error| Failure::fatal("cannot read the log").caused_by(error))?;
    entries
        .into_iter()
        .map(|(key, value)| {
            let id = key.get(SCHEMA.key().len()..).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
            let id = id.ok_or_else(|| Failure::fatal("a schema in the log has a damaged key"))?;
            Ok((SchemaId(id), stored::decode(&value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attributes, Charset, Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, TableName};

    /// Every type, by its place in the list of types: a new one goes to the end.
    fn types() -> Vec<ColumnType> {
        use ColumnType as T;
        let charset = || Charset::new("utf8mb4");
        let members = || vec!["a".to_owned(), "b c".to_owned()];
        let widths = [IntWidth::W1, IntWidth::W2, IntWidth::W3, IntWidth::W4, IntWidth::W8];
        let mut types: Vec<_> = widths.map(|width| T::Int { width, unsigned: width == IntWidth::W8 }).into();
        types.extend([
            T::Float,
            T::Double,
            T::Decimal { precision: 65, scale: 30 },
            T::Year,
            T::Date,
            T::Time { fsp: 6 },
            T::DateTime { fsp: 3 },
            T::Timestamp { fsp: 0 },
            T::Bit { bits: 64 },
            T::Char { max_bytes: 300, charset: charset() },
            T::VarChar { max_bytes: u16::MAX, charset: Charset::new("latin1") },
            T::Text { length_bytes: 4, charset: charset() },
            T::Binary { length: 16 },
            T::VarBinary { max_bytes: 1000 },
            T::Blob { length_bytes: 2 },
            T::Enum { members: members() },
            T::Set { members: members() },
            T::Json,
            T::Geometry,
            T::Vector,
            T::Unsupported { code: 245, name: "unknown".into() },
            T::Uuid,
            T::Inet6,
            T::Inet4,
        ]);
        types
    }

    fn records() -> Vec<(&'static str, SchemaRecord)> {
        let column = |name: &str, ty, default| Column {
            name: name.into(),
            ty,
            nullable: default == ColumnDefault::Null,
            default,
            attributes: (name == "a").then(|| Attributes {
                generated: Some("b + 1".into()),
                auto_increment: true,
                digits: Some((10, 2)),
                unsigned: true,
                zerofill: true,
            }),
            collation: (name == "a").then_some(45),
        };
        let schema = |columns: Vec<Column>, key| TableSchema { name: TableName::new("shop", "users"), columns, key };
        let id = || column("id", ColumnType::Int { width: IntWidth::W4, unsigned: true }, ColumnDefault::Unknown);
        let name = || {
            let charset = Charset::new("utf8mb4");
            column("name", ColumnType::VarChar { max_bytes: 400, charset }, ColumnDefault::Null)
        };
        let by_id = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
        let all = types().into_iter().map(|ty| column("c", ty, ColumnDefault::Unknown)).collect();
        let status = column("status", ColumnType::Year, ColumnDefault::Value(vec![125]));
        let unique = Some(Key { kind: KeyKind::Unique, columns: vec![1, 0] });
        vec![
            ("known", SchemaRecord::Known(schema(vec![id(), name()], by_id.clone()))),
            ("known_with_default", SchemaRecord::Known(schema(vec![id(), name(), status], unique))),
            ("known_with_every_type", SchemaRecord::Known(schema(all, None))),
            (
                "pending",
                SchemaRecord::Pending {
                    seen: schema(vec![id(), name()], by_id.clone()),
                    unknown: vec![1, 300],
                    before: Some(SchemaId(1)),
                },
            ),
            ("pending_first", SchemaRecord::Pending { seen: schema(vec![id()], None), unknown: vec![], before: None }),
            (
                "unnamed",
                SchemaRecord::Unnamed {
                    seen: schema(vec![id(), name()], None),
                    lacks: Lacks::MINIMAL,
                    before: Some(SchemaId(1)),
                },
            ),
            (
                "left_out",
                SchemaRecord::LeftOut {
                    seen: schema(vec![id(), name()], by_id),
                    before: Some(SchemaId(2)),
                    reason: "no answer within 2s".into(),
                },
            ),
        ]
    }

    #[test]
    fn a_schema_is_stored_as_committed() {
        stored::fixture::check(&records());
    }
}
