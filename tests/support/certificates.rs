//! A certificate authority of the test's own, and the certificates that it signs, as PEM files.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use super::directory;

/// Signs certificates. Its files, and those of what it has signed, are there until it is dropped.
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let directory = directory::fresh("certificates");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        fs::write(directory.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    /// What is given as `ca_file` to whoever is to trust it.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Its own certificate, for a server that shows that one.
    pub fn itself(&self) -> Identity {
        let identity = Identity { certificate: self.file(), key: self.path("ca.key.pem") };
        fs::write(&identity.key, self.issuer.key().serialize_pem()).unwrap();
        identity
    }

    /// A certificate for one host name or address.
    pub fn sign(&self, host: &str) -> Identity {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let identity =
            Identity { certificate: self.path(&format!("{host}.pem")), key: self.path(&format!("{host}.key.pem")) };
        fs::write(&identity.certificate, signed.pem()).unwrap();
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
