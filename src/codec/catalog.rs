//! Schemas by id, kept in the log's state beside the frames that name them.
//!
//! The writer of the log gives out ids and stores each schema in the same commit as the first frame that names it, so a
//! reader that sees the frame finds the schema.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{SchemaId, TableSchema};

const PREFIX: &[u8] = b"schema/";
const LIMIT: usize = 16 << 20;

/// A schema that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The log failed.
    #[error("cannot read schema {id} from the log")]
    Log {
        /// Which.
        id: SchemaId,
        /// Why.
        #[source]
        source: wal::Error,
    },
    /// The log names a schema it does not hold.
    #[error("the log holds no schema {0}")]
    Missing(SchemaId),
    /// The stored schema is not readable.
    #[error("schema {id} in the log is damaged")]
    Damaged {
        /// Which.
        id: SchemaId,
        /// Why.
        #[source]
        source: bincode::error::DecodeError,
    },
}

/// Key of a schema in the log's state.
pub fn state_key(id: SchemaId) -> Vec<u8> {
    [PREFIX, &id.0.to_be_bytes()].concat()
}

/// A schema as its state value.
///
/// # Errors
/// When the schema is beyond 16 MiB.
pub fn encode_schema(schema: &TableSchema) -> Result<Vec<u8>, bincode::error::EncodeError> {
    bincode::serde::encode_to_vec(schema, bincode::config::standard().with_limit::<LIMIT>())
}

/// A schema from its state value.
///
/// # Errors
/// When the bytes are not a schema.
pub fn decode_schema(bytes: &[u8]) -> Result<TableSchema, bincode::error::DecodeError> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
        .map(|(schema, _)| schema)
}

/// Schemas read so far; one per reader.
#[derive(Debug)]
pub struct Catalog {
    reader: wal::Reader,
    known: HashMap<SchemaId, Arc<TableSchema>>,
}

impl Catalog {
    /// An empty cache over the log.
    pub fn new(reader: wal::Reader) -> Self {
        Self { reader, known: HashMap::new() }
    }

    /// The schema of `id`.
    ///
    /// # Errors
    /// [`CatalogError`] when the log does not hold it or cannot be read.
    pub fn get(&mut self, id: SchemaId) -> Result<Arc<TableSchema>, CatalogError> {
        if let Some(schema) = self.known.get(&id) {
            return Ok(Arc::clone(schema));
        }
        let bytes = self.reader.state(&state_key(id)).map_err(|source| CatalogError::Log { id, source })?;
        let bytes = bytes.ok_or(CatalogError::Missing(id))?;
        let schema = Arc::new(decode_schema(&bytes).map_err(|source| CatalogError::Damaged { id, source })?);
        self.known.insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// Every schema the log holds, by id.
    ///
    /// # Errors
    /// [`CatalogError`] when the log cannot be read or a schema is damaged.
    pub fn all(&mut self) -> Result<Vec<(SchemaId, Arc<TableSchema>)>, CatalogError> {
        let first = SchemaId(0);
        let entries = self.reader.state_prefix(PREFIX).map_err(|source| CatalogError::Log { id: first, source })?;
        let mut all = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let id = key.get(PREFIX.len()..).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes).map(SchemaId);
            let id = id.ok_or(CatalogError::Missing(first))?;
            let schema = decode_schema(&value).map_err(|source| CatalogError::Damaged { id, source })?;
            all.push((id, Arc::new(schema)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnDefault, ColumnType, Key, KeyKind, TableName};

    /// Logs hold a type by its place in the list of types; what is new stands behind what is old.
    #[test]
    fn a_stored_type_keeps_its_number() {
        let stored = |ty: ColumnType| {
            let column = Column { name: "c".into(), ty, nullable: true, default: ColumnDefault::Null };
            let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
            let schema = TableSchema { name: TableName::new("d", "t"), columns: vec![column], key };
            let bytes = encode_schema(&schema).unwrap();
            assert_eq!(decode_schema(&bytes).unwrap(), schema);
            // Database, table, number of columns, the column's name.
            bytes.get(2 + 2 + 1 + 2).copied()
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
