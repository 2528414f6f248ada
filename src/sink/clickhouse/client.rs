//! The connection to the server: its HTTP interface, through the `clickhouse` crate, and for INSERTs through [`super::insert`].
//!
//! Every request runs on the daemon's own runtime, not on the sink's thread: bytes of a batch leave while the next rows are
//! encoded, and a pooled connection never waits for a thread that is busy encoding.
//!
//! A time-out is an unknown outcome: the server goes on with what it has received. Whoever gets one repeats the same rows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Refused;
use super::insert::{Insert, Inserts};
use crate::config::Password;
use crate::error::Failure;
use crate::sink::clickhouse::{ClickHousePlan, Compression};
use crate::tls::client_config;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are given up before the server does it: its own limit is 3 s in older configurations, 10 s today.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that is gone without a word is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Settings of every request. Blocks are larger than any batch, so that an INSERT is one block, hence one part, hence stored
/// as a whole or not at all; the format's own checks are on.
pub(crate) const SETTINGS: [(&str, &str); 12] = [
    ("async_insert", "0"),
    ("input_format_skip_unknown_fields", "0"),
    ("input_format_with_names_use_header", "1"),
    ("input_format_with_types_use_header", "1"),
    ("input_format_parallel_parsing", "0"),
    // Columns of type JSON come as text.
    ("input_format_binary_read_json_as_string", "1"),
    ("max_insert_block_size", "16777216"),
    ("min_insert_block_size_rows", "16777216"),
    ("min_insert_block_size_bytes", "4294967296"),
    ("output_format_json_quote_64bit_integers", "0"),
    ("alter_sync", "1"),
    ("mutations_sync", "1"),
];

/// INSERTs that are ended at once: a round may have rows of more tables than the server takes requests.
const ENDED_AT_ONCE: usize = 16;

/// A client of one server, as one user, in one database. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    inner: clickhouse::Client,
    inserts: Arc<Inserts>,
    runtime: Handle,
    timeout: Duration,
    password: Password,
    /// For INSERTs that begin when their round ends.
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// For a plan, with the password as it is now; requests run on `runtime`. Nothing is connected yet.
    ///
    /// # Errors
    /// When the certificates of `tls.ca_file`, or the password, cannot be read.
    pub(super) fn new(plan: &ClickHousePlan, runtime: Handle) -> Result<Self, Failure> {
        let connector = connector(plan)?;
        let password = plan.password.read()?;
        let mut http = HyperClient::builder(TokioExecutor::new());
        http.pool_idle_timeout(IDLE_TIMEOUT);
        let mut inner = clickhouse::Client::with_http_client(http.build(connector.clone()))
            .with_url(&plan.url)
            .with_database(&plan.database)
            .with_user(&plan.user)
            .with_product_info("replicator", env!("CARGO_PKG_VERSION"))
            .with_compression(match plan.compression {
                Compression::None => clickhouse::Compression::None,
                Compression::Lz4 => clickhouse::Compression::Lz4,
            });
        if !password.is_empty() {
            inner = inner.with_password(password.reveal());
        }
        for (name, value) in settings(plan) {
            inner = inner.with_setting(name, value);
        }
        let inserts = Inserts::new(http.build(connector), (plan, password), settings(plan))
            .map_err(|error| error.failure("make requests to the server"))?;
        let turns = Arc::new(Semaphore::new(ENDED_AT_ONCE));
        Ok(Self {
            inner,
            inserts: Arc::new(inserts),
            runtime,
            timeout: plan.timeout,
            password: plan.password.clone(),
            turns,
        })
    }

    /// Runs a statement to its end. `patient`: it may take as long as it takes, because it copies a table.
    pub(super) async fn execute(&self, sql: &str, patient: bool) -> Result<(), Refused> {
        let query = self.inner.query_raw(sql);
        let (timeout, long) = (self.timeout, patient);
        self.run(async move {
            let answer = query.execute();
            if long {
                return answer.await.map_err(Refused::from);
            }
            match tokio::time::timeout(timeout, answer).await {
                Ok(done) => done.map_err(Refused::from),
                Err(_) => Err(Refused::timed_out(timeout)),
            }
        })
        .await
    }

    /// The rows of a query, each a tuple.
    pub(super) async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Refused> {
        let query = self.inner.query_raw(sql);
        let timeout = self.timeout;
        let text = self
            .run(async move {
                let answer = async { query.fetch_bytes("JSONCompactEachRow")?.collect().await };
                match tokio::time::timeout(timeout, answer).await {
                    Ok(bytes) => bytes.map_err(Refused::from),
                    Err(_) => Err(Refused::timed_out(timeout)),
                }
            })
            .await?;
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(|error| Refused::unreadable(&error)))
            .collect()
    }

    /// Inserts rows that are at hand, in the format that `sql` names.
    pub(super) async fn insert(&self, sql: &str, rows: Vec<u8>) -> Result<(), Refused> {
        let insert = self.begin_insert(sql);
        insert.send(Bytes::from(rows));
        insert.end().await.map(drop)
    }

    /// An INSERT whose bytes come in pieces.
    pub(super) fn begin_insert(&self, sql: &str) -> Insert {
        self.inserts.begin(&self.runtime, sql)
    }

    /// Waits for its turn, which lasts until the permit is dropped.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Refused::abandoned())
    }

    /// The server has let the user in.
    pub(super) fn is_let_in(&self) {
        self.password.accepted();
    }

    /// Where requests run.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<T, Refused> {
        match self.runtime.spawn(request).await {
            Ok(answer) => answer.map_err(|refused| refused.under(&self.password)),
            Err(error) => Err(Refused::interrupted(&error)),
        }
    }
}

/// Those of every request: the sink's own, then those of the configuration.
fn settings(plan: &ClickHousePlan) -> impl Iterator<Item = (&str, &str)> {
    SETTINGS.into_iter().chain(plan.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn connector(plan: &ClickHousePlan) -> Result<HttpsConnector<HttpConnector>, Failure> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let config = client_config(&plan.tls, "the sink's ")?;
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(Arc::unwrap_or_clone(config))
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}
