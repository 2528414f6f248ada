//! Which rows of a refused INSERT are refused, by halving: one request a level, and one for all that is not known then.

/// Requests for one INSERT. Then the table stops.
pub(super) const MOST: u32 = 20;

/// Which rows to send next, and which are refused. Pure.
#[derive(Debug)]
pub(super) struct Hunt {
    /// One of them at least is refused.
    current: Vec<usize>,
    /// What is not known of the others.
    pending: Vec<usize>,
    trying: Vec<usize>,
    /// Refused, with the reason.
    bad: Vec<(usize, String)>,
    reason: String,
}

impl Hunt {
    /// Among so many rows, which were refused together for this reason.
    pub(super) fn new(rows: usize, reason: String) -> Self {
        Self { current: (0..rows).collect(), pending: Vec::new(), trying: Vec::new(), bad: Vec::new(), reason }
    }

    /// What to send; `None`: every row that is refused is known, and the others are stored.
    pub(super) fn next(&mut self) -> Option<&[usize]> {
        if let [one] = self.current.as_slice() {
            self.bad.push((*one, self.reason.clone()));
            self.current.clear();
        }
        if self.current.is_empty() {
            self.trying = std::mem::take(&mut self.pending);
            return Some(self.trying.as_slice()).filter(|rows| !rows.is_empty());
        }
        let right = self.current.split_off(self.current.len() / 2);
        self.trying = std::mem::replace(&mut self.current, right);
        Some(&self.trying)
    }

    /// What the server has said of them: nothing, or why it refuses them.
    pub(super) fn answer(&mut self, refusal: Option<String>) {
        let tried = std::mem::take(&mut self.trying);
        if let Some(reason) = refusal {
            self.reason = reason;
            self.pending.append(&mut self.current);
            self.current = tried;
        }
    }

    /// The rows that are refused, with the reason.
    pub(super) fn into_bad(self) -> Vec<(usize, String)> {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds these rows among so many, and says in how many requests; every other row is stored once at least, and none of these ever.
    fn found(rows: usize, bad: &[usize]) -> u32 {
        let mut hunt = Hunt::new(rows, "first".into());
        let (mut requests, mut stored) = (0, vec![false; rows]);
        while let Some(next) = hunt.next() {
            requests += 1;
            let refused = next.iter().find(|row| bad.contains(row)).map(|row| format!("row {row}"));
            if refused.is_none() {
                for row in next {
                    stored[*row] = true;
                }
            }
            hunt.answer(refused);
        }
        let mut found: Vec<_> = hunt.bad.iter().map(|(row, _)| *row).collect();
        found.sort_unstable();
        assert_eq!(found, bad);
        assert!((0..rows).all(|row| stored[row] != bad.contains(&row)), "{stored:?}");
        requests
    }

    #[test]
    fn rows_that_are_refused_are_found_and_the_others_are_stored() {
        for rows in 1..20 {
            for one in 0..rows {
                assert!(found(rows, &[one]) <= 6, "{one} of {rows}");
                for other in one + 1..rows {
                    found(rows, &[one, other]);
                }
            }
            found(rows, &(0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_row_of_many_is_found_within_the_limit() {
        for row in [0, 1, 65_535, 65_536, 99_999] {
            assert!(found(100_000, &[row]) <= MOST - 2, "{row}");
        }
    }
}
