//! From the first words of a statement to what it is.

use super::alter;
use super::create;
use super::cursor::Cursor;
use super::names;
use super::statement::{Statement, XaStep};
use super::tokens::{SqlMode, Token};
use super::writes;
use crate::model::{Names, TableName};

/// What the first word of a statement says.
#[derive(Clone, Copy)]
enum Verb {
    Begin,
    Start,
    Commit,
    Rollback,
    Savepoint,
    Release,
    Xa,
    Create,
    Alter,
    Drop,
    Rename,
    Truncate,
    Set,
    Analyze,
    Load,
    Insert,
    Update,
    Delete,
    /// Changes rows of tables it names.
    Write,
    /// Changes rows, if at all, in a routine.
    Routine,
    Irrelevant,
}

/// Verbs by their word, the frequent ones first.
const VERBS: &[(&str, Verb)] = &[
    ("BEGIN", Verb::Begin),
    ("COMMIT", Verb::Commit),
    ("SAVEPOINT", Verb::Savepoint),
    ("ROLLBACK", Verb::Rollback),
    ("CREATE", Verb::Create),
    ("ALTER", Verb::Alter),
    ("DROP", Verb::Drop),
    ("TRUNCATE", Verb::Truncate),
    ("RENAME", Verb::Rename),
    ("XA", Verb::Xa),
    ("INSERT", Verb::Insert),
    ("UPDATE", Verb::Update),
    ("DELETE", Verb::Delete),
    ("REPLACE", Verb::Insert),
    ("LOAD", Verb::Load),
    ("WITH", Verb::Write),
    ("START", Verb::Start),
    ("RELEASE", Verb::Release),
    ("SET", Verb::Set),
    ("ANALYZE", Verb::Analyze),
    ("CALL", Verb::Routine),
    ("DO", Verb::Routine),
    ("EXECUTE", Verb::Routine),
    ("SELECT", Verb::Routine),
    ("TABLE", Verb::Routine),
    ("VALUES", Verb::Routine),
    ("BACKUP", Verb::Irrelevant),
    ("BINLOG", Verb::Irrelevant),
    ("CACHE", Verb::Irrelevant),
    ("CHANGE", Verb::Irrelevant),
    ("CHECK", Verb::Irrelevant),
    ("CHECKSUM", Verb::Irrelevant),
    ("CLONE", Verb::Irrelevant),
    ("DEALLOCATE", Verb::Irrelevant),
    ("DESC", Verb::Irrelevant),
    ("DESCRIBE", Verb::Irrelevant),
    ("EXPLAIN", Verb::Irrelevant),
    ("FLUSH", Verb::Irrelevant),
    ("GET", Verb::Irrelevant),
    ("GRANT", Verb::Irrelevant),
    ("HANDLER", Verb::Irrelevant),
    ("HELP", Verb::Irrelevant),
    ("INSTALL", Verb::Irrelevant),
    ("KILL", Verb::Irrelevant),
    ("LOCK", Verb::Irrelevant),
    ("OPTIMIZE", Verb::Irrelevant),
    ("PREPARE", Verb::Irrelevant),
    ("PURGE", Verb::Irrelevant),
    ("REPAIR", Verb::Irrelevant),
    ("RESET", Verb::Irrelevant),
    ("RESIGNAL", Verb::Irrelevant),
    ("RESTART", Verb::Irrelevant),
    ("REVOKE", Verb::Irrelevant),
    ("SHOW", Verb::Irrelevant),
    ("SHUTDOWN", Verb::Irrelevant),
    ("SIGNAL", Verb::Irrelevant),
    ("STOP", Verb::Irrelevant),
    ("UNINSTALL", Verb::Irrelevant),
    ("UNLOCK", Verb::Irrelevant),
    ("USE", Verb::Irrelevant),
];

/// Kinds of objects whose `CREATE`, `ALTER` and `DROP` change no row and no table.
const OTHER_OBJECTS: &[&str] = &[
    "AGGREGATE",
    "ALGORITHM",
    "DEFINER",
    "EVENT",
    "FUNCTION",
    "INSTANCE",
    "JSON",
    "LIBRARY",
    "LOGFILE",
    "MATERIALIZED",
    "PACKAGE",
    "PREPARE",
    "PROCEDURE",
    "RESOURCE",
    "ROLE",
    "SERVER",
    "SQL",
    "TABLESPACE",
    "TRIGGER",
    "UNDO",
    "USER",
    "VIEW",
];

/// Says what a statement of a server with [`Names::Exact`] is: [`parse_under`].
pub fn parse(sql: &str, default_database: &str, mode: SqlMode) -> Statement {
    parse_under(Names::Exact, sql, default_database, mode)
}

/// Says what a statement is. `default_database` is the one that was in use when it ran; the event carries it. `names`: the server's rule
/// for names of databases and tables, by which it knows what the text names.
///
/// Never fails and never panics: what cannot be read is [`Statement::Unknown`].
pub fn parse_under(names: Names, sql: &str, default_database: &str, mode: SqlMode) -> Statement {
    let mut cursor = Cursor::new(sql, mode).under(names);
    loop {
        while cursor.eat_symbol(b';') {}
        if cursor.peek().is_none() {
            return Statement::Irrelevant;
        }
        // MariaDB: settings for one statement, which then follows.
        let mut ahead = cursor;
        if !ahead.eat_all(&["SET", "STATEMENT"]) {
            break;
        }
        while !ahead.eat("FOR") {
            if ahead.peek().is_none() {
                return unknown(Cursor::new(sql, mode).under(names), default_database);
            }
            if ahead.take_in_item().is_none() {
                ahead.take();
            }
        }
        cursor = ahead;
    }
    Reader { cursor, default_database }
        .statement()
        .unwrap_or_else(|| unknown(Cursor::new(sql, mode).under(names), default_database))
}

fn unknown(mut cursor: Cursor<'_>, default_database: &str) -> Statement {
    /// Enough to recognise the statement in a message, too little to carry a value.
    const WORDS: usize = 4;
    let mut words = Vec::new();
    let mut mentions_from = cursor;
    while words.len() < WORDS
        && let Some(Token::Word(word)) = cursor.take()
    {
        if words.is_empty() {
            mentions_from = cursor;
        }
        words.push(word);
    }
    let mentioned = names::mentioned(mentions_from, default_database);
    Statement::Unknown { first_words: words.join(" "), mentioned }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    default_database: &'a str,
}

impl Reader<'_> {
    /// `None` when it is not known, or not readable as far as it matters.
    fn statement(mut self) -> Option<Statement> {
        let verb = match self.cursor.take()? {
            Token::Word(word) => VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name))?.1,
            Token::Symbol(b'(') => Verb::Routine,
            _ => return None,
        };
        let (rest, database) = (self.cursor, self.default_database);
        let dml = |table: Option<TableName>| {
            let tables = table.map_or_else(|| names::mentioned(rest, database), |table| vec![table]);
            Statement::Dml { tables, opaque: false }
        };
        match verb {
            Verb::Begin => self.begin(),
            Verb::Start => self.start(),
            Verb::Commit => Some(Statement::Commit),
            Verb::Rollback => self.rollback(),
            Verb::Savepoint => self.cursor.identifier().map(Statement::Savepoint),
            Verb::Release => self.release(),
            Verb::Xa => self.xa(),
            Verb::Create => self.create(),
            Verb::Alter => self.alter(),
            Verb::Drop => self.drop(),
            Verb::Rename => self.rename(),
            Verb::Truncate => self.truncate(),
            Verb::Set | Verb::Irrelevant => Some(Statement::Irrelevant),
            // `ANALYZE TABLE` is upkeep; MariaDB's `ANALYZE statement` runs the statement.
            Verb::Analyze if self.is_table_upkeep() => Some(Statement::Irrelevant),
            Verb::Load if self.cursor.is("INDEX") => Some(Statement::Irrelevant),
            Verb::Load => Some(dml(writes::load(rest, database))),
            Verb::Insert => Some(dml(writes::insert(rest, database))),
            Verb::Update => Some(dml(writes::update(rest, database))),
            Verb::Delete => Some(dml(writes::delete(rest, database))),
            Verb::Analyze | Verb::Write => Some(dml(None)),
            Verb::Routine => Some(Statement::Dml { tables: names::mentioned(rest, database), opaque: true }),
        }
    }

    fn is_table_upkeep(&self) -> bool {
        let mut ahead = self.cursor;
        ahead.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        ahead.is_any(&["TABLE", "TABLES"])
    }

    fn begin(mut self) -> Option<Statement> {
        self.cursor.eat("WORK");
        // Behind `BEGIN NOT ATOMIC` stands a block of statements.
        self.cursor.at_end().then_some(Statement::Begin)
    }

    fn start(self) -> Option<Statement> {
        if self.cursor.is("TRANSACTION") {
            return Some(Statement::Begin);
        }
        self.cursor.is_any(&["SLAVE", "REPLICA", "ALL", "GROUP_REPLICATION"]).then_some(Statement::Irrelevant)
    }

    fn rollback(mut self) -> Option<Statement> {
        self.cursor.eat("WORK");
        if !self.cursor.eat("TO") {
            return Some(Statement::Rollback);
        }
        let mut named = self.cursor;
        named.eat("SAVEPOINT");
        // A savepoint may itself have the name `savepoint`.
        named.identifier().or_else(|| self.cursor.identifier()).map(Statement::RollbackToSavepoint)
    }

    fn release(mut self) -> Option<Statement> {
        self.cursor.eat("SAVEPOINT");
        self.cursor.identifier().map(Statement::ReleaseSavepoint)
    }

    fn xa(mut self) -> Option<Statement> {
        let verb = self.cursor.take()?;
        let from = self.cursor.offset();
        while !self.cursor.at_end() && !self.cursor.is_any(&["ONE", "JOIN", "RESUME", "SUSPEND"]) {
            self.cursor.take();
        }
        let xid = self.cursor.text_since(from).to_owned();
        let Token::Word(verb) = verb else { return None };
        let is = |keyword: &str| verb.eq_ignore_ascii_case(keyword);
        let step = if is("START") || is("BEGIN") {
            XaStep::Start
        } else if is("END") {
            XaStep::End
        } else if is("PREPARE") {
            XaStep::Prepare
        } else if is("COMMIT") {
            XaStep::Commit { one_phase: self.cursor.is_all(&["ONE", "PHASE"]) }
        } else if is("ROLLBACK") {
            XaStep::Rollback
        } else {
            return is("RECOVER").then_some(Statement::Irrelevant);
        };
        Some(Statement::Xa { step, xid })
    }

    fn create(mut self) -> Option<Statement> {
        let or_replace = self.cursor.eat_all(&["OR", "REPLACE"]);
        let temporary = self.cursor.eat("TEMPORARY");
        if self.cursor.eat("TABLE") {
            return create::table(&mut self.cursor, self.default_database, or_replace, temporary)
                .map(Statement::CreateTable);
        }
        if self.cursor.eat_any(&["DATABASE", "SCHEMA"]) {
            self.cursor.eat_if_not_exists();
            let name = names::database(&mut self.cursor)?;
            return Some(Statement::CreateDatabase { name, or_replace });
        }
        if self.cursor.eat("SEQUENCE") {
            self.cursor.eat_if_not_exists();
            let sequence = names::table(&mut self.cursor, self.default_database)?;
            return Some(Statement::CreateSequence { sequence, or_replace, temporary });
        }
        let mut index = self.cursor;
        index.eat_any(&["ONLINE", "OFFLINE"]);
        index.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"]);
        if index.eat("INDEX") {
            self.cursor = index;
            self.cursor.eat_if_not_exists();
            return self.index_change();
        }
        self.other_object()
    }

    fn drop(mut self) -> Option<Statement> {
        let temporary = self.cursor.eat("TEMPORARY");
        if self.cursor.eat_any(&["TABLE", "TABLES"]) {
            self.cursor.eat_if_exists();
            let tables = names::tables(&mut self.cursor, self.default_database)?;
            return Some(Statement::DropTable { tables, temporary });
        }
        if self.cursor.eat("SEQUENCE") {
            return self.about_sequences(temporary);
        }
        if self.cursor.eat_any(&["DATABASE", "SCHEMA"]) {
            self.cursor.eat_if_exists();
            return names::database(&mut self.cursor).map(Statement::DropDatabase);
        }
        let mut index = self.cursor;
        index.eat_any(&["ONLINE", "OFFLINE"]);
        if index.eat("INDEX") {
            self.cursor = index;
            self.cursor.eat_if_exists();
            return self.index_change();
        }
        self.other_object()
    }

    /// Behind `INDEX`: the table stands behind `ON`.
    fn index_change(mut self) -> Option<Statement> {
        self.cursor.identifier()?;
        while !self.cursor.eat("ON") {
            self.cursor.take_in_item()?;
        }
        let table = names::table(&mut self.cursor, self.default_database)?;
        Some(Statement::IndexChange { table })
    }

    fn alter(mut self) -> Option<Statement> {
        let mut ahead = self.cursor;
        ahead.eat_any(&["ONLINE", "OFFLINE"]);
        let ignore = ahead.eat("IGNORE");
        if ahead.eat("TABLE") {
            self.cursor = ahead;
            self.cursor.eat_if_exists();
            let table = names::table(&mut self.cursor, self.default_database)?;
            let ops = alter::ops(&mut self.cursor, self.default_database, ignore);
            return Some(Statement::AlterTable { table, ops });
        }
        if self.cursor.is_any(&["DATABASE", "SCHEMA"]) {
            return Some(Statement::Irrelevant);
        }
        if self.cursor.eat("SEQUENCE") {
            return self.about_sequences(false);
        }
        self.other_object()
    }

    /// Behind `SEQUENCE`: the names.
    fn about_sequences(mut self, temporary: bool) -> Option<Statement> {
        self.cursor.eat_if_exists();
        let sequences = names::tables(&mut self.cursor, self.default_database)?;
        Some(Statement::AboutSequences { sequences, temporary })
    }

    /// `CREATE`, `ALTER` or `DROP` of what is neither a table nor a database nor an index.
    fn other_object(mut self) -> Option<Statement> {
        if self.cursor.eat("SPATIAL") {
            return self.cursor.is("REFERENCE").then_some(Statement::Irrelevant);
        }
        self.cursor.is_any(OTHER_OBJECTS).then_some(Statement::Irrelevant)
    }

    fn rename(mut self) -> Option<Statement> {
        if self.cursor.is("USER") {
            return Some(Statement::Irrelevant);
        }
        if !self.cursor.eat_any(&["TABLE", "TABLES"]) {
            return None;
        }
        self.cursor.eat_if_exists();
        let mut renames: Vec<(TableName, TableName)> = Vec::new();
        loop {
            let from = names::table(&mut self.cursor, self.default_database)?;
            self.cursor.eat_wait();
            if !self.cursor.eat("TO") {
                return None;
            }
            renames.push((from, names::table(&mut self.cursor, self.default_database)?));
            if !self.cursor.eat_symbol(b',') {
                return self.cursor.at_end().then_some(Statement::RenameTable(renames));
            }
        }
    }

    fn truncate(self) -> Option<Statement> {
        let mut named = self.cursor;
        named.eat("TABLE");
        names::table(&mut named, self.default_database).map(Statement::Truncate)
    }
}
