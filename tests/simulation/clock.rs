//! What time it is.

/// A moment.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// Milliseconds since the daemon has started.
    pub now: u64,
    /// Microseconds since the epoch.
    pub wall: i64,
}

impl Time {
    /// The beginning of a history.
    pub const BEGIN: Self = Self { now: 0, wall: 1_000_000_000 };

    pub fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.wall += i64::try_from(millis).unwrap() * 1_000;
    }

    /// A daemon starts.
    pub fn start(&mut self) {
        self.now = 0;
    }
}
