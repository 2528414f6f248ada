//! What must hold of an entry of the binlog once the stored position has gone past it.

use std::collections::BTreeSet;

use super::audit::Audit;
use super::binlog::Ending;
use super::daemon::Finding;
use super::log::SimLog;
use super::server::Server;
use super::tables::Name;

impl Audit {
    /// A table that is left out by doubt stays so under the names that it has had up to an entry.
    pub(super) fn stopped_by_other_names(&mut self, entry: usize, server: &Server) {
        if self.stopped.is_empty() {
            return;
        }
        let mut numbers = BTreeSet::new();
        for place in self.position()..=entry {
            let is_said = self.logged.get(&place).is_some_and(|logged| !logged.left_out.is_empty());
            let tables = server.state(place).tables.iter();
            let stopped = tables.filter(|(name, table)| {
                // A statement may have left it out by a name that it had for a part of it only.
                self.stopped.contains(name) || (is_said && table.version == place)
            });
            numbers.extend(stopped.map(|(_, table)| table.number));
        }
        for place in self.position()..=entry {
            let tables = server.state(place).tables.iter().filter(|(_, table)| numbers.contains(&table.number));
            self.stopped.extend(tables.map(|(name, _)| *name));
        }
    }

    /// The position has gone past an entry: its rows are in the log.
    pub(super) fn entry_passed(&mut self, entry: usize, log: &SimLog, server: &Server) -> Result<(), Finding> {
        let logged = self.logged.remove(&entry).unwrap_or_default();
        let Some(group) = server.entry(entry).group() else { return Ok(()) };
        if matches!(group.ending, Ending::Prepare(_)) && logged.changes.values().any(|changes| !changes.is_empty()) {
            return Err(format!("entry {entry} is prepared, and has rows in the log"));
        }
        if !group.ending.commits() {
            return Ok(());
        }
        // Of one that was prepared before the log began nothing is known, nor of a table that was not captured then.
        let is_two_phase = matches!(group.ending, Ending::XaCommit(..) | Ending::OnePhase(_));
        let is_unread = |name: Name| match group.ending {
            Ending::XaCommit(_, prepared) => prepared <= self.unread_upto || !self.captured(prepared, name),
            _ => false,
        };
        let unread: BTreeSet<Name> = Name::capturable().filter(|name| is_unread(*name)).collect();
        let is_dropped = !logged.left_out.is_empty() && group.rolls_back_to_savepoint();
        if !is_dropped
            && !is_two_phase
            && !logged.left_out.iter().all(|name| group.may_doubt(*name) || self.stopped.contains(name))
        {
            return Err(format!("entry {entry} was dropped, and took nothing back"));
        }
        let is_about = |name: &Name| group.rows(*name) > 0 || group.may_doubt(*name) || unread.contains(name);
        let is_stated_since = |name: &Name| {
            let Ending::XaCommit(_, prepared) = group.ending else { return false };
            server.state(entry).tables.get(name).is_some_and(|table| table.version > prepared)
        };
        let is_other =
            |name: &Name| self.stopped.contains(name) || self.once_excluded.contains(name) || is_stated_since(name);
        // A table that could not be read at a start is captured from there on.
        let is_other = |name: &Name| is_other(name) || server.was_hidden(*name);
        if is_two_phase && !logged.left_out.iter().all(|name| is_about(name) || is_other(name)) {
            return Err(format!("entry {entry} leaves out {:?}, which it has not changed", logged.left_out));
        }
        let nothing = Vec::new();
        for name in Name::capturable() {
            let there = logged.changes.get(&name).unwrap_or(&nothing);
            if !self.captured.captures(name) {
                if there.is_empty() && !logged.left_out.contains(&name) {
                    continue;
                }
                return Err(format!("entry {entry} has {there:?} of {name} in the log, which is not captured"));
            }
            let expected = group.changes(name);
            let placed = server.entry(entry);
            let has_waited = log.truth().was_diverted(name, (placed.file, placed.end));
            let gaps = self.gaps.get(&name);
            let is_said = gaps.is_some_and(|gaps| gaps.last().is_some_and(|gap| *gap >= entry));
            let is_gap = gaps.is_some_and(|gaps| gaps.contains(&entry));
            let counted = self.tables.entry(name).or_default();
            let most = group.rows(name);
            let exact = u64::try_from(expected.len()).unwrap();
            let between = |(from, to): &(usize, Option<usize>)| *from <= entry && to.is_none_or(|to| entry <= to);
            let is_stopped = self.stopped.contains(&name);
            let is_left_out = is_stopped || counted.left_out.iter().any(between);
            // What cannot be read is left out, and the rest of the group is not.
            let has_the_rest = group.tells(name, there, (is_left_out, is_stopped));
            let was_left_out = is_stopped
                || counted.left_out.iter().any(|(from, to)| *from < entry && to.is_none_or(|to| entry <= to));
            let (least, most) = match logged.left_out.contains(&name) {
                _ if has_the_rest && !there.is_empty() => {
                    if *there != expected {
                        self.explained.insert((entry, name));
                    }
                    (exact, exact)
                }
                true if !there.is_empty() => return Err(format!("entry {entry} was dropped, and has rows of {name}")),
                true => {
                    self.explained.insert((entry, name));
                    // None, where the group has a statement in place of rows of it: that alone, or rows that were taken back while they
                    // were in memory.
                    (if group.may_have_unseen(name) { 0 } else { most.min(1) }, most)
                }
                // A group that is dropped says nothing of a table that is left out already.
                false if was_left_out && there.is_empty() && !has_waited => {
                    if !expected.is_empty() {
                        self.explained.insert((entry, name));
                    }
                    (exact, if group.rolls_back_to_savepoint() { most } else { exact })
                }
                // Rows that were taken back while they were in memory do not count.
                false if is_dropped && expected.is_empty() && there.is_empty() => (0, 0),
                // A statement of a group may end the wait of its own rows.
                false if (has_waited || is_gap) && there.is_empty() => {
                    if is_said {
                        self.explained.insert((entry, name));
                    } else if !self.late.contains(&(entry, name)) {
                        self.waiting.insert((entry, name));
                    }
                    (exact, exact)
                }
                false if *there == expected => (exact, exact),
                false if there.is_empty() && unread.contains(&name) => {
                    self.explained.insert((entry, name));
                    (0, exact)
                }
                false if has_the_rest => {
                    self.explained.insert((entry, name));
                    (exact, exact)
                }
                false => {
                    return Err(format!("entry {entry} has rows {expected:?} of {name}, and the log {there:?}"));
                }
            };
            // What is not known of a two-phase transaction may be known of its rows in part.
            let (least, most) = if is_two_phase && there.is_empty() { (0, group.rows(name)) } else { (least, most) };
            counted.read = counted.read.start() + least..=counted.read.end() + most;
        }
        Ok(())
    }
}
