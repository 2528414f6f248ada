//! The `rows` of a table's rule: which rows reach a sink.

use super::tree::{Node, Section};

/// A condition on one column. A row fulfils a rule when it fulfils each of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCondition {
    /// The column's name at the source.
    pub column: String,
    /// What its value has to be.
    pub test: RowTest,
}

/// What a value has to be. Values are as they are written in the configuration; what they mean, the column's type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowTest {
    /// One of these; `None` is NULL.
    In(Vec<Option<String>>),
    /// None of these; `None` is NULL. A value of NULL fulfils it where NULL is not listed.
    NotIn(Vec<Option<String>>),
    /// Between two ends, of which one at least is there. NULL is not.
    Range {
        /// At least this, or more than this.
        low: Option<RangeEnd>,
        /// At most this, or less than this.
        high: Option<RangeEnd>,
    },
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeEnd {
    /// The value.
    pub value: String,
    /// It is in the range itself.
    pub is_included: bool,
}

impl std::fmt::Display for RowCondition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &[Option<String>]| {
            let shown: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("null")).collect();
            shown.join(", ")
        };
        match &self.test {
            RowTest::In(values) => write!(f, "{} in [{}]", self.column, list(values)),
            RowTest::NotIn(values) => write!(f, "{} not_in [{}]", self.column, list(values)),
            RowTest::Range { low, high } => {
                let end = |end: &Option<RangeEnd>, included: &str, excluded: &str| {
                    let word = |end: &RangeEnd| if end.is_included { included } else { excluded }.to_owned();
                    end.as_ref().map(|end| format!("{} {}", word(end), end.value))
                };
                let ends: Vec<_> =
                    [end(low, "from", "above"), end(high, "to", "below")].into_iter().flatten().collect();
                write!(f, "{} {}", self.column, ends.join(" "))
            }
        }
    }
}

/// Reads the list; `None`: it is not written, or wrong, which has been noted.
pub(super) fn read(list: &Node<'_>) -> Option<Vec<RowCondition>> {
    if list.is_absent() {
        return None;
    }
    let conditions: Vec<_> = list.list()?.into_iter().map(read_condition).collect();
    conditions.into_iter().collect()
}

fn read_condition(item: Node<'_>) -> Option<RowCondition> {
    let section = item.section();
    let column = section.key("column").required("the column's name at the source").name().map(str::to_owned);
    let test = read_test(&section);
    section.finish();
    Some(RowCondition { column: column?, test: test? })
}

fn read_test(section: &Section<'_>) -> Option<RowTest> {
    let (equals, among, not_in) = (section.key("equals"), section.key("in"), section.key("not_in"));
    let ends = [section.key("from"), section.key("above"), section.key("to"), section.key("below")];
    let is_range = ends.iter().any(|end| !end.is_absent());
    let written = [!equals.is_absent(), !among.is_absent(), !not_in.is_absent(), is_range];
    match written.iter().filter(|is_written| **is_written).count() {
        1 => {}
        0 => {
            equals.problem("required; or in, not_in, or a range with from, above, to or below");
            return None;
        }
        _ => {
            equals.problem("a condition has one of equals, in, not_in and a range; write two conditions for both");
            return None;
        }
    }
    if written.first() == Some(&true) {
        return Some(RowTest::In(vec![equals.scalar()?]));
    }
    if !among.is_absent() {
        return Some(RowTest::In(read_values(&among)?));
    }
    if !not_in.is_absent() {
        return Some(RowTest::NotIn(read_values(&not_in)?));
    }
    let [from, above, to, below] = &ends;
    let (low, high) = (read_end((from, above)), read_end((to, below)));
    Some(RowTest::Range { low: low.ok()?, high: high.ok()? })
}

fn read_values(list: &Node<'_>) -> Option<Vec<Option<String>>> {
    let values: Option<Vec<_>> = list.list()?.iter().map(Node::scalar).collect();
    let values = values?;
    if values.is_empty() {
        list.problem("must have at least one value");
        return None;
    }
    Some(values)
}

/// One end of a range, if it is written.
fn read_end((included, excluded): (&Node<'_>, &Node<'_>)) -> Result<Option<RangeEnd>, Wrong> {
    let (end, is_included) = match (included.is_absent(), excluded.is_absent()) {
        (true, true) => return Ok(None),
        (false, true) => (included, true),
        (true, false) => (excluded, false),
        (false, false) => {
            excluded.problem("is written beside the same end of the range; keep one of the two");
            return Err(Wrong);
        }
    };
    match end.scalar().ok_or(Wrong)? {
        Some(value) => Ok(Some(RangeEnd { value, is_included })),
        None => {
            end.problem("an end of a range is a value");
            Err(Wrong)
        }
    }
}

/// What is written is wrong, which has been noted.
struct Wrong;
