//! The command line: parse, run, exit code. One file per verb; `anyhow` lives only here.
//!
//! Arguments, configuration and logging fail before any runtime starts. Exit codes: 0 done, 1 failed, 2 usage or
//! configuration; `status` also 3, an operator has to look.

mod apart;
mod args;
mod backfill;
mod check;
mod dlq;
mod failure;
mod log_access;
mod output;
mod progress;
mod resync;
mod signals;
mod sink_reset;
mod start;
mod status;
mod status_text;
mod wal_cursor;
mod wal_inspect;
mod wal_verify;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{self, Plan};
use crate::sink;
use args::{Arguments, SinkVerb, Verb, WalVerb};
use failure::Exit;

/// Runs the program.
pub fn main() -> ExitCode {
    // Usage errors and --help end here, with codes 2 and 0.
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => Exit::Done.code(),
        Err(error) => {
            let exit = Exit::of(&error);
            failure::print(&error);
            exit.code()
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = arguments.config;
    match arguments.verb {
        Verb::Start(start) => start::run(load(&config)?, &start),
        Verb::Check(check) => check::run(&load(&config)?, &check),
        Verb::Status(status) => status::run(&load(&config)?, &status),
        Verb::Backfill(backfill) => {
            // The file of tables is read before the configuration is used: both are usage.
            let jobs = backfill::jobs(&backfill)?;
            backfill::run(load(&config)?, jobs)
        }
        Verb::Resync(resync) => {
            let asked = resync::asked(&resync)?;
            resync::run(load(&config)?, asked, resync.json)
        }
        Verb::Sink(SinkVerb::Reset(reset)) => sink_reset::run(&load(&config)?, &reset),
        Verb::Dlq(verb) => dlq::run(&load(&config)?, &verb),
        Verb::Wal(WalVerb::Inspect(inspect)) => wal_inspect::run(&config, &inspect),
        Verb::Wal(WalVerb::Verify(verify)) => wal_verify::run(&config, &verify),
        Verb::Wal(WalVerb::DropCursor(drop)) => wal_cursor::run(&load(&config)?, &drop),
    }
}

fn load(path: &Path) -> anyhow::Result<Plan> {
    Ok(config::load(path, &sink::types())?)
}
