//! A configuration that is read again while the daemon runs (SIGHUP): what it changes, and what of it needs a restart.
//!
//! One that cannot be used changes nothing. Nothing here ends the process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, OnFull, Plan, SinkPlan, Taken, Tree};
use crate::dead::Hub;
use crate::sink;
use crate::source::mysql::snapshot::Job;
use crate::source::mysql::snapshot::handoff::Request;
use crate::telemetry::logs;

/// Why a password is not taken over.
const FROM_ENVIRONMENT: &str = "a password that comes from the environment, or is to, needs a restart";

/// Why a rule about doubts is not taken over.
const OTHER_RULES: &str = "it is taken over once nothing else in `tables` differs from the start, or with a restart";

/// Where a running daemon's configuration comes from.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The file.
    pub path: PathBuf,
    /// The file as it was at the start.
    pub tree: Tree,
    /// `log.level` decides: neither the command line nor the environment does.
    pub sets_level: bool,
    /// Says when the file is to be read again.
    pub asked: Arc<Notify>,
}

/// What each sink does about a full log.
pub(super) type OnFulls = Vec<(String, OnFull)>;

/// Of the sinks of a configuration.
pub(super) fn on_fulls(sinks: &[SinkPlan]) -> OnFulls {
    sinks.iter().map(|sink| (sink.name.clone(), sink.on_full)).collect()
}

/// Takes changes over.
pub(super) struct Reloading {
    pub(super) reload: Reload,
    /// The configuration that the daemon runs with.
    pub(super) plan: Plan,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) on_full: watch::Sender<OnFulls>,
    pub(super) dead: Arc<Hub>,
}

impl Reloading {
    /// Reads the file again whenever that is asked for.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // What the live settings are compared with; the others are compared with the start.
        let mut taken = Taken::all_of(self.reload.tree.clone());
        loop {
            tokio::select! {
                () = self.reload.asked.notified() => {}
                () = stop.cancelled() => return,
            }
            let (plan, tree) = match config::load_with_tree(&self.reload.path, &sink::types()) {
                Ok(loaded) => loaded,
                Err(refused) => {
                    let mut why = refused.to_string();
                    if let Some(cause) = std::error::Error::source(&refused) {
                        why = format!("{why}: {cause}");
                    }
                    error!(error = %why, "the configuration was read again and cannot be used: nothing is changed");
                    continue;
                }
            };
            let mut changed = taken.changed(&tree);
            let mut stays = self.reload.tree.changed(&tree);
            stays.retain(|path| !config::is_live(path));
            let refused = tokio::select! {
                refused = self.take_over(&plan, &changed, &stays) => refused,
                () = stop.cancelled() => return,
            };
            for (path, why) in &refused {
                warn!(setting = %path, "{why}");
                changed.remove(path);
            }
            taken.take(tree, refused.iter().map(|(path, _)| path));
            let none = changed.is_empty() && stays.is_empty() && refused.is_empty();
            info!(changed = %listed(&changed), "the configuration was read again{}", if none { ": nothing has changed" } else { "" });
            if !stays.is_empty() {
                warn!(settings = %listed(&stays), "a change of these settings needs a restart");
            }
        }
    }

    /// Takes the live settings over that have changed. Returns those that are not taken over, and why.
    async fn take_over(
        &mut self,
        plan: &Plan,
        changed: &BTreeSet<String>,
        stays: &BTreeSet<String>,
    ) -> Vec<(String, &'static str)> {
        let mut refused = Vec::new();
        let has = |part: &str| changed.iter().any(|path| path == part || path.ends_with(part));
        if has("log.level") {
            if !self.reload.sets_level {
                refused.push((
                    "log.level".to_owned(),
                    "--log-level or REPLICATOR_LOG decides, as long as the daemon runs",
                ));
            } else if logs::set_level(&plan.log.level).is_err() {
                refused.push(("log.level".to_owned(), "it is no filter of log lines"));
            }
        }
        if has("source.password_file") && !self.plan.source.password.follow(&plan.source.password) {
            refused.push(("source.password_file".to_owned(), FROM_ENVIRONMENT));
        }
        for (place, new) in plan.sinks.iter().enumerate() {
            let path = format!("sinks[{place}].password_file");
            let known = self.plan.sinks.iter().find(|sink| sink.name == new.name);
            let follows = |known: &SinkPlan| match (known.settings.password(), new.settings.password()) {
                (Some(known), Some(new)) => known.follow(new),
                _ => false,
            };
            if changed.contains(&path) && !known.is_some_and(follows) {
                refused.push((path, FROM_ENVIRONMENT));
            }
        }
        if has(".on_full") || has(".detach_after") {
            self.on_full.send_replace(on_fulls(&plan.sinks));
        }
        if has("dead_letters.max_bytes") {
            self.dead.limit(plan.dead_letters.max_bytes);
        }
        let source = &mut self.plan.source;
        source.snapshot.max_rows_per_second = plan.source.snapshot.max_rows_per_second;
        let tables = source.doubts.tables.clone();
        source.doubts = plan.source.doubts.clone();
        let is_of_rules = |path: &&String| path.starts_with("tables");
        if stays.iter().any(|path| is_of_rules(&path)) {
            // Rules that come, go or change otherwise wait for the restart as a whole.
            source.doubts.tables = tables;
            refused.extend(changed.iter().filter(is_of_rules).map(|path| (path.clone(), OTHER_RULES)));
        }
        source.describe_wait = plan.source.describe_wait;
        if has("source.snapshot.max_rows_per_second") || has("source.reread_keyless_rows") {
            let (rows, keyless) = (source.snapshot.max_rows_per_second, source.doubts.reread_keyless_rows);
            // A coordinator that is gone limits nothing.
            drop(self.jobs.send(Job::Limits { max_rows_per_second: rows, reread_keyless_rows: keyless }));
        }
        if changed.iter().any(|path| path.starts_with("source.") || path.ends_with(".on_doubt")) {
            let request = Request::Rules { doubts: source.doubts.clone(), describe_wait: source.describe_wait };
            // The loop takes them at its next boundary; one that is gone has no use for them.
            drop(self.requests.send(request).await);
        }
        refused
    }
}

fn listed(settings: &BTreeSet<String>) -> String {
    settings.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
