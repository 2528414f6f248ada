//! `replicator check`.

use anyhow::Context;

use super::args::CheckArgs;
use super::failure::Said;
use super::output::Output;
use crate::config::Plan;
use crate::model::{CheckItem, CheckStatus};
use crate::preflight;

pub(super) fn run(plan: &Plan, arguments: &CheckArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let items = runtime.context("cannot start the runtime")?.block_on(preflight::check(plan));
    let mut output = Output::new();
    if arguments.json {
        output.document(&items)?;
    } else {
        for line in render(&items) {
            output.line(&line)?;
        }
    }
    let failed = items.iter().filter(|item| item.status == CheckStatus::Fail).count();
    match failed {
        0 => Ok(()),
        1 => Err(Said("1 check failed".to_owned()).into()),
        more => Err(Said(format!("{more} checks failed")).into()),
    }
}

fn render(items: &[CheckItem]) -> Vec<String> {
    let width = items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for item in items {
        let word = match item.status {
            CheckStatus::Ok => "ok  ",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "FAIL",
        };
        lines.push(format!("{word}  {:width$}  {}", item.name, item.detail));
        for mend in item.mend.iter().flat_map(|mend| mend.lines()) {
            lines.push(format!("      {:width$}  -> {mend}", ""));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_with_what_mends_it() {
        let items = [
            CheckItem::ok("grants", "all there"),
            CheckItem::fail("row metadata", "MINIMAL", Some("SET GLOBAL binlog_row_metadata=FULL".into())),
        ];
        let expected = [
            "ok    grants        all there",
            "FAIL  row metadata  MINIMAL",
            "                    -> SET GLOBAL binlog_row_metadata=FULL",
        ];
        assert_eq!(render(&items), expected);
    }
}
