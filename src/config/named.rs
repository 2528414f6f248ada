//! The configuration under the server's rule for names.
//!
//! Which tables the configuration names depends on that rule ([`Names`]), which only the server can say. So a plan is put under it once the
//! server has answered; from then on its filter and its rules have the names by which tables are known.

use super::{Plan, SinkPlan, SourcePlan};
use crate::error::Failure;
use crate::model::Names;

impl SourcePlan {
    /// For a server with this rule for names.
    #[must_use]
    pub fn under(self, names: Names) -> Self {
        Self { filter: self.filter.under(names), ..self }
    }
}

impl Plan {
    /// For a server with this rule for names.
    ///
    /// # Errors
    /// Fatal, when two rules of `tables` mean one table there, or a rule means one that is not captured.
    pub fn under(&self, names: Names) -> Result<Self, Failure> {
        let source = self.source.clone().under(names);
        let sinks = self.sinks.iter().map(|sink| named(sink, &source)).collect::<Result<_, _>>()?;
        Ok(Self { source, sinks, ..self.clone() })
    }
}

fn named(sink: &SinkPlan, source: &SourcePlan) -> Result<SinkPlan, Failure> {
    let names = source.filter.names();
    let mut sink = sink.clone();
    sink.filter = sink.filter.map(|filter| filter.under(names));
    let own = format!("sinks \"{}\", tables", sink.name);
    for (rules, section) in [(&mut sink.shared_rules, "tables"), (&mut sink.rules, own.as_str())] {
        for rule in rules.iter_mut() {
            rule.table = names.table(rule.table.clone());
        }
        for (at, rule) in rules.iter().enumerate() {
            let table = &rule.table;
            if rules.iter().take(at).any(|other| other.table == *table) {
                return Err(Failure::fatal(format!("two entries of {section} mean one table, \"{table}\"")).hint(
                    "the source compares names in lower case (lower_case_table_names): leave one of the entries",
                ));
            }
            if !source.filter.captures(&table.database, &table.table) {
                return Err(Failure::fatal(format!("{section} names \"{table}\", which is not captured")).hint(
                    "the source compares names as written (lower_case_table_names=0): spell it as in source.include",
                ));
            }
        }
    }
    Ok(sink)
}
