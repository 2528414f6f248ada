//! `replicator start`.

use std::io::IsTerminal;
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
use crate::config::Plan;
use crate::pipeline::{self, StartOptions};
use crate::telemetry::logs;

pub(super) fn run(plan: Plan, arguments: &StartArgs) -> anyhow::Result<()> {
    let options = StartOptions {
        resume: arguments.resume,
        new_position: arguments.resync,
        once: arguments.once,
        ..StartOptions::default()
    };
    let bars = start_logs(&arguments.logs)?;
    run_pipeline(plan, options, bars)
}

/// Starts logging; gives the bars if stderr is a terminal and its lines are for people.
pub(super) fn start_logs(arguments: &LogArgs) -> anyhow::Result<Option<MultiProgress>> {
    let level = match &arguments.log_level {
        Some(level) => level.clone(),
        None => std::env::var(logs::LEVEL_VARIABLE).unwrap_or_else(|_| "info".to_owned()),
    };
    let people = matches!(arguments.log_format, Format::Text) && std::io::stderr().is_terminal();
    let bars = people.then(MultiProgress::new);
    logs::start(arguments.log_format.into(), &level, bars.clone())?;
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
        let watch = workers.spawn(signals.watch(shutdown.clone()));
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
