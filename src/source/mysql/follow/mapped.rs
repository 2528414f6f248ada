//! What a `TABLE_MAP` says of a table whose definition was followed up to here.
//!
//! With less metadata than FULL it says no names, and no key. Then it can only agree with a schema that is known otherwise: the current
//! one where no statement has touched the table since, or the one that the statements since come to. Otherwise the server is asked for
//! all of it; and where no statement explains the difference, the table was changed past the binlog.
//!
//! A `TABLE_MAP` does not tell MariaDB's `UUID`, `INET6` and `INET4` from a `BINARY` of their length, nor does it name a unique key over
//! prefixes. What they are is known from the table's schema, if no statement has touched them since, or from a statement that said so.
//! Otherwise the server is asked, and the rows wait for its answer.

use std::sync::Arc;

use super::known::{Current, Followed};
use super::lineage::{Came, ColumnSteps, Defined, Lineage};
use super::typed::{Known, Typed};
use crate::model::{ColumnType, Key, KeyKind, TableSchema, Told};
use crate::source::mysql::ddl::{Definition, TypeName};
use crate::source::mysql::schema::Flavour;

/// What of a server decides which types its binlog does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Which of the two.
    pub flavour: Flavour,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
}

impl Dialect {
    /// Whether any type is one that the binlog calls `BINARY`.
    pub(super) fn hides_any(self) -> bool {
        self.flavour == Flavour::MariaDb
    }

    /// Whether images may have columns that the server keeps for itself.
    pub(super) fn hides_columns(self) -> bool {
        self.flavour == Flavour::MariaDb
    }

    /// Whether a column that the binlog calls `BINARY(length)` may be something else on this server.
    fn may_hide(self, length: u16) -> bool {
        self.hides_any()
            && match length {
                // INET6 came with 10.5, UUID with 10.7, INET4 with 10.10.
                16 => self.version >= (10, 5, 0),
                4 => self.version >= (10, 10, 0),
                _ => false,
            }
    }

    /// The length of the `BINARY` that the binlog calls a column of this type, if the column may be something else.
    pub(super) fn hidden_length(self, ty: &ColumnType) -> Option<u16> {
        match ty.as_told() {
            ColumnType::Binary { length } if self.may_hide(length) => Some(length),
            _ => None,
        }
    }

    /// Whether any column of a schema may be something else than the binlog calls it.
    fn hides_types(self, schema: &TableSchema) -> bool {
        schema.columns.iter().any(|column| self.hidden_length(&column.ty).is_some())
    }
}

/// What a `TABLE_MAP` comes to.
#[derive(Debug)]
pub enum Mapped {
    /// Its rows are of the schema that is current.
    AsKnown,
    /// Its rows are of this one.
    Adopt(TableSchema),
    /// Its rows are of this one, of which the server has to say more.
    Ask {
        /// What is known of it.
        schema: TableSchema,
        /// Places of the columns whose type is not known. The key may not be known either.
        unknown: Vec<u16>,
    },
    /// Its rows are of this one, which the statements since the last one come to, and which the server was asked for.
    Predicted(TableSchema),
    /// Only the server can say what its rows are of.
    AskAll,
    /// Its rows are of another schema than the current one, and no statement has come since.
    Unexplained,
}

/// What is known of the types of a table's columns.
pub(super) struct Types<'a> {
    typed: &'a Typed,
    pub(super) before: Option<&'a Arc<TableSchema>>,
    pub(super) lineage: Lineage,
}

impl Types<'_> {
    pub(super) fn known(&self, column: &str) -> Known {
        if self.lineage.doubtful() {
            return Known::Nothing;
        }
        self.typed.known(column, self.before.map(AsRef::as_ref), &self.lineage)
    }
}

impl Followed {
    /// What rows are of whose `TABLE_MAP` says this. `is_pending`: the current schema's id waits for an answer.
    pub fn mapped(&self, told: &Told, dialect: Dialect, is_pending: bool) -> Mapped {
        if told.is_whole() {
            self.mapped_whole(&told.schema, dialect, is_pending)
        } else {
            self.mapped_in_part(told, dialect, is_pending)
        }
    }

    fn mapped_in_part(&self, told: &Told, dialect: Dialect, is_pending: bool) -> Mapped {
        let fits = |schema: &TableSchema| told.fits(schema, dialect.hides_columns()).is_some();
        let is_untouched = if is_pending { self.is_untouched() } else { self.is_as_described() };
        if let Some(current) = self.current.as_ref().filter(|_| is_untouched) {
            return match fits(&current.schema) {
                true => Mapped::AsKnown,
                false if is_pending => Mapped::AskAll,
                false => Mapped::Unexplained,
            };
        }
        match &self.predicted {
            Some(predicted) if fits(predicted) => Mapped::Predicted(TableSchema::clone(predicted)),
            _ => Mapped::AskAll,
        }
    }

    fn mapped_whole(&self, seen: &TableSchema, dialect: Dialect, is_pending: bool) -> Mapped {
        let (mut schema, unknown) = self.resolve(seen, dialect);
        // A column may have gone and come again, and look the same.
        let moved = self.since.steps.iter().any(ColumnSteps::moves_columns);
        let same = self.current.as_ref().filter(|current| !moved && current.schema.same_image(&schema));
        if let Some(current) = same {
            // A column whose type cannot be known is carried as the binlog calls it, until a statement is about it.
            let is_guess = |place: &u16| {
                seen.columns.get(usize::from(*place)).is_some_and(|column| self.typed.is_guess(&column.name))
            };
            let is_keyed = schema.key.is_some() || !self.since.key_unknown;
            // The same image again, while what it does not say is asked for.
            if is_pending || (is_keyed && unknown.iter().all(is_guess)) {
                if is_pending || self.since.steps.is_empty() {
                    return Mapped::AsKnown;
                }
                // A column may have been defined in a way that its image does not show.
                schema.key = schema.key.or_else(|| current.kept_key(seen));
                return Mapped::Adopt(schema);
            }
        }
        if unknown.is_empty() && schema.key.is_some() {
            return Mapped::Adopt(schema);
        }
        if schema.key.is_none() {
            // Until the server has said which unique key there is.
            let kept = self.current.as_ref().filter(|_| !self.since.key_unknown);
            schema.key = kept.and_then(|current| kept_key(&current.schema, &schema));
        }
        Mapped::Ask { schema, unknown }
    }

    pub(super) fn types(&self) -> Types<'_> {
        let before = self.current.as_ref().map(|current| &current.schema);
        Types { typed: &self.typed, before, lineage: self.lineage() }
    }

    /// `seen` with the types that it calls `BINARY`, and the places of the columns whose type is not known.
    fn resolve(&self, seen: &TableSchema, dialect: Dialect) -> (TableSchema, Vec<u16>) {
        let (mut schema, mut unknown) = (seen.clone(), Vec::new());
        if !dialect.hides_types(seen) {
            return (schema, unknown);
        }
        let types = self.types();
        for (place, column) in schema.columns.iter_mut().enumerate() {
            let Some(length) = dialect.hidden_length(&column.ty) else { continue };
            match types.known(&column.name).told(length) {
                Some(ty) => column.ty = ty,
                None => unknown.extend(u16::try_from(place)),
            }
        }
        (schema, unknown)
    }

    /// Whether a description of the table agrees with what statements have said of its types.
    pub fn allows(&self, found: &TableSchema, dialect: Dialect) -> bool {
        if !dialect.hides_any() {
            return true;
        }
        let types = self.types();
        found.columns.iter().all(|column| types.known(&column.name).allows(&column.ty))
    }

    /// The columns with their types, as a statement would list them; `None` where one of them is not known.
    pub fn columns(&self) -> Option<Vec<(String, TypeName)>> {
        let types = self.types();
        types.before?;
        // A type that was taken from a description holds at its place. Before that place a statement may still show another one.
        if !self.has_names() || self.typed.described_until().is_some() {
            return None;
        }
        let named = |name: String| {
            let ty = match types.known(&name) {
                Known::Is(ColumnType::Uuid) => TypeName::Uuid,
                Known::Is(ColumnType::Inet6) => TypeName::Inet6,
                Known::Is(ColumnType::Inet4) => TypeName::Inet4,
                Known::Is(_) | Known::SaidOther | Known::WasOther => TypeName::Other,
                Known::Nothing => return None,
            };
            Some((name, ty))
        };
        types.lineage.names().into_iter().map(named).collect()
    }
}

impl Followed {
    /// What is known of the columns' definitions, as a statement that makes a table like this one has it.
    pub fn definitions(&self) -> Vec<(String, Definition)> {
        let lineage = self.lineage();
        let before = self.current.as_ref().map(|current| &current.schema);
        let known = |name: String| {
            let attributes = match (lineage.defined(&name), lineage.came(&name)) {
                (Defined::Once(definition) | Defined::Again(definition), _) => definition.attributes.clone(),
                (Defined::Untouched, Some(Came::From(old))) => {
                    let before = before?;
                    before.columns.get(before.column_index(old)?)?.attributes.clone()?
                }
                (Defined::Untouched, Some(Came::Added(_)) | None) => return None,
            };
            Some((name, Definition { attributes, text: String::new() }))
        };
        if self.since.unreadable || !self.has_names() {
            Vec::new()
        } else {
            lineage.names().into_iter().filter_map(known).collect()
        }
    }
}

impl Current {
    /// Its unique key under another schema, if all its columns are still there and not null.
    pub fn kept_key(&self, new: &TableSchema) -> Option<Key> {
        kept_key(&self.schema, new)
    }
}

/// The old schema's unique key under the new one, if all its columns are still there and not null.
fn kept_key(old: &TableSchema, new: &TableSchema) -> Option<Key> {
    // A primary key that is gone from the TABLE_MAP is gone; only a unique key over prefixes is not named there.
    let key = old.key.as_ref().filter(|key| key.kind == KeyKind::Unique)?;
    let columns = key
        .columns
        .iter()
        .map(|index| {
            let name = &old.columns.get(usize::from(*index))?.name;
            let index = new.column_index(name)?;
            let kept = new.columns.get(index).is_some_and(|column| !column.nullable);
            if kept { u16::try_from(index).ok() } else { None }
        })
        .collect::<Option<Vec<u16>>>()?;
    Some(Key { kind: key.kind, columns })
}
