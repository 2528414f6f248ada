//! The log's state as its readers need it: values by key.

use wal::Reader;

/// The durable state of a log. What its values mean is [`super::stored`]'s.
pub trait State {
    /// The value of a key.
    ///
    /// # Errors
    /// When the log is out of service.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, wal::Error>;

    /// The keys that begin with `prefix`, in order, with their values, all as of one commit.
    ///
    /// # Errors
    /// When the log is out of service.
    fn under(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, wal::Error>;

    /// The keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the log is out of service.
    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, wal::Error> {
        Ok(self.under(prefix)?.into_iter().map(|(key, _)| key).collect())
    }
}

impl State for Reader {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, wal::Error> {
        self.state(key)
    }

    fn under(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, wal::Error> {
        self.state_prefix(prefix)
    }

    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, wal::Error> {
        self.state_keys(prefix)
    }
}

impl<S: State + ?Sized> State for &S {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, wal::Error> {
        (**self).get(key)
    }

    fn under(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, wal::Error> {
        (**self).under(prefix)
    }

    fn keys_under(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, wal::Error> {
        (**self).keys_under(prefix)
    }
}
