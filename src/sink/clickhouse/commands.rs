//! ALTER commands in as few statements as the server takes.
//!
//! A statement is done as a whole or not at all, and a crash may fall between two. Commands that touch one column stay in the order of
//! their steps, each in a statement after that of the one before it: the server does not rename a column and add another one of
//! its name at once. Commands that touch no column in common may share a statement and may change places, because no step looks at
//! a column that it does not touch. So after a crash every column is where its own steps had brought it, and the steps are repeated from there.

use std::collections::HashMap;

use super::names::quoted;

/// Commands of one statement. The server parses a limited number of elements (`max_ast_elements`, 50,000 by default), of which a
/// column takes about ten.
const MOST: usize = 1000;

/// The server's limit for a statement's bytes where it does not say one.
const LONGEST: usize = 256 << 10;

/// A column as it is at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ty: String,
    pub(super) comment: String,
}

/// The columns of a table: as they were found, and then as the commands leave them.
#[derive(Debug, Default)]
pub(super) struct Columns {
    found: HashMap<String, Found>,
    /// Bytes of a statement that the server takes.
    longest: Option<usize>,
    commands: Vec<Command>,
}

/// One command, and the columns that it touches.
#[derive(Debug)]
struct Command {
    text: String,
    names: Vec<String>,
}

impl Columns {
    /// As found: name, type, comment, and the server's `max_query_size`.
    pub(super) fn new(found: Vec<(String, String, String, u64)>) -> Self {
        // 0 is no limit.
        let longest =
            found.first().and_then(|(.., longest)| usize::try_from(*longest).ok()).filter(|longest| *longest > 0);
        let found = found.into_iter().map(|(name, ty, comment, _)| (name, Found { ty, comment })).collect();
        Self { found, longest, commands: Vec::new() }
    }

    /// The column of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Found> {
        self.found.get(name)
    }

    /// Gives a column another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(column) = self.found.remove(from) {
            self.found.insert(to.to_owned(), column);
        }
        self.push(format!("RENAME COLUMN {} TO {}", quoted(from), quoted(to)), &[from, to]);
    }

    /// Adds a column; `definition` is all that follows its name.
    pub(super) fn add(&mut self, name: &str, definition: &str, column: Found) {
        self.found.insert(name.to_owned(), column);
        self.push(format!("ADD COLUMN IF NOT EXISTS {} {definition}", quoted(name)), &[name]);
    }

    /// Gives a column another type, if it has not got it.
    pub(super) fn modify(&mut self, name: &str, ty: &str) {
        if self.found.get(name).is_some_and(|column| column.ty == ty) {
            return;
        }
        if let Some(column) = self.found.get_mut(name) {
            ty.clone_into(&mut column.ty);
        }
        self.push(format!("MODIFY COLUMN {} {ty}", quoted(name)), &[name]);
    }

    /// Drops a column, if it is there.
    pub(super) fn drop(&mut self, name: &str) {
        if self.found.remove(name).is_some() {
            self.push(format!("DROP COLUMN IF EXISTS {}", quoted(name)), &[name]);
        }
    }

    fn push(&mut self, text: String, names: &[&str]) {
        self.commands.push(Command { text, names: names.iter().map(|name| (*name).to_owned()).collect() });
    }

    /// The statements that do it all, in their order. `place` is the table's full name.
    pub(super) fn statements(self, place: &str) -> Vec<String> {
        let longest = self.longest.unwrap_or(LONGEST);
        let begin = format!("ALTER TABLE {place} ");
        waves(self.commands).into_iter().flat_map(|wave| cut(&begin, wave, longest)).collect()
    }
}

/// The commands in groups of which none touches a column twice. Groups keep the order of the commands of each column.
fn waves(commands: Vec<Command>) -> Vec<Vec<String>> {
    let mut waves: Vec<Vec<String>> = Vec::new();
    let mut free_from: HashMap<String, usize> = HashMap::new();
    for Command { text, names } in commands {
        let wave = names.iter().filter_map(|name| free_from.get(name)).max().copied().unwrap_or(0);
        free_from.extend(names.into_iter().map(|name| (name, wave + 1)));
        match waves.get_mut(wave) {
            Some(wave) => wave.push(text),
            // A column is free from the group behind one that is there.
            None => waves.push(vec![text]),
        }
    }
    waves
}

/// The commands of one group as statements that the server takes.
fn cut(begin: &str, commands: Vec<String>, longest: usize) -> Vec<String> {
    const BETWEEN: &str = ", ";
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut count = 0;
    for command in commands {
        let is_full = count == MOST || statement.len() + BETWEEN.len() + command.len() >= longest;
        if count > 0 && is_full {
            statements.push(std::mem::take(&mut statement));
            count = 0;
        }
        statement.push_str(if count == 0 { begin } else { BETWEEN });
        statement.push_str(&command);
        count += 1;
    }
    if count > 0 {
        statements.push(statement);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ty: &str) -> Found {
        Found { ty: ty.to_owned(), comment: String::new() }
    }

    fn columns(names: &[&str], longest: u64) -> Columns {
        let line = |name: &&str| ((*name).to_owned(), "Int32".to_owned(), String::new(), longest);
        Columns::new(names.iter().map(line).collect())
    }

    #[test]
    fn commands_of_different_columns_share_a_statement() {
        let mut columns = columns(&["a", "b", "c"], 0);
        columns.add("d", "Int8", found("Int8"));
        columns.drop("a");
        columns.rename("b", "e");
        columns.modify("c", "Int64");
        assert_eq!(
            columns.statements("r.t"),
            [
                "ALTER TABLE r.t ADD COLUMN IF NOT EXISTS `d` Int8, DROP COLUMN IF EXISTS `a`, RENAME COLUMN `b` TO `e`, MODIFY COLUMN `c` Int64"
            ]
        );
    }

    #[test]
    fn commands_of_one_column_follow_each_other_and_a_step_sees_those_before_it() {
        let mut columns = columns(&["a", "b"], 0);
        for name in ["a", "b"] {
            columns.rename(name, &format!("{name}_until_7"));
            assert!(columns.get(name).is_none());
            columns.add(name, "String", found("String"));
            assert_eq!(columns.get(name), Some(&found("String")));
        }
        columns.rename("b", "c");
        assert_eq!(
            columns.statements("r.t"),
            [
                "ALTER TABLE r.t RENAME COLUMN `a` TO `a_until_7`, RENAME COLUMN `b` TO `b_until_7`",
                "ALTER TABLE r.t ADD COLUMN IF NOT EXISTS `a` String, ADD COLUMN IF NOT EXISTS `b` String",
                "ALTER TABLE r.t RENAME COLUMN `b` TO `c`",
            ]
        );
    }

    #[test]
    fn what_is_there_already_is_left_out() {
        let mut columns = columns(&["a"], 0);
        columns.modify("a", "Int32");
        columns.drop("b");
        assert_eq!(columns.statements("r.t"), [""; 0]);
    }

    #[test]
    fn a_statement_is_no_longer_than_the_server_takes() {
        for longest in [60, 200, 1000] {
            let mut columns = columns(&["a"], longest);
            for at in 0..100 {
                columns.add(&format!("c{at}"), "Int8", found("Int8"));
            }
            let statements = columns.statements("r.t");
            assert!(statements.iter().all(|statement| statement.len() <= usize::try_from(longest).unwrap()));
            assert_eq!(statements.iter().map(|statement| statement.matches("ADD COLUMN").count()).sum::<usize>(), 100);
        }
        let mut columns = columns(&["a"], 1 << 20);
        for at in 0..=MOST * 2 {
            columns.add(&format!("c{at}"), "Int8", found("Int8"));
        }
        assert_eq!(columns.statements("r.t").len(), 3);
    }
}
