//! The log beside the targets: whether each target is where the log says that it is. What a start would refuse is
//! said in the start's words.

use wal::Reader;

use crate::config::SinkPlan;
use crate::deliver::would_resume;
use crate::error::sink_reset;
use crate::model::CheckItem;
use crate::sink::TargetState;
use crate::telemetry::{SinkPhase, Status};

/// A target beside a log that no daemon has open; `log`: there is one that can be read.
pub(super) fn beside_log(sink: &SinkPlan, state: Option<TargetState>, log: Option<&Reader>) -> Option<CheckItem> {
    // What cannot be asked, and what has no cursor that can be read, is a finding of the sink's own.
    let state = state.filter(|state| !matches!(state, TargetState::Lost(_)))?;
    let name = name_of(sink);
    let Some(log) = log else {
        let TargetState::At { log, applied, .. } = state else { return None };
        let reset = sink_reset(&sink.name);
        let detail = format!(
            "the target of sink '{}' holds lsn {applied} of log {log}, and there is no log in wal.path: the log was lost, or is another directory's",
            sink.name
        );
        let mend = format!(
            "point wal.path to the log that the target belongs to, or the sink to an empty target; to go on with a new log, `replicator start` \
             makes it, and then `{reset}` reads every table again, in place of what the target has"
        );
        return Some(CheckItem::fail(name, detail, Some(mend)));
    };
    let is_known = log.cursors().iter().any(|cursor| cursor.name == sink.name);
    Some(match would_resume(log, &sink.name, state) {
        Ok(Some(at)) if is_known => CheckItem::ok(name, format!("they fit: the sink continues after lsn {at}")),
        Ok(Some(at)) => CheckItem::ok(name, format!("they fit: the sink is new to the log, and begins after lsn {at}")),
        Ok(None) => {
            CheckItem::ok(name, "the next start reads every table again for it, as `sink reset` or `resync` has asked")
        }
        Err(failure) => CheckItem::fail(name, failure.fact(), failure.hint),
    })
}

/// A target beside the log of a daemon that runs, which compares the two itself.
pub(super) fn beside_daemon(sink: &SinkPlan, status: &Status) -> CheckItem {
    let name = name_of(sink);
    let Some(shown) = status.sinks.iter().find(|shown| shown.name == sink.name && shown.kind.is_some()) else {
        let detail = "not compared: the running daemon holds the log, and was started without this sink";
        return CheckItem::warn(name, detail, Some("start the daemon again to serve it".to_owned()));
    };
    let error = shown.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    match shown.state {
        SinkPhase::Failed | SinkPhase::Detached => CheckItem::fail(
            name,
            format!("at the daemon the sink is {}{error}", shown.state.as_str()),
            shown.remedy.clone(),
        ),
        SinkPhase::Retrying => CheckItem::warn(name, format!("at the daemon the sink is retrying{error}"), None),
        _ => CheckItem::ok(
            name,
            format!(
                "the running daemon holds the log and compares them itself: the sink is {}, up to lsn {}",
                shown.state.as_str(),
                shown.applied_lsn
            ),
        ),
    }
}

fn name_of(sink: &SinkPlan) -> String {
    format!("sink {}: log and target", sink.name)
}
