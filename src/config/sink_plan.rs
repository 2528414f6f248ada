//! What the configuration says of one sink, and of each table at it.

use std::sync::Arc;
use std::time::Duration;

use super::rows::RowCondition;
use super::values::{TableValues, ValuePolicy, ZeroDates};
use super::{BatchPlan, DdlPolicy, HashKey, SinkSettings, TableBatch, TableFilter};
use crate::model::{OnDoubt, TableName};

/// One sink.
#[derive(Clone, Debug)]
pub struct SinkPlan {
    /// Its name: the name of its cursor.
    pub name: String,
    /// Template of the target's table names: `{table}` and `{database}` stand for the source's.
    pub table_name: String,
    /// Which of the captured tables it gets; `None`: all of them.
    pub filter: Option<TableFilter>,
    /// What tables without a rule of their own get.
    pub defaults: TableOptions,
    /// The `tables` section, which is for every sink.
    pub shared_rules: Vec<TableRule>,
    /// The sink's own `tables`: what they say goes before what [`SinkPlan::shared_rules`] say, key by key.
    pub rules: Vec<TableRule>,
    /// What is done about changes of definitions.
    pub ddl: DdlPolicy,
    /// How much goes to it at once.
    pub batch: BatchPlan,
    /// What is done when it holds a full log.
    pub on_full: OnFull,
    /// What happens when a row cannot be written.
    pub on_row_error: OnRowError,
    /// Whether a table at the target that replicator did not make is taken over.
    pub adopt: bool,
    /// The column that says of which source and database a row is.
    pub source_tag: Option<SourceTag>,
    /// The key under which columns are hashed.
    pub hash_key: Option<HashKey>,
    /// What is particular to its type; [`SinkPlan::settings()`] has it by type.
    pub settings: Arc<dyn SinkSettings>,
}

/// What is done when a sink holds a full log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// The source waits for it.
    #[default]
    Wait,
    /// It loses its place in the log.
    Detach {
        /// Once the log has been full for so long.
        after: Duration,
    },
}

/// What happens when a row cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRowError {
    /// Its table stops.
    #[default]
    StopTable,
    /// The row change becomes a dead letter, and its table goes on.
    DeadLetter,
}

/// A column that says of which source and database a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTag {
    /// Its name.
    pub column: String,
    /// The source's name, `source.name`.
    pub source: String,
}

/// What is done about a table without a key where the target cannot mirror one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keyless {
    /// The table stops.
    #[default]
    Stop,
    /// It is kept as a history.
    History,
    /// It is not copied to this sink.
    Skip,
}

impl Keyless {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::History => "history",
            Self::Skip => "skip",
        }
    }
}

/// What a sink keeps of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its current state.
    Mirror,
    /// Every change, appended.
    History,
}

/// What a mirror does with a deleted row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Removes it.
    Hard,
    /// Keeps it and sets the soft-delete column to 1.
    Soft,
}

/// How one table is written to one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// State or changelog.
    pub mode: Mode,
    /// What a delete does in a mirror.
    pub deletion: Deletion,
    /// Column that marks a softly deleted row.
    pub soft_delete_column: String,
    /// Column renames, (source, target).
    pub rename: Vec<(String, String)>,
    /// Source columns that are left out.
    pub drop: Vec<String>,
    /// Source columns of which a hash is written.
    pub hash: Vec<String>,
    /// Which rows are written: those that fulfil every condition.
    pub rows: Vec<RowCondition>,
    /// What becomes of values that the target does not hold.
    pub values: ValuePolicy,
    /// What is done without a key where the target cannot mirror that.
    pub keyless: Keyless,
}

impl TableOptions {
    /// Column that marks a softly deleted row, unless told otherwise.
    pub const SOFT_DELETE_COLUMN: &str = "is_deleted";

    /// Of this mode, with hard deletion and every column as it is.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            deletion: Deletion::Hard,
            soft_delete_column: Self::SOFT_DELETE_COLUMN.to_owned(),
            rename: Vec::new(),
            drop: Vec::new(),
            hash: Vec::new(),
            rows: Vec::new(),
            values: ValuePolicy::new(ZeroDates::Keep),
            keyless: Keyless::Stop,
        }
    }

    fn with(&mut self, rule: &TableRule) {
        self.mode = rule.mode.unwrap_or(self.mode);
        self.deletion = rule.deletion.unwrap_or(self.deletion);
        self.keyless = rule.keyless.unwrap_or(self.keyless);
        self.values = self.values.with(rule.values);
        let lists = [(&mut self.drop, &rule.drop), (&mut self.hash, &rule.hash)];
        for (list, own) in lists {
            if let Some(own) = own {
                list.clone_from(own);
            }
        }
        if let Some(rename) = &rule.rename {
            self.rename.clone_from(rename);
        }
        if let Some(rows) = &rule.rows {
            self.rows.clone_from(rows);
        }
    }
}

/// An entry of a `tables` section; what it leaves out comes from the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRule {
    /// The table.
    pub table: TableName,
    /// Column renames, (source, target).
    pub rename: Option<Vec<(String, String)>>,
    /// Source columns that are left out.
    pub drop: Option<Vec<String>>,
    /// Source columns of which a hash is written.
    pub hash: Option<Vec<String>>,
    /// Which rows are written.
    pub rows: Option<Vec<RowCondition>>,
    /// State or changelog.
    pub mode: Option<Mode>,
    /// What a delete does.
    pub deletion: Option<Deletion>,
    /// What becomes of values that the target does not hold.
    pub values: TableValues,
    /// What is done without a key where the target cannot mirror that.
    pub keyless: Option<Keyless>,
    /// What is done about a doubt about it.
    pub on_doubt: Option<OnDoubt>,
    /// When a batch ends that has rows of it.
    pub batch: TableBatch,
}

impl TableRule {
    /// A rule that leaves everything out.
    pub fn new(table: TableName) -> Self {
        Self {
            table,
            rename: None,
            drop: None,
            hash: None,
            rows: None,
            mode: None,
            deletion: None,
            values: TableValues::default(),
            keyless: None,
            on_doubt: None,
            batch: TableBatch::default(),
        }
    }
}

impl SinkPlan {
    /// A plan that says nothing but what every sink needs.
    pub fn new(name: &str, defaults: TableOptions, batch: BatchPlan, settings: Arc<dyn SinkSettings>) -> Self {
        Self {
            name: name.to_owned(),
            table_name: "{table}".to_owned(),
            filter: None,
            defaults,
            shared_rules: Vec::new(),
            rules: Vec::new(),
            ddl: DdlPolicy::APPLY,
            batch,
            on_full: OnFull::Wait,
            on_row_error: OnRowError::StopTable,
            adopt: false,
            source_tag: None,
            hash_key: None,
            settings,
        }
    }

    /// Whether a captured table reaches the sink.
    pub fn takes(&self, table: &TableName) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.captures(&table.database, &table.table))
    }

    /// The options of one table.
    pub fn options_for(&self, table: &TableName) -> TableOptions {
        let mut options = self.defaults.clone();
        for rule in self.rules_for(table) {
            options.with(rule);
        }
        options
    }

    /// When a batch ends that has rows of this table.
    pub fn batch_for(&self, table: &TableName) -> BatchPlan {
        let mut own = TableBatch::default();
        for rule in self.rules_for(table) {
            own = own.or(rule.batch);
        }
        self.batch.within(own)
    }

    /// The tables that have a rule.
    pub fn ruled_tables(&self) -> impl Iterator<Item = &TableName> {
        let is_shared = |rule: &&TableRule| self.shared_rules.iter().any(|shared| shared.table == rule.table);
        self.shared_rules.iter().chain(self.rules.iter().filter(move |rule| !is_shared(rule))).map(|rule| &rule.table)
    }

    /// What is said of a table, the sink's own word last.
    fn rules_for(&self, table: &TableName) -> impl Iterator<Item = &TableRule> {
        self.shared_rules.iter().chain(&self.rules).filter(move |rule| rule.table == *table)
    }

    /// The target's name for a table.
    pub fn target_name(&self, table: &TableName) -> String {
        // One pass, so that a table named "{database}" is not expanded again.
        let mut name = String::with_capacity(self.table_name.len() + table.table.len());
        let mut rest = self.table_name.as_str();
        while let Some(open) = rest.find('{') {
            let (before, tail) = rest.split_at(open);
            name.push_str(before);
            if let Some(after) = tail.strip_prefix("{table}") {
                name.push_str(&table.table);
                rest = after;
            } else if let Some(after) = tail.strip_prefix("{database}") {
                name.push_str(&table.database);
                rest = after;
            } else {
                name.push('{');
                rest = tail.strip_prefix('{').unwrap_or_default();
            }
        }
        name.push_str(rest);
        name
    }
}
