//! How many have still to say which tables they want to be read. A run that has to end waits for them.

use std::sync::Arc;

use tokio::sync::watch;

/// Somebody who has not said it yet. It is said once this is dropped.
#[derive(Debug)]
pub(super) struct Asking(Arc<watch::Sender<usize>>);

impl Asking {
    /// Nobody yet; gives what shows how many there are.
    pub(super) fn nobody() -> (Arc<watch::Sender<usize>>, watch::Receiver<usize>) {
        let (count, shown) = watch::channel(0);
        (Arc::new(count), shown)
    }

    /// One more.
    pub(super) fn one_of(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
