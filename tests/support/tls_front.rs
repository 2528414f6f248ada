//! TLS in front of a server that has none: the engine that the tests run as ClickHouse serves HTTP only.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certificates::Identity;

/// Takes TLS connections and passes on what is in them. It ends when it is dropped.
pub struct TlsFront {
    port: u16,
    listener: JoinHandle<()>,
}

impl TlsFront {
    /// Shows this certificate, on a free port; what it serves is at `target`, both on 127.0.0.1.
    pub async fn before(target: u16, identity: &Identity) -> Self {
        let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a listening socket accepts");
                tokio::spawn(pass(client, acceptor.clone(), target));
            }
        });
        Self { port, listener }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// One connection, until either side ends it. Who refuses the certificate, or speaks no TLS, finds it closed.
async fn pass(client: TcpStream, acceptor: TlsAcceptor, target: u16) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    drop(copy_bidirectional(&mut client, &mut server).await);
}
