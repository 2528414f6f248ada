//! What stands under a captured name, where that is no table that can be copied: a table that is left out by its nature, a view, a
//! sequence, nothing.
//!
//! A statement says it at its place. Where no statement does (a table made like another one, a renamed view), the server does, as of an
//! end of the binlog, and it counts where the stream has come to that end without a statement about the name.

use tracing::info;

use super::Core;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::tables::Definition;
use crate::model::{ColumnType, IntWidth, Origin, TableName, TableSchema, Told};
use crate::source::mysql::ddl::{AlterOp, CreateTable};
use crate::source::mysql::schema::{Flavour, Instead, LeftOutBy};
use crate::table::Event;

/// The columns of every sequence of MariaDB, in their order.
const SEQUENCE: [&str; 8] = [
    "next_not_cached_value",
    "minimum_value",
    "maximum_value",
    "start_value",
    "increment",
    "cache_size",
    "cycle_option",
    "cycle_count",
];

impl<L: Log> Core<L> {
    /// Whether a statement about the name is about something else than a table: every table is known, since a start lists it and a
    /// statement makes it. MySQL has nothing else that `ALTER TABLE` changes.
    pub(super) fn is_stranger(&self, table: usize) -> bool {
        self.facts.flavour == Flavour::MariaDb && !self.definition(table).is_known()
    }

    /// The server shows a table that can be copied, here.
    pub(super) fn is_a_table(&mut self, table: usize, found: &TableSchema, origin: &Origin) -> Result<(), Failure> {
        self.meet(table, origin)?;
        if !self.definition(table).kin.renamed_from.is_empty() {
            self.redefine(table).kin.renamed_from.clear();
        }
        let is_left_out = self.life(table).nature().is_some();
        if is_left_out && found.first_unsupported().is_none() {
            self.happens(table, Event::Nature { left_out: None }, origin)?;
        }
        Ok(())
    }

    /// The server shows no table that can be copied, here, and no statement has said so.
    pub(super) fn is_instead(&mut self, table: usize, instead: Instead) -> Result<(), Failure> {
        let origin = self.ledger.origin(self.wall);
        match instead {
            Instead::LeftOut(by) => {
                let definition = self.redefine(table);
                definition.kin.renamed_from.clear();
                definition.followed.is_no_matter();
                if let LeftOutBy::Merge { members: Some(members) } = &by {
                    definition.kin.members = Some(members.clone());
                }
                self.happens(table, Event::Nature { left_out: Some(by.to_string()) }, &origin)?;
            }
            Instead::NoTable(kind) => self.is_no_table(table, &kind, &origin)?,
            Instead::Nothing => self.is_no_table(table, "nothing", &origin)?,
        }
        self.commit_here()
    }

    /// The name is not that of a table. What the sinks may have under it came of a statement that was about something else.
    fn is_no_table(&mut self, table: usize, kind: &str, origin: &Origin) -> Result<(), Failure> {
        // What is awaited settles it.
        if self.life(table).awaits.is_some() || !self.definition(table).is_known() {
            return Ok(());
        }
        let name = self.tables.at(table).name.clone();
        info!(table = %name, %kind, "the source has no table of this name, and no statement dropped it");
        let renamed_from = self.definition(table).kin.renamed_from.clone();
        match renamed_from.first() {
            // It was renamed as a temporary table, and kept its name as a table. Its rows since then may have been passed over.
            Some(from) if self.captures(from) && !self.is_met(from) => {
                self.rename_back(&name, from, origin)?;
            }
            _ => self.drop_table(&name, origin)?,
        }
        self.read_again_as(renamed_from, origin)
    }

    /// Whether anything is known of a table's definition.
    fn is_met(&self, table: &TableName) -> bool {
        self.find(table).is_some_and(|(_, definition)| definition.followed.is_met())
    }

    fn rename_back(&mut self, name: &TableName, to: &TableName, origin: &Origin) -> Result<(), Failure> {
        self.rename_table(name, to, origin)?;
        if let Some((table, _)) = self.find(to) {
            self.redefine(table).kin.renamed_from.clear();
        }
        Ok(())
    }

    /// A table was dropped that a statement had renamed from these names, and that never was: there may be tables of these names.
    pub(super) fn read_again_as(&mut self, renamed_from: Vec<TableName>, origin: &Origin) -> Result<(), Failure> {
        for from in renamed_from {
            if self.captures(&from) {
                self.reread(&from, true, "a statement renamed a temporary table of its name, or a view", origin)?;
            }
        }
        Ok(())
    }

    /// `CREATE SEQUENCE`: what had the name is gone.
    pub(super) fn create_sequence(&mut self, sequence: &TableName, origin: &Origin) -> Result<(), Failure> {
        match self.find(sequence) {
            Some((_, definition)) if definition.is_known() => self.drop_table(sequence, origin),
            _ => Ok(()),
        }
    }

    /// A statement about sequences. One of these names may be that of a sequence that is taken for a table; then the server says so.
    pub(super) fn about_sequences(&mut self, sequences: &[TableName]) {
        for sequence in sequences {
            if let Some((table, definition)) = self.find(sequence)
                && definition.is_known()
                && self.captures(sequence)
            {
                self.ask(table);
            }
        }
    }

    /// Whether rows are those of a sequence: they have its columns, and nothing has said that there is a table of that name. A table that
    /// was listed and whose creation the stream is still to come to may be a sequence before that.
    pub(super) fn is_sequence(&self, table: usize, told: &Told) -> bool {
        self.facts.flavour == Flavour::MariaDb
            && !self.life(table).is_captured()
            && !self.followed(table).is_met()
            && looks_like_a_sequence(told)
    }

    /// Why a table that is created cannot be copied.
    pub(super) fn nature_of_created(&self, create: &CreateTable) -> Option<String> {
        if let Some(by) = create.engine.as_deref().and_then(LeftOutBy::engine) {
            return Some(by.to_string());
        }
        if create.system_versioned {
            return Some(LeftOutBy::SystemVersioned.to_string());
        }
        let like = self.tables.find(create.like.as_ref()?)?;
        self.life(like).nature().map(|fault| fault.why.clone())
    }

    /// Whether an operation makes a table one that cannot be copied, or one that can.
    pub(super) fn alter_nature(&mut self, table: usize, op: &AlterOp, origin: &Origin) -> Result<(), Failure> {
        let versioned = LeftOutBy::SystemVersioned.to_string();
        let was_versioned = self.life(table).left_out.as_ref().is_some_and(|fault| fault.why == versioned);
        let left_out = match op {
            AlterOp::SystemVersioningChanged { added: true } => Some(versioned),
            AlterOp::SystemVersioningChanged { added: false } if was_versioned => None,
            AlterOp::Engine(engine) if !was_versioned => LeftOutBy::engine(engine).map(|by| by.to_string()),
            _ => return Ok(()),
        };
        self.happens(table, Event::Nature { left_out }, origin)
    }
}

/// Whether the server has to say what a table is.
pub(super) fn is_in_question(definition: &Definition) -> bool {
    !definition.kin.renamed_from.is_empty() || (is_merge(definition) && definition.kin.members.is_none())
}

/// Whether a table is left out as a MERGE table.
pub(super) fn is_merge(definition: &Definition) -> bool {
    definition.life.nature().is_some_and(|fault| fault.why == LeftOutBy::merge().to_string())
}

fn looks_like_a_sequence(Told { schema: seen, lacks }: &Told) -> bool {
    let is_int = |place: usize| match (&seen.columns.get(place).map(|column| &column.ty), place) {
        (Some(ColumnType::Int { width, .. }), 6) => *width == IntWidth::W1,
        (Some(ColumnType::Int { width, .. }), _) => *width == IntWidth::W8,
        _ => false,
    };
    seen.key.is_none()
        && seen.columns.len() == SEQUENCE.len()
        && (lacks.names || seen.columns.iter().map(|column| column.name.as_str()).eq(SEQUENCE))
        && (0..SEQUENCE.len()).all(is_int)
        && seen.columns.iter().all(|column| !column.nullable)
}
