//! The account that the server took a login for, and the `GRANT` statements that name it.
//!
//! The server looks for the account with the most specific host first and the user name second, so that an anonymous account
//! (`''@'localhost'`) takes the login of a user whose own account has a wider host. No statement made here grants anything to an
//! anonymous account, as whoever connects without a name would have it, or to an account of another user than that of
//! `source.url`.

use mysql_async::Conn;

use super::schema::text_literal;
use super::server;
use crate::error::Failure;

/// Who the session is, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User and host of the account whose privileges the session has.
    account: (String, String),
    /// User and host that logged in.
    client: (String, String),
}

impl Account {
    /// Asks the server.
    ///
    /// # Errors
    /// The server's.
    pub async fn ask(conn: &mut Conn) -> Result<Self, Failure> {
        let purpose = "read the account's name";
        let rows: Vec<(String, String)> = server::query(conn, "SELECT CURRENT_USER(), USER()", purpose).await?;
        let (account, client) =
            rows.into_iter().next().ok_or_else(|| Failure::fatal(format!("cannot {purpose}: no answer")))?;
        Ok(Self::new(&account, &client))
    }

    /// From `CURRENT_USER()` and `USER()`.
    fn new(account: &str, client: &str) -> Self {
        // A user name may hold an @, a host does not.
        let split = |name: &str| match name.rsplit_once('@') {
            Some((user, host)) => (user.to_owned(), host.to_owned()),
            None => (name.to_owned(), String::new()),
        };
        Self { account: split(account), client: split(client) }
    }

    /// The account's name, quoted.
    pub fn name(&self) -> String {
        quoted(&self.account)
    }

    /// The user that logged in.
    pub fn user(&self) -> &str {
        &self.client.0
    }

    /// Whether the login ended at an account for users without a name.
    pub fn is_anonymous(&self) -> bool {
        self.account.0.is_empty()
    }

    /// Whether the account has another user name than the login: a proxy, or an anonymous account.
    pub fn is_another(&self) -> bool {
        self.account.0 != self.client.0
    }

    /// How the login comes to the user's own account, where an anonymous one took it.
    pub fn take_login_back(&self) -> String {
        let own = quoted(&self.client);
        format!("DROP USER {}, or CREATE USER {own}, an account of the user's own for this host", self.name())
    }

    /// The statement that grants `privilege` on `scope` (`*.*`, or quoted names) to the account; to the user that logged in where
    /// the account is anonymous. Where it is another user's no statement is made: what that one may do is for others to
    /// say.
    pub fn grant(&self, privilege: &str, scope: &str) -> String {
        if self.is_another() && !self.is_anonymous() {
            let (own, held) = (quoted(&self.client), self.name());
            return format!(
                "let {own} log in as an account of its own that has {privilege} on {scope}: the login ended at {held}"
            );
        }
        let to = if self.is_anonymous() { quoted(&self.client) } else { self.name() };
        format!("GRANT {privilege} ON {scope} TO {to}")
    }
}

fn quoted((user, host): &(String, String)) -> String {
    format!("{}@{}", text_literal(user), text_literal(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_names_the_account_and_quotes_it() {
        let account = Account::new("o'brien@home@10.0.0.%", "o'brien@home@10.0.0.7");
        assert!(!account.is_anonymous() && !account.is_another());
        assert_eq!(account.user(), "o'brien@home");
        assert_eq!(account.grant("SELECT", "`shop`.`t`"), "GRANT SELECT ON `shop`.`t` TO 'o''brien@home'@'10.0.0.%'");
    }

    #[test]
    fn an_anonymous_account_is_granted_nothing() {
        let account = Account::new("@localhost", "replicator@localhost");
        assert!(account.is_anonymous() && account.is_another());
        assert_eq!(account.grant("SELECT", "`a`.`b`"), "GRANT SELECT ON `a`.`b` TO 'replicator'@'localhost'");
        assert!(account.take_login_back().starts_with("DROP USER ''@'localhost'"));
    }

    #[test]
    fn another_users_account_is_granted_nothing() {
        let account = Account::new("readers@%", "replicator@10.0.0.7");
        assert!(account.is_another() && !account.is_anonymous());
        let said = account.grant("SELECT", "`a`.`b`");
        assert!(said.starts_with("let 'replicator'@'10.0.0.7' log in") && !said.contains("GRANT"), "{said}");
    }
}
