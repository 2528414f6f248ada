//! TLS: what a `tls` section asks for, the rustls client that does it, and what its errors mean.
//!
//! MySQL's client library makes its own rustls configuration from the same settings (`source::mysql::connect`); everything else that
//! speaks TLS takes [`client_config`].

mod authorities;
mod client;
mod failed;

use std::path::PathBuf;

pub use authorities::read_authorities;
pub use client::client_config;
pub use failed::{tls_error, tls_hint, tls_may_recover};

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// TLS without any check of the certificate.
    Required,
    /// The certificate is signed by a known authority.
    VerifyCa,
    /// That, and it names the host.
    VerifyIdentity,
}

/// A `tls` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPlan {
    /// What is checked.
    pub mode: TlsMode,
    /// Authorities to trust besides the public ones, in PEM.
    pub ca_file: Option<PathBuf>,
}
