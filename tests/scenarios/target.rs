//! What a sink brings to have every scenario, and a test's whole world around it.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::compare::{Compared, View, assert_copied};
use crate::support::copies::Copied;
use crate::support::history::assert_history_of;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};
use crate::support::workload::Shape;

/// What a sink makes of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Mirror,
    History,
}

impl Mode {
    /// As the configuration spells it, and as sinks and their places are named.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Mirror => "mirror",
            Mode::History => "history",
        }
    }
}

/// A sink and its target: one place for a mirror, and one for changelogs.
pub trait Target: Sized {
    /// How its tables are read.
    type Copy<'t>: Copied
    where
        Self: 't;

    /// How many kills a kill test makes, and the variable that says another number.
    const KILLS: (&'static str, u32);

    /// Whether there is a server that can be killed. A target without one dies with the daemon.
    const HAS_SERVER: bool;

    /// Whether a mirror holds tables without a key. One that does not stops them by name.
    const HOLDS_KEYLESS: bool;

    /// The types of `types.rs` that have values which neither a mirror nor a changelog holds: each stops its table by name.
    const NOT_HELD: &'static [&'static str];

    /// Starts the server, if there is one. The directory is the test's and goes away with it.
    async fn start(directory: &Path) -> Self;

    /// The entry of `sinks` in the configuration, with `name` and `mode` to be those of the mode: every table of the source database under
    /// its own name, and batches that are sent at once.
    fn sink(&self, mode: Mode) -> Value;

    /// Reads what a sink has made.
    fn copy(&self, mode: Mode) -> Self::Copy<'_>;

    /// A table of the mirror as [`Target::exec`] names it.
    fn named(&self, table: &str) -> String;

    /// Runs a statement at the target, as somebody who is not the sink.
    async fn exec(&self, sql: &str);

    /// From here on, a table takes no row whose `column` is 13.
    async fn refuse(&self, mode: Mode, table: &str, column: &str);

    /// Ends [`Target::refuse`].
    async fn take_all(&self, mode: Mode, table: &str);

    /// The single value that a query gives somebody who is not the sink.
    async fn value(&self, sql: &str) -> String;

    /// The columns of the key by which a mirror tells the rows of a table apart.
    async fn key(&self, table: &str) -> Vec<String>;

    /// Makes the target one that takes no writes for the moment: a server that is down, a file that is locked.
    async fn go_away(&mut self);

    /// What the sink's error says meanwhile.
    fn away_error(&self) -> String;

    /// Ends [`Target::go_away`].
    async fn come_back(&mut self);

    /// Ends the server with signal 9. Of a target without one it is never asked.
    fn kill(&mut self);

    /// Starts the server after [`Target::kill`].
    async fn start_again(&mut self);

    /// Asserts what has to be true of a mirror besides its content, whatever was killed.
    async fn assert_sound(&self, _tables: &[String]) {}
}

/// A source with an empty database `shop`, one target, and a daemon's configuration between them.
pub struct World<T> {
    sandbox: Sandbox,
    pub target: T,
}

impl<T: Target> World<T> {
    /// A file of its own.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.sandbox.path(name)
    }

    /// With a mirror.
    pub async fn mirror(kind: Kind) -> Self {
        Self::on(Server::start(kind).await, &[Mode::Mirror]).await
    }

    /// With changelogs.
    pub async fn history(kind: Kind) -> Self {
        Self::on(Server::start(kind).await, &[Mode::History]).await
    }

    /// With a mirror and changelogs at once, in this order.
    pub async fn both(kind: Kind) -> Self {
        Self::on(Server::start(kind).await, &[Mode::Mirror, Mode::History]).await
    }

    /// Around a server with options of its own.
    pub async fn on(server: Server, modes: &[Mode]) -> Self {
        let mut sandbox = Sandbox::on(server).await;
        let target = T::start(sandbox.directory()).await;
        let sinks: Vec<Value> = modes.iter().map(|mode| target.sink(*mode)).collect();
        sandbox.set("/sinks", json!(sinks));
        Self { sandbox, target }
    }

    /// Runs statements at the source, in its database.
    pub async fn sql(&self, sql: impl AsRef<str>) {
        self.server.exec(format!("USE {DATABASE}; {}", sql.as_ref())).await;
    }

    /// Asserts that the mirror has all of the source's database.
    pub async fn assert_mirrored(&self) -> Compared {
        self.assert_mirrored_as(&View::default()).await
    }

    /// Asserts that the mirror has all of the source's database but these tables.
    pub async fn assert_mirrored_but(&self, left_out: &[&str]) -> Compared {
        let left_out = left_out.iter().map(|table| (*table).to_owned()).collect();
        self.assert_mirrored_as(&View { left_out, ..View::default() }).await
    }

    /// Asserts that the mirror has all of the source's database as `view` says.
    pub async fn assert_mirrored_as(&self, view: &View) -> Compared {
        assert_copied(view, &self.server, DATABASE, &self.target.copy(Mode::Mirror)).await
    }

    /// Asserts that the changelog of a table has no gap and no duplicate, and ends in the source's table; gives its lines' number.
    pub async fn assert_logged(&self, table: &str) -> usize {
        assert_history_of(&self.target.copy(Mode::History), &self.server, DATABASE, table).await
    }
}

impl<T> Deref for World<T> {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl<T> DerefMut for World<T> {
    fn deref_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

/// The shapes of tables that a mirror of this sink holds.
pub fn mirrored_shapes<T: Target>() -> Vec<Shape> {
    Shape::ALL.iter().copied().filter(|shape| T::HOLDS_KEYLESS || *shape != Shape::Keyless).collect()
}

/// The shapes of tables whose rows a changelog tells apart, though it was written to while it was read.
pub fn keyed_shapes() -> Vec<Shape> {
    Shape::ALL.iter().copied().filter(|shape| shape.has_primary_key()).collect()
}
