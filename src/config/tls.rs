//! The `tls` sections: how they are read, which authorities they name, and what to change in them when TLS fails.
//!
//! The authorities are read when the configuration is, so that a wrong file is a problem of the configuration and not an error of the
//! first connection. They are read again when connections are made.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{AlertDescription, CertificateError, RootCertStore};

use super::tree::Section;
use super::{TlsMode, TlsPlan};

/// A `tls` section; without a mode it is `disabled` if `plain`, else every check.
pub(super) fn read(section: Section<'_>, plain: bool) -> Option<TlsPlan> {
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

/// The certificates in a `ca_file`, at least one; each can be trusted as an authority.
///
/// # Errors
/// What is wrong with the file, which is named.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = path.display();
    let text = fs::read(path).map_err(|error| format!("cannot read \"{file}\": {error}"))?;
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("\"{file}\" is not well-formed PEM: {error}"))?;
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| format!("\"{file}\" holds a certificate that cannot be read: {error}"))?;
        authorities.push(certificate);
    }
    if authorities.is_empty() {
        return Err(format!("\"{file}\" holds no certificate in PEM form"));
    }
    Ok(authorities)
}

/// Why TLS failed, if that is what an error is about.
pub fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // The cause of an I/O error is the cause of what it wraps: what it wraps is asked for by itself.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Whether the next connection may go well: bytes were changed on the way, or the other side is in trouble of its own.
pub fn tls_may_recover(error: &rustls::Error) -> bool {
    use rustls::Error;
    matches!(
        error,
        Error::DecryptError | Error::AlertReceived(AlertDescription::BadRecordMac | AlertDescription::InternalError)
    )
}

/// What to do about failed TLS. `owner` stands in front of the names of keys: `source.`, or `the sink's `.
pub fn tls_hint(error: &rustls::Error, owner: &str) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(refused) => match refused {
            NotValidForName | NotValidForNameContext { .. } => format!(
                "put a host that the server's certificate names into {owner}url, or set {owner}tls.mode to verify_ca"
            ),
            UnknownIssuer => {
                format!("put the authority that signed the server's certificate into {owner}tls.ca_file")
            }
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                "renew the server's certificate, or set this machine's clock".to_owned()
            }
            // Its own authority, version 1, a signature that is not known: forms that are not to be trusted whoever signed them.
            _ => format!(
                "give the server a certificate of version 3, not an authority's own, signed by the one in {owner}tls.ca_file; {owner}tls.mode: required does not look at it"
            ),
        },
        _ => format!("check that the port in {owner}url is one where the server speaks TLS, 1.2 or newer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_usable_authority_is_named_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let ca = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let (right, key) = (ca.cert.pem(), ca.signing_key.serialize_pem());
        let cut = right.replace("-----END CERTIFICATE-----", "");
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let file = |name: &str, text: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };

        assert_eq!(read_authorities(&file("right", right.as_bytes())).unwrap(), [ca.cert.der().clone()]);
        assert_eq!(read_authorities(&file("two", format!("{right}{key}{right}").as_bytes())).unwrap().len(), 2);
        for (name, text, wrong) in [
            ("empty", &b""[..], "holds no certificate in PEM form"),
            ("key", key.as_bytes(), "holds no certificate in PEM form"),
            ("der", ca.cert.der(), "holds no certificate in PEM form"),
            ("cut", cut.as_bytes(), "is not well-formed PEM"),
            ("other", other.as_bytes(), "holds a certificate that cannot be read"),
            ("one-of-two", format!("{right}{other}").as_bytes(), "holds a certificate that cannot be read"),
        ] {
            let path = file(name, text);
            let problem = read_authorities(&path).unwrap_err();
            assert!(problem.starts_with(&format!("\"{}\" {wrong}", path.display())), "{name}: {problem}");
        }
        let problem = read_authorities(directory.path()).unwrap_err();
        assert!(problem.starts_with("cannot read \""), "{problem}");
    }

    #[test]
    fn the_reason_is_found_inside_errors_of_io_however_often_they_are_wrapped() {
        let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let once = io::Error::new(io::ErrorKind::InvalidData, refused.clone());
        assert_eq!(tls_error(&once), Some(&refused));
        assert_eq!(tls_error(&io::Error::other(once)), Some(&refused));
        assert_eq!(tls_error(&io::Error::from(io::ErrorKind::InvalidData)), None);
        assert!(tls_hint(&refused, "source.").contains("source.tls.ca_file"));
    }
}
