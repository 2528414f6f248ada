//! The key under which columns are hashed.

use std::fmt::{self, Write as _};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::source::read_password;
use super::tree::Node;

/// Environment variable that holds the key.
pub const HASH_KEY_VARIABLE: &str = "REPLICATOR_HASH_KEY";

/// A key for HMAC-SHA-256, which is never shown.
#[derive(Clone)]
pub struct HashKey {
    mac: Hmac<Sha256>,
    fingerprint: String,
}

impl HashKey {
    /// From the bytes of a secret.
    pub fn new(secret: &[u8]) -> Option<Self> {
        let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        let mut of_key = mac.clone();
        of_key.update(b"replicator: the fingerprint of this key");
        let digest = of_key.finalize().into_bytes();
        let mut fingerprint = String::new();
        for byte in digest.iter().take(8) {
            write!(fingerprint, "{byte:02x}").ok()?;
        }
        Some(Self { mac, fingerprint })
    }

    /// What tells it from another one, in 16 hexadecimal digits, without saying anything of it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The hash of a value: 64 hexadecimal digits in lower case.
    pub fn hash(&self, value: &[u8]) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.mac.clone();
        mac.update(value);
        let digest = mac.finalize().into_bytes();
        let mut text = [b'0'; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or_default();
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or_default();
            }
        }
        text
    }
}

impl PartialEq for HashKey {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for HashKey {}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashKey({})", self.fingerprint)
    }
}

/// Reads the key from the file that `file` names, or from the environment's `variable`.
pub(super) fn read(file: &Node<'_>, variable: Option<String>) -> Option<HashKey> {
    let secret = read_password(file, HASH_KEY_VARIABLE, variable)?;
    let secret = secret.read().map_err(|failure| file.problem(failure.fact())).ok()?;
    if secret.is_empty() { None } else { HashKey::new(secret.reveal().as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_hmac_sha_256_in_hexadecimal_digits() {
        // RFC 4231, test case 2.
        let key = HashKey::new(b"Jefe").unwrap();
        let hash = key.hash(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(std::str::from_utf8(&hash).unwrap(), expected);
    }

    #[test]
    fn a_key_shows_its_fingerprint_alone() {
        let (one, other) = (HashKey::new(b"one").unwrap(), HashKey::new(b"other").unwrap());
        assert_eq!(format!("{one:?}"), format!("HashKey({})", one.fingerprint()));
        assert_eq!(one.fingerprint().len(), 16);
        assert_ne!(one, other);
        assert_eq!(one, HashKey::new(b"one").unwrap());
    }
}
