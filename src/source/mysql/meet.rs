//! A connection to a server that was asked who it is.

use mysql_async::Conn;

use super::connect::connect;
use super::server::ServerInfo;
use crate::config::SourcePlan;
use crate::error::Failure;

/// A server that was asked who it is and can be read, and the connection to it.
#[derive(Debug)]
pub struct Met {
    /// The connection, with nothing under way on it.
    pub conn: Conn,
    /// What it said.
    pub server: ServerInfo,
}

impl Met {
    /// Connects, and asks.
    ///
    /// # Errors
    /// A classified [`Failure`]; fatal for a server whose binlog cannot be copied exactly.
    pub async fn meet(source: &SourcePlan) -> Result<Self, Failure> {
        let mut conn = connect(source).await?;
        let server = ServerInfo::probe(&mut conn).await?;
        server.require_usable()?;
        Ok(Self { conn, server })
    }
}
