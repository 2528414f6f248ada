//! A TCP proxy between the daemon and its server, for cutting what a network cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the connections of a proxy share.
struct State {
    target: u16,
    /// Whether new connections are closed at once.
    refusing: AtomicBool,
    /// Bytes that went from the server to its client.
    received: AtomicU64,
    /// Bytes from the server after which every connection is cut, once.
    cut_at: AtomicU64,
    /// Grows with every cut: a connection ends when it sees a new number.
    cuts: watch::Sender<u64>,
    /// While true nothing is passed on, and nothing is closed: the silence of a dead link.
    held: watch::Sender<bool>,
}

/// A listening proxy. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port for connections to `target`, both on 127.0.0.1.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target,
            refusing: AtomicBool::new(false),
            received: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            cuts: watch::Sender::new(0),
            held: watch::Sender::new(false),
        });
        let listener = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, listener }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection that is open now; new ones are let in.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes every connection as soon as `bytes` more have come from the server: inside an event, most likely.
    pub fn cut_after(&self, bytes: u64) {
        self.state.cut_at.store(self.received() + bytes, Ordering::SeqCst);
    }

    /// How many times connections were cut.
    pub fn cuts(&self) -> u64 {
        *self.state.cuts.borrow()
    }

    /// Closes every connection, and new ones too, until [`Proxy::allow`].
    pub fn refuse(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn allow(&self) {
        self.state.refusing.store(false, Ordering::SeqCst);
    }

    /// Passes nothing on until [`Proxy::release`], with every connection left open.
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// Bytes that came from the server so far, over all connections.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let (client, _) = listener.accept().await.expect("a listening socket accepts");
        if !state.refusing.load(Ordering::SeqCst) {
            tokio::spawn(connect(client, Arc::clone(&state)));
        }
    }
}

/// One connection, until either side closes it or it is cut. Then both sides see it closed.
async fn connect(client: TcpStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    // A server that is down is a closed connection to its client, as without a proxy.
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, &state, false) => {}
        () = pass(from_server, to_client, &state, true) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, from_server: bool) {
    let mut held = state.held.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let mut piece = &buffer[..length];
        let mut cut = false;
        if from_server {
            let length = u64::try_from(length).unwrap();
            let before = state.received.fetch_add(length, Ordering::SeqCst);
            let cut_at = state.cut_at.load(Ordering::SeqCst);
            if before + length >= cut_at {
                let kept = usize::try_from(cut_at.saturating_sub(before)).unwrap();
                piece = &piece[..kept];
                cut = true;
            }
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
        if cut {
            state.cut_at.store(u64::MAX, Ordering::SeqCst);
            state.cuts.send_modify(|cuts| *cuts += 1);
            return;
        }
    }
}
