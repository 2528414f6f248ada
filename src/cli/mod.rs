//! The command line: parse, run, exit code. One file per verb; `anyhow` lives only here.
//!
//! Arguments, configuration and logging fail before any runtime starts. Exit codes: 0 done, 1 failed, 2 usage or
//! configuration; `status` also 3, an operator has to look; `start` also 4, another replica has its server id.

mod apart;
mod args;
mod backfill;
mod by_hand;
mod check;
mod dlq;
mod failure;
mod full_disk;
mod log_access;
mod output;
mod progress;
mod resync;
mod signals;
mod sink_list;
mod sink_pause;
mod sink_reset;
mod start;
mod status;
mod status_text;
mod table_list;
mod table_show;
mod table_skip;
mod wait;
mod wal_cursor;
mod wal_inspect;
mod wal_verify;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{self, Plan};
use crate::sink;
use args::{Arguments, SinkVerb, TableVerb, Verb, WalVerb};
use failure::Exit;

/// Runs the program.
pub fn main() -> ExitCode {
    // Usage errors and --help end here, with codes 2 and 0.
    let arguments = Arguments::parse();
    let config = arguments.config.clone();
    match run(arguments) {
        Ok(()) => Exit::Done.code(),
        Err(error) => {
            let exit = Exit::of(&error);
            failure::print(&error, &config);
            exit.code()
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = arguments.config;
    match arguments.verb {
        Verb::Start(start) => {
            let (plan, tree) = config::load_with_tree(&config, &sink::types())?;
            start::run(plan, (config, tree), &start)
        }
        Verb::Check(check) => check::run(&load(&config)?, &check),
        Verb::Status(status) => status::run(&load(&config)?, &status),
        Verb::Backfill(backfill) => {
            // The file of tables is read before the configuration is used: both are usage.
            let jobs = backfill::jobs(&backfill)?;
            match (backfill.cancel, backfill.wait) {
                (true, _) => backfill::cancel(&load(&config)?, &jobs),
                (false, wait) => backfill::run(load(&config)?, jobs, wait),
            }
        }
        Verb::Resync(resync) => {
            let asked = resync::asked(&resync)?;
            resync::run(load(&config)?, asked, resync.json)
        }
        Verb::Table(TableVerb::List(list)) => table_list::run(&load(&config)?, &list),
        Verb::Table(TableVerb::Show(show)) => table_show::run(&load(&config)?, &show),
        Verb::Table(TableVerb::Skip(skip)) => table_skip::skip(&load(&config)?, &skip),
        Verb::Table(TableVerb::Resume(resume)) => table_skip::resume(&load(&config)?, &resume),
        Verb::Sink(SinkVerb::List(list)) => sink_list::run(&load(&config)?, &list),
        Verb::Sink(SinkVerb::Pause(pause)) => sink_pause::pause(&load(&config)?, &pause),
        Verb::Sink(SinkVerb::Resume(resume)) => sink_pause::resume(&load(&config)?, &resume),
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
