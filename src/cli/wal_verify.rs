//! `replicator wal verify`.

use std::path::Path;

use super::args::VerifyArgs;
use super::failure::Said;
use super::log_access::{self, LogAccess};
use super::output::{Output, bytes, count};
use crate::control::Request;
use crate::inspect::{self, Verdict};

pub(super) fn run(config: &Path, arguments: &VerifyArgs) -> anyhow::Result<()> {
    let verdict: Verdict = match log_access::open(config, arguments.path.as_ref())? {
        LogAccess::Stopped(path) => inspect::verify_stopped(&path)?,
        LogAccess::Unreadable(why) => Verdict::unreadable(&why),
        LogAccess::Daemon(client) => client.ask_one(&Request::Verify)?,
    };
    let mut output = Output::new();
    if arguments.json {
        output.document(&verdict)?;
    } else {
        for finding in &verdict.findings {
            output.line(finding)?;
        }
        output.line(&format!(
            "{} blocks, {} frames, {} transactions, {} rows, {} read: {}",
            count(verdict.blocks),
            count(verdict.frames),
            count(verdict.transactions),
            count(verdict.rows),
            bytes(verdict.bytes),
            if verdict.is_sound() { "sound" } else { "damaged" },
        ))?;
    }
    match verdict.findings.len() {
        0 => Ok(()),
        1 => Err(Said("the log is damaged in 1 place".to_owned()).into()),
        places => Err(Said(format!("the log is damaged in {places} places")).into()),
    }
}
