//! Names as a shell takes them, for the commands that hints print.

use super::TableName;

/// A name as a shell takes it.
pub fn as_word(name: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

impl TableName {
    /// The arguments that name the table on a command line. The first dot parts database and table, so a database with a dot in its
    /// name is given beside the table.
    pub fn as_arguments(&self) -> String {
        if self.database.contains('.') {
            format!("--database {} --table {}", as_word(&self.database), as_word(&self.table))
        } else {
            format!("--table {}", as_word(&self.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(TableName::new("shop", "users.old").as_arguments(), "--table shop.users.old");
        assert_eq!(TableName::new("my shop", "it's").as_arguments(), "--table 'my shop.it'\\''s'");
        assert_eq!(TableName::new("a.b", "t").as_arguments(), "--database a.b --table t");
    }
}
