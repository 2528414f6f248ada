//! The certificates that a `ca_file` names.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

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
}
