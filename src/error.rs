//! The error that crosses the program's inner borders: a fact, what to do about it, and what the operator can change.
//!
//! Sources and sinks make it where the fact is known. The loops decide by [`ErrorClass`] alone; the edge prints the
//! message, its chain of causes, and the hint. No message holds a row value or a secret.

/// What a loop does about an error. Whoever does not know says [`ErrorClass::Fatal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again with backoff, without end; the state is visible in `status`.
    Retry,
    /// One row or one table cannot be handled: that table stops, and the others go on.
    Row,
    /// Stop: the source's error stops the stream, a sink's error stops that sink and the others go on.
    Fatal,
}

/// Why the stream cannot continue from the position that the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The server has purged what follows it, and has everything that was read.
    Purged,
    /// The server has another history, or what follows the position cannot be read.
    Otherwise,
}

/// An error with its class and its way out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the loop does.
    pub class: ErrorClass,
    /// The fact: lower case, no full stop, names quoted, without any row value.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
    /// It says that the stream cannot continue from the log's position; a new position is the remedy.
    pub unusable: Option<Unusable>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// Worth trying again.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Retry, message: message.into(), hint: None, unusable: None, source: None }
    }

    /// About one row or one table.
    pub fn row(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Row, message: message.into(), hint: None, unusable: None, source: None }
    }

    /// Stops the loop.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Fatal, message: message.into(), hint: None, unusable: None, source: None }
    }

    /// With its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// It says that the stream cannot continue from the log's position.
    #[must_use]
    pub fn unusable(mut self, unusable: Unusable) -> Self {
        self.unusable = Some(unusable);
        self
    }

    /// With what the operator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Message and causes on one line.
    pub fn fact(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Message, causes and hint on one line, for `status` and logs.
    pub fn chain(&self) -> String {
        let mut text = self.fact();
        if let Some(hint) = &self.hint {
            text.push_str(" (");
            text.push_str(hint);
            text.push(')');
        }
        text
    }
}

/// The command that reads a table again which an operator has left out, for hints. `table` is a word for the shell already, or needs none.
pub fn table_resume(table: &str) -> String {
    format!("replicator table resume {table}")
}

/// The command that lets a sink that an operator has paused continue, for hints.
pub fn sink_resume(sink: &str) -> String {
    format!("replicator sink resume {sink}")
}

/// The source has ended this replica, because another one has connected with the same `server_id`: to start again would
/// end that one. It is the server's error, as text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SameServerId(pub String);

/// The command that gives a sink a new copy of every table, for hints.
pub fn sink_reset(sink: &str) -> String {
    format!("replicator sink reset {sink}")
}
