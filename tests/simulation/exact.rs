//! The read of a whole table at one place of the binlog. The real one is `snapshot/exact.rs`.

use replicator::source::mysql::schema::Flavour;
use replicator::source::mysql::snapshot::{Progress as Read, Stage};

use super::job::{Doing, Job};
use super::requests::{ExactRead, Request};
use super::rng::Rng;
use super::server::Server;
use super::tables::{Row, layouts};

impl Job {
    /// Pins a view of the whole table together with its place.
    pub(super) fn pin(&mut self, server: &Server, rng: &mut Rng, at: usize, out: &mut Vec<Request>) {
        let name = self.name();
        if rng.percent(5) || server.locked() == Some(name) {
            // A lock that is not had.
            out.extend(self.stop());
            self.doing = Doing::Nothing;
            return;
        }
        let takes_back = server.now().tables.get(&name).is_some_and(|table| table.shape.is_transactional);
        let view = match server.flavour() {
            // Under a lock, the binlog's end and the table belong together.
            Flavour::MySql => server.end(),
            // No view holds a table whose engine takes nothing back, so that it is read under a lock here too.
            Flavour::MariaDb if !takes_back => server.end(),
            Flavour::MariaDb if server.shown() < at => return,
            Flavour::MariaDb => server.shown(),
        };
        let Some(now) = server.visible(name) else {
            return self.unseen(server, out);
        };
        let seen = if takes_back { server.seen_at(view, rng) } else { view };
        let table = server.state(seen).tables.get(&name).filter(|table| table.version == now.version);
        let Some(table) = table else { return };
        let rows: Vec<Row> = table
            .rows
            .iter()
            .flat_map(|(row, count)| std::iter::repeat_n(*row, usize::try_from(*count).unwrap()))
            .collect();
        let piece = rng.between(1, 8);
        let next = Read { stage: Stage::Placed, ..self.progress.clone() };
        let read = ExactRead {
            name,
            layouts: layouts(name, table.shape),
            at: server.place(view),
            pieces: rows.chunks(piece).map(<[Row]>::to_vec).collect(),
            number: next.number,
        };
        let total = u64::try_from(rows.len()).unwrap();
        self.doing = Doing::Copying(Box::new(read), Read { rows: total, ..next });
    }
}
