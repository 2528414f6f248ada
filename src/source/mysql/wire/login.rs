//! The login: the server's greeting, TLS where it is configured, and the password as the account's plugin has it sent.
//!
//! The rules are those of the driver's connections ([`connect`](super::super::connect::connect)): a password goes in clear text only to a
//! server whose certificate was checked, and otherwise encrypted with the server's key, or not at all.

use std::io::{Error as SystemError, ErrorKind};
use std::sync::Arc;

use mysql_async::{DriverError, Error};
use mysql_common::packets::AuthPlugin;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::packets::Packets;
use super::session::{io, server_error, unexpected};
use super::socket::Socket;
use crate::config::{Secret, SourcePlan, TlsMode};
use crate::error::Failure;
use crate::tls::client_config;

// What the client can do, as the protocol has it.
const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const PROTOCOL_41: u32 = 1 << 9;
const TLS: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const OURS: u32 = LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;

/// Largest packet that is taken, as it is said to the server.
const LARGEST: u32 = 1 << 30;
/// `utf8mb4_general_ci`.
const COLLATION: u8 = 45;
/// Bytes of the challenge that the hashing plugins take.
const CHALLENGE: usize = 20;

/// Answers of `caching_sha2_password`.
const KNOWN: u8 = 3;
const WHOLE_PASSWORD: u8 = 4;
const ASK_FOR_KEY: u8 = 2;

/// What a greeting says.
#[derive(Debug, PartialEq, Eq)]
struct Greeting {
    capabilities: u32,
    challenge: Vec<u8>,
    plugin: Vec<u8>,
}

/// What TLS checks; `None`: no TLS is configured.
///
/// # Errors
/// When the certificates of `ca_file` cannot be read.
pub(super) fn tls(source: &SourcePlan) -> Result<Option<Arc<ClientConfig>>, Failure> {
    (source.tls.mode != TlsMode::Disabled).then(|| client_config(&source.tls, "source.")).transpose()
}

/// Connects and logs in.
pub(super) async fn login(
    source: &SourcePlan,
    password: &Secret,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Packets<Socket>, Error> {
    let stream = TcpStream::connect((source.host.as_str(), source.port)).await.map_err(io)?;
    stream.set_nodelay(true).map_err(io)?;
    let mut packets = Packets::new(Socket::Plain(stream));
    let greeting = greeting(packets.read().await.map_err(io)?)?;
    let mut capabilities = OURS;
    if let Some(config) = tls {
        if greeting.capabilities & TLS == 0 {
            return Err(DriverError::NoClientSslFlagFromServer.into());
        }
        capabilities |= TLS;
        packets.write(&client(capabilities)).await.map_err(io)?;
        packets = encrypted(packets, source, config).await?;
    }
    let verified = matches!(source.tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    let plugin = match greeting.plugin.as_slice() {
        b"caching_sha2_password" => AuthPlugin::CachingSha2Password,
        // Whatever else the server would like, it asks for in a moment if the account has it.
        _ => AuthPlugin::MysqlNativePassword,
    };
    let mut response = client(capabilities);
    response.extend_from_slice(source.user.as_bytes());
    response.push(0);
    let proof = proof(&plugin, password.reveal(), &greeting.challenge)?;
    response.push(u8::try_from(proof.len()).map_err(|_| unexpected())?);
    response.extend_from_slice(&proof);
    response.extend_from_slice(plugin.as_bytes());
    response.push(0);
    packets.write(&response).await.map_err(io)?;
    authenticate(&mut packets, password.reveal(), (plugin, greeting.challenge), verified).await?;
    Ok(packets)
}

/// What the client can do; with the user after it, a login, and without, a wish for TLS.
fn client(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&LARGEST.to_le_bytes());
    packet.push(COLLATION);
    packet.extend_from_slice(&[0; 23]);
    packet
}

async fn encrypted(
    packets: Packets<Socket>,
    source: &SourcePlan,
    config: Arc<ClientConfig>,
) -> Result<Packets<Socket>, Error> {
    // Bytes that came before TLS would count as encrypted ones.
    let Some((Socket::Plain(stream), number)) = packets.into_socket() else { return Err(unexpected()) };
    let name = ServerName::try_from(source.host.clone())
        .map_err(|error| io(SystemError::new(ErrorKind::InvalidInput, error)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(io)?;
    Ok(Packets::from(Socket::Encrypted(Box::new(stream)), number))
}

/// Goes on with the login until the server lets the account in.
async fn authenticate(
    packets: &mut Packets<Socket>,
    password: &str,
    (mut plugin, mut challenge): (AuthPlugin<'static>, Vec<u8>),
    verified: bool,
) -> Result<(), Error> {
    let mut switched = false;
    loop {
        let packet = packets.read().await.map_err(io)?;
        match packet {
            [0, ..] => return Ok(()),
            [0xff, ..] => return Err(server_error(packet)),
            [0xfe] => return Err(DriverError::MysqlOldPasswordDisabled.into()),
            [0xfe, asked @ ..] if !switched => {
                switched = true;
                let name = asked.split(|byte| *byte == 0).next().unwrap_or_default();
                challenge = asked.get(name.len() + 1..).unwrap_or_default().to_vec();
                plugin = AuthPlugin::from_bytes(name).into_owned();
                let answer = match &plugin {
                    AuthPlugin::MysqlClearPassword if verified => [password.as_bytes(), &[0]].concat(),
                    AuthPlugin::MysqlClearPassword => return Err(DriverError::CleartextPluginDisabled.into()),
                    AuthPlugin::MysqlOldPassword => return Err(DriverError::MysqlOldPasswordDisabled.into()),
                    AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword | AuthPlugin::Ed25519 => {
                        proof(&plugin, password, &challenge)?
                    }
                    AuthPlugin::MariadbParsec { .. } | AuthPlugin::Other(_) => {
                        let name = String::from_utf8_lossy(plugin.as_bytes()).into_owned();
                        return Err(DriverError::UnknownAuthPlugin { name }.into());
                    }
                };
                packets.write(&answer).await.map_err(io)?;
            }
            [1, KNOWN] if plugin == AuthPlugin::CachingSha2Password => {}
            [1, WHOLE_PASSWORD] if plugin == AuthPlugin::CachingSha2Password => {
                let password = whole_password(packets, password, &challenge).await?;
                packets.write(&password).await.map_err(io)?;
            }
            _ => return Err(unexpected()),
        }
    }
}

/// The password with its end: as it is through TLS, and else encrypted with the server's key, which is asked for.
async fn whole_password(packets: &mut Packets<Socket>, password: &str, challenge: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = [password.as_bytes(), &[0]].concat();
    if packets.socket().is_encrypted() {
        return Ok(bytes);
    }
    packets.write(&[ASK_FOR_KEY]).await.map_err(io)?;
    let packet = packets.read().await.map_err(io)?;
    let [1, key @ ..] = packet else { return Err(server_error(packet)) };
    let challenge = challenge.get(..CHALLENGE).ok_or_else(unexpected)?;
    for (byte, with) in bytes.iter_mut().zip(challenge.iter().cycle()) {
        *byte ^= with;
    }
    Ok(mysql_common::crypto::encrypt(&bytes, key))
}

/// What shows that the password is known. The hashing plugins take 20 bytes of the challenge, after which a zero may stand; `ed25519`
/// signs all 32, whose last may be a zero.
fn proof(plugin: &AuthPlugin<'_>, password: &str, challenge: &[u8]) -> Result<Vec<u8>, Error> {
    let length = if *plugin == AuthPlugin::Ed25519 { 32 } else { CHALLENGE };
    let challenge = challenge.get(..length).ok_or_else(unexpected)?;
    let password = (!password.is_empty()).then_some(password);
    Ok(plugin.gen_data(password, challenge).map(|data| data.to_vec()).unwrap_or_default())
}

/// Reads a greeting of version 10: version, the server's text up to a zero, connection id, 8 bytes of the challenge, a zero, lower half of
/// the capabilities, collation, status, upper half, length of the challenge, 10 zeros, the rest of the challenge, the plugin.
fn greeting(packet: &[u8]) -> Result<Greeting, Error> {
    let [10, rest @ ..] = packet else { return Err(server_error(packet)) };
    let text = rest.iter().position(|byte| *byte == 0).ok_or_else(unexpected)?;
    let fixed = rest.get(text + 1..).ok_or_else(unexpected)?;
    let bytes = |at: usize, length: usize| fixed.get(at..at + length).ok_or_else(unexpected);
    let half =
        |at: usize| Ok::<_, Error>(bytes(at, 2)?.iter().rev().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)));
    let mut challenge = bytes(4, 8)?.to_vec();
    let capabilities = half(13)? | (half(18)? << 16);
    // 20 bytes in all, and a zero.
    challenge.extend_from_slice(bytes(31, 12)?);
    let plugin = fixed.get(44..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    Ok(Greeting { capabilities, challenge, plugin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_read_and_what_is_none_is_an_error() {
        let mut packet = b"\x0a9.7.0\0\x01\0\0\0saltsalt\0".to_vec();
        packet.extend_from_slice(&[0xff, 0xf7, 0x2d, 0x02, 0x00, 0x0b, 0x80, 21]);
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"pepperpepper\0caching_sha2_password\0");
        let read = greeting(&packet).unwrap();
        assert_eq!(read.capabilities, 0x800b_f7ff);
        assert_eq!(read.challenge, b"saltsaltpepperpepper");
        assert_eq!(read.plugin, b"caching_sha2_password");
        for cut in 0..packet.len() - 23 {
            assert!(greeting(&packet[..cut]).is_err(), "{cut}");
        }
        let Error::Server(error) = greeting(b"\xff\x10\x04Too many connections").unwrap_err() else { panic!() };
        assert_eq!((error.code, error.message.as_str()), (1040, "Too many connections"));
    }

    #[test]
    fn a_challenge_that_is_too_short_is_an_error() {
        assert!(proof(&AuthPlugin::Ed25519, "sesame", &[7; 31]).is_err());
        assert_eq!(proof(&AuthPlugin::Ed25519, "sesame", &[0; 32]).unwrap().len(), 64);
        assert_eq!(proof(&AuthPlugin::MysqlNativePassword, "sesame", &[7; 21]).unwrap().len(), 20);
        assert_eq!(proof(&AuthPlugin::CachingSha2Password, "", &[7; 20]).unwrap(), b"");
    }
}
