//! A client as `tls.mode` asks for it, on rustls with the public authorities of `webpki-roots` and those of `tls.ca_file`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsMode, TlsPlan, read_authorities};
use crate::error::Failure;

/// A configuration that checks what the plan says. `owner` stands in front of the names of keys in hints: `the sink's `.
///
/// # Errors
/// When the certificates of `ca_file` cannot be read.
pub fn client_config(plan: &TlsPlan, owner: &str) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let broken = |error: Error| Failure::fatal("TLS cannot be set up").caused_by(error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let config = match plan.mode {
        TlsMode::VerifyIdentity | TlsMode::Disabled => {
            builder.with_root_certificates(authorities(plan, owner)?).with_no_client_auth()
        }
        TlsMode::VerifyCa => {
            let authorities =
                WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(plan, owner)?), Arc::clone(&provider))
                    .build()
                    .map_err(|error| Failure::fatal("TLS cannot be set up").caused_by(error))?;
            let verifier = Lenient { authorities: Some(authorities), provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        TlsMode::Required => {
            let verifier = Lenient { authorities: None, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

fn authorities(plan: &TlsPlan, owner: &str) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = &plan.ca_file else { return Ok(store) };
    let unusable =
        |why| Failure::fatal("TLS cannot be set up").caused_by(why).hint(format!("check {owner}tls.ca_file"));
    for certificate in read_authorities(path).map_err(|why| unusable(why.into()))? {
        store.add(certificate).map_err(|error| unusable(Box::<dyn std::error::Error + Send + Sync>::from(error)))?;
    }
    Ok(store)
}

/// Checks less than a certificate can tell: never whom it names, and who signed it only against `authorities`. That the server has the
/// key of the certificate it shows is always checked.
#[derive(Debug)]
struct Lenient {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last: everything before it was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
