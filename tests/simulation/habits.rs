//! What the clients of a history are in the habit of doing.

use super::rng::Rng;

/// How a history's clients are.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The first table has a primary key.
    pub keyed: bool,
    /// Keys are below this.
    pub keys: usize,
    /// Of a hundred transactions: large, rolled back, with savepoints.
    pub large: usize,
    pub rolled_back: usize,
    pub savepoints: usize,
    /// Of a hundred groups: statements about tables.
    pub statements: usize,
    /// Of a hundred groups: those before which a client locks a table.
    pub locks: usize,
    /// Of a hundred events: those with a column that nobody knows.
    pub extra: usize,
    /// Of a hundred events: those of a session whose `binlog_row_image` is not `FULL`.
    pub partly: usize,
    /// Of a hundred `CREATE TABLE`: those with `IF NOT EXISTS`.
    pub if_not_exists: usize,
    /// Of a hundred groups: those of two-phase transactions.
    pub two_phase: usize,
    /// Of a hundred events: those in whose place the binlog has a statement.
    pub as_statement: usize,
}

impl Habits {
    /// Clients that do everything.
    pub fn any(rng: &mut Rng) -> Self {
        // A table that a statement has changed is read whole, and not by keys.
        let (as_statement, partly) =
            rng.weighted(&[(4, (0, 0)), (2, (3, 0)), (1, (12, 0)), (2, (0, 5)), (3, (0, 30)), (2, (2, 20))]);
        Self {
            keyed: false,
            keys: rng.between(4, 30),
            large: rng.weighted(&[(2, 0), (2, 15), (1, 50)]),
            rolled_back: rng.weighted(&[(2, 0), (2, 10), (1, 40)]),
            savepoints: rng.weighted(&[(2, 0), (2, 20), (1, 60)]),
            statements: rng.weighted(&[(2, 0), (2, 5), (3, 15), (2, 40)]),
            locks: rng.weighted(&[(2, 0), (1, 2), (1, 6)]),
            extra: rng.weighted(&[(5, 0), (1, 3)]),
            two_phase: 0,
            if_not_exists: rng.weighted(&[(1, 0), (1, 50)]),
            partly,
            as_statement,
        }
    }

    /// Clients that change a few rows again and again, and tables hardly ever: the first read of these ends, and what comes after it is
    /// about keys.
    pub fn calm(rng: &mut Rng) -> Self {
        Self {
            keyed: true,
            keys: rng.between(3, 8),
            large: rng.weighted(&[(2, 0), (1, 15)]),
            rolled_back: rng.weighted(&[(2, 0), (1, 10)]),
            savepoints: 0,
            statements: rng.weighted(&[(3, 0), (1, 2)]),
            locks: 0,
            extra: 0,
            if_not_exists: 0,
            two_phase: 0,
            partly: rng.weighted(&[(1, 0), (2, 10), (3, 30)]),
            as_statement: 0,
        }
    }
}
