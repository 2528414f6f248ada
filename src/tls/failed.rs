//! What failed TLS means, and what to change in the configuration.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

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
            // Its own authority, version 1, an unknown signature: such certificates are not trusted, whichever authority signed them.
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
    fn the_reason_is_found_inside_errors_of_io_however_often_they_are_wrapped() {
        let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let once = io::Error::new(io::ErrorKind::InvalidData, refused.clone());
        assert_eq!(tls_error(&once), Some(&refused));
        assert_eq!(tls_error(&io::Error::other(once)), Some(&refused));
        assert_eq!(tls_error(&io::Error::from(io::ErrorKind::InvalidData)), None);
        assert!(tls_hint(&refused, "source.").contains("source.tls.ca_file"));
    }
}
