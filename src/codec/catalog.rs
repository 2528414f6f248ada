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
use crate::model::{SchemaId, TableSchema};

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
}

impl Record for SchemaRecord {
    const ENTRY: &'static Entry = &SCHEMA;
}

impl SchemaRecord {
    /// The schema as far as it is known: of an id that is not [`SchemaRecord::Known`], what the binlog says.
    pub fn schema(&self) -> &TableSchema {
        match self {
            Self::Known(schema) | Self::Pending { seen: schema, .. } | Self::LeftOut { seen: schema, .. } => schema,
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

/// Schemas read so far; one per reader.
#[derive(Debug)]
pub struct Catalog {
    reader: Reader,
    /// Ids that are decided: these never change.
    known: HashMap<SchemaId, Resolved>,
}

impl Catalog {
    /// An empty cache over the log.
    pub fn new(reader: Reader) -> Self {
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
            SchemaRecord::Pending { seen, .. } => return Ok(Resolved::Pending(Arc::new(seen))),
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
    use crate::model::{Column, ColumnDefault, ColumnType, Key, KeyKind, TableName};

    /// Logs hold a type by its place in the list of types; new types go to the end.
    #[test]
    fn a_stored_type_keeps_its_number() {
        let stored = |ty: ColumnType| {
            let column = Column { name: "c".into(), ty, nullable: true, default: ColumnDefault::Null };
            let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
            let schema = TableSchema { name: TableName::new("d", "t"), columns: vec![column], key };
            let bytes = stored::encode(&SchemaRecord::Known(schema)).unwrap();
            // Version, variant, database, table, number of columns, the column's name.
            bytes.get(1 + 1 + 2 + 2 + 1 + 2).copied()
        };
        for (ty, number) in [
            (ColumnType::Float, 1),
            (ColumnType::Binary { length: 16 }, 13),
            (ColumnType::Json, 18),
            (ColumnType::Geometry, 19),
            (ColumnType::Vector, 20),
            (ColumnType::Unsupported { code: 1, name: "x".into() }, 21),
            (ColumnType::Uuid, 22),
            (ColumnType::Inet6, 23),
            (ColumnType::Inet4, 24),
        ] {
            assert_eq!(stored(ty.clone()), Some(number), "{ty:?}");
        }
    }
}
