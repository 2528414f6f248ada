//! `replicator start`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::MultiProgress;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::args::{Format, LogArgs, StartArgs};
use super::failure::Said;
use super::progress;
use super::signals::Signals;
use crate::config::{Plan, Tree};
use crate::pipeline::{self, Reload, StartOptions};
use crate::telemetry::logs;

pub(super) fn run(plan: Plan, (path, tree): (PathBuf, Tree), arguments: &StartArgs) -> anyhow::Result<()> {
    let given = level_given(&arguments.logs);
    let reload = Reload { path, tree, sets_level: given.is_none(), asked: Arc::default() };
    let options = StartOptions {
        reload: Some(reload),
        resume: arguments.resume,
        new_position: arguments.resync,
        once: arguments.once,
        ..StartOptions::default()
    };
    let bars = start_logs_at(&arguments.logs, given.as_deref().unwrap_or(&plan.log.level))?;
    run_pipeline(plan, options, bars)
}

/// The level of log lines that the command line or the environment asks for.
fn level_given(arguments: &LogArgs) -> Option<String> {
    arguments.log_level.clone().or_else(|| std::env::var(logs::LEVEL_VARIABLE).ok())
}

/// Starts logging as the command line, the environment or the configuration says; gives the bars if stderr is a terminal and its lines are
/// for people.
pub(super) fn start_logs(plan: &Plan, arguments: &LogArgs) -> anyhow::Result<Option<MultiProgress>> {
    start_logs_at(arguments, level_given(arguments).as_deref().unwrap_or(&plan.log.level))
}

fn start_logs_at(arguments: &LogArgs, level: &str) -> anyhow::Result<Option<MultiProgress>> {
    let people = matches!(arguments.log_format, Format::Text) && std::io::stderr().is_terminal();
    let bars = people.then(MultiProgress::new);
    logs::start(arguments.log_format.into(), level, bars.clone())?;
    Ok(bars)
}

/// Runs the daemon to its end.
pub(super) fn run_pipeline(plan: Plan, options: StartOptions, bars: Option<MultiProgress>) -> anyhow::Result<()> {
    let workers =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    // The stream's thread waits for the stream's socket itself: by way of another thread, every packet would wake two.
    let reading = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the stream's runtime")?;
    let ended = reading.block_on(async {
        let shutdown = CancellationToken::new();
        let signals = {
            let _runtime = workers.enter();
            Signals::listen().context("cannot listen for signals")?
        };
        // Aborted when the daemon has ended: neither owns anything.
        let asked = options.reload.as_ref().map(|reload| Arc::clone(&reload.asked));
        let watch = workers.spawn(signals.watch(shutdown.clone(), asked));
        let shown = workers.spawn(progress::show(Arc::clone(&options.live), bars));
        let once = options.once;
        info!(version = env!("CARGO_PKG_VERSION"), once, "starting");
        let ended = Box::pin(pipeline::run(plan, options, shutdown.clone(), workers.handle())).await;
        shown.abort();
        watch.abort();
        ended?;
        if once && shutdown.is_cancelled() {
            return Err(Said("stopped by a signal before everything was copied".to_owned()).into());
        }
        info!("stopped");
        Ok(())
    });
    // Threads that still read the log for somebody's `inspect` are not waited for.
    workers.shutdown_timeout(Duration::from_millis(200));
    ended
}
