//! How a `tls` section is read.
//!
//! The authorities are read when the configuration is, so that a wrong file is a problem of the configuration and not an error of the
//! first connection. They are read again when connections are made.

use std::path::PathBuf;

use super::tree::Section;
use super::{TlsMode, TlsPlan};
use crate::tls::read_authorities;

/// A `tls` section; without a mode it is `disabled` if `plain`, else every check.
pub fn read(section: Section<'_>, plain: bool) -> Option<TlsPlan> {
    let words = [
        ("disabled", TlsMode::Disabled),
        ("required", TlsMode::Required),
        ("verify_ca", TlsMode::VerifyCa),
        ("verify_identity", TlsMode::VerifyIdentity),
    ];
    let mode_key = section.key("mode");
    let mode = if mode_key.is_absent() {
        // Full checks unless told otherwise, except where nobody else can listen and servers rarely have certificates.
        Some(if plain { TlsMode::Disabled } else { TlsMode::VerifyIdentity })
    } else {
        mode_key.choice(&words)
    };
    let ca_key = section.key("ca_file");
    let ca_file = ca_key.name().map(PathBuf::from);
    if let Some(path) = &ca_file {
        if let Err(problem) = read_authorities(path) {
            ca_key.problem(problem);
        }
        match mode {
            Some(TlsMode::Disabled) => ca_key.problem("has no meaning without TLS; set mode: verify_identity"),
            Some(TlsMode::Required) => {
                ca_key.problem("is not used by mode: required, which checks no certificate; set mode: verify_ca");
            }
            Some(TlsMode::VerifyCa | TlsMode::VerifyIdentity) | None => {}
        }
    }
    section.finish();
    Some(TlsPlan { mode: mode?, ca_file })
}
