//! A TCP proxy between the daemon and its server, for cutting what a network cuts; and, for HTTP, what a server does that
//! breaks off in the middle of an answer.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the connections of a proxy share.
struct State {
    target: AtomicU16,
    /// Whether new connections are closed at once.
    refusing: AtomicBool,
    /// Bytes that went from the server to its client.
    received: AtomicU64,
    /// Bytes from the server after which every connection is cut, once.
    cut_at: AtomicU64,
    /// Bytes that went from the client to its server.
    sent: AtomicU64,
    /// Bytes to the server after which every connection is cut, once.
    cut_sent_at: AtomicU64,
    /// The error that takes the place of the next answer to an INSERT.
    late_error: Mutex<Option<String>>,
    /// Requests over HTTP until the one whose answer is lost; 0: none is.
    requests_to_loss: AtomicU64,
    /// Grows with every cut: a connection ends when it sees a new number.
    cuts: watch::Sender<u64>,
    /// While true nothing is passed on, and nothing is closed: the silence of a dead link.
    held: watch::Sender<bool>,
    /// A request with this text is not passed on.
    stalling: watch::Sender<Option<String>>,
    /// There is such a request.
    stalled: watch::Sender<bool>,
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
            target: AtomicU16::new(target),
            refusing: AtomicBool::new(false),
            received: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            sent: AtomicU64::new(0),
            cut_sent_at: AtomicU64::new(u64::MAX),
            late_error: Mutex::new(None),
            requests_to_loss: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
            held: watch::Sender::new(false),
            stalling: watch::Sender::new(None),
            stalled: watch::Sender::new(false),
        });
        let listener = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, listener }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections go to another server, as behind an address that moves.
    pub fn move_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
    }

    /// Closes every connection that is open now; new ones are let in.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes every connection as soon as `bytes` more have come from the server: inside an event, most likely.
    pub fn cut_after(&self, bytes: u64) {
        self.state.cut_at.store(self.received() + bytes, Ordering::SeqCst);
    }

    /// Closes every connection as soon as `bytes` more have gone to the server: inside a request, most likely.
    pub fn cut_after_sent(&self, bytes: u64) {
        self.state.cut_sent_at.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Lets the server do what the next INSERT over HTTP says, and its client read the status 200 and then this error,
    /// in the form in which ClickHouse ends an answer that it cannot finish.
    pub fn fail_next_insert_after_its_status(&self, error: &str) {
        *self.state.late_error.lock().unwrap() = Some(error.to_owned());
    }

    /// Lets the server do what the request over HTTP with this number from now on says (1: the next), and cuts the connection
    /// instead of passing its answer on. Queries are not counted: they change nothing. 0: loses none.
    pub fn lose_answer(&self, number: u64) {
        self.state.requests_to_loss.store(number, Ordering::SeqCst);
    }

    /// Whether the answer of [`Proxy::lose_answer`] is still to be lost.
    pub fn loss_is_waiting(&self) -> bool {
        self.state.requests_to_loss.load(Ordering::SeqCst) > 0
    }

    /// Whether the error of [`Proxy::fail_next_insert_after_its_status`] is still to come.
    pub fn error_is_waiting(&self) -> bool {
        self.state.late_error.lock().unwrap().is_some()
    }

    /// How many times connections were cut.
    pub fn cuts(&self) -> u64 {
        *self.state.cuts.borrow()
    }

    /// Waits until connections were cut so many times.
    pub async fn cuts_reach(&self, cuts: u64) {
        let mut seen = self.state.cuts.subscribe();
        let reached = tokio::time::timeout(Duration::from_mins(1), seen.wait_for(|seen| *seen >= cuts)).await;
        assert!(reached.is_ok(), "the proxy cut {} times within a minute, not {cuts} times", self.cuts());
    }

    /// Closes every connection, and new ones too, until [`Proxy::allow`].
    pub fn refuse(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Closes new connections at once, until [`Proxy::allow`]; those that are open stay.
    pub fn refuse_new(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
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

    /// Does not pass on what goes to the server and has this text in it, until [`Proxy::go_on`].
    pub fn stall(&self, text: &str) {
        self.state.stalling.send_replace(Some(text.to_owned()));
    }

    /// Waits until something is not passed on.
    pub async fn is_stalled(&self) {
        let mut stalled = self.state.stalled.subscribe();
        let waited = tokio::time::timeout(Duration::from_mins(1), stalled.wait_for(|stalled| *stalled)).await;
        assert!(waited.is_ok(), "nothing was stalled within a minute");
    }

    /// Ends [`Proxy::stall`]; what was not passed on by then never is.
    pub fn go_on(&self) {
        self.state.stalling.send_replace(None);
        self.cut();
    }

    /// Bytes that went to the server so far, over all connections.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
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
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(Ordering::SeqCst))).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whether the last request on this connection is an INSERT over HTTP.
    let inserting = AtomicBool::new(false);
    // Whether the answer to it is lost.
    let losing = AtomicBool::new(false);
    tokio::select! {
        () = pass_to_server(from_client, to_server, &state, &inserting, &losing) => {}
        () = pass_to_client(from_server, to_client, &state, &inserting, &losing) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass_to_server(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    inserting: &AtomicBool,
    losing: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Some(piece) = next_piece(&mut from, &mut buffer, state).await {
        let is_stalled = state.stalling.borrow().as_ref().is_some_and(|text| contains(piece, text.as_bytes()));
        if is_stalled {
            state.stalled.send_replace(true);
            // The connection ends with a cut, or with the proxy.
            std::future::pending::<()>().await;
        }
        if let Some(line) = piece.strip_prefix(b"POST ") {
            let end = line.iter().position(|byte| *byte == b'\r').unwrap_or(line.len());
            let is_query = piece.windows(10).any(|bytes| bytes == b"\r\n\r\nSELECT");
            let to_loss = &state.requests_to_loss;
            let lost = !is_query
                && to_loss.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1);
            losing.store(lost, Ordering::SeqCst);
            inserting.store(line[..end].windows(6).any(|word| word == b"INSERT"), Ordering::SeqCst);
        }
        let (kept, cut) = cut_piece(piece, &state.sent, &state.cut_sent_at);
        if to.write_all(kept).await.is_err() {
            return;
        }
        if cut {
            state.cuts.send_modify(|cuts| *cuts += 1);
            return;
        }
    }
}

async fn pass_to_client(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    inserting: &AtomicBool,
    losing: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Some(piece) = next_piece(&mut from, &mut buffer, state).await {
        if losing.load(Ordering::SeqCst) {
            return;
        }
        if inserting.load(Ordering::SeqCst)
            && let Some(answer) = broken_off(piece, &state.late_error)
        {
            // Whether the client has read it shows in what it does.
            drop(to.write_all(&answer).await);
            return;
        }
        let (kept, cut) = cut_piece(piece, &state.received, &state.cut_at);
        if to.write_all(kept).await.is_err() {
            return;
        }
        if cut {
            state.cuts.send_modify(|cuts| *cuts += 1);
            return;
        }
    }
}

fn contains(piece: &[u8], text: &[u8]) -> bool {
    piece.windows(text.len()).any(|bytes| bytes == text)
}

/// What came next, once it may be passed on.
async fn next_piece<'b>(from: &mut OwnedReadHalf, buffer: &'b mut [u8], state: &State) -> Option<&'b [u8]> {
    let mut held = state.held.subscribe();
    let length = from.read(buffer).await.ok().filter(|length| *length > 0)?;
    held.wait_for(|held| !held).await.ok()?;
    Some(&buffer[..length])
}

/// Counts a piece; gives what of it is passed on, and whether the connections are cut there.
fn cut_piece<'p>(piece: &'p [u8], passed: &AtomicU64, cut_at: &AtomicU64) -> (&'p [u8], bool) {
    let length = u64::try_from(piece.len()).unwrap();
    let before = passed.fetch_add(length, Ordering::SeqCst);
    let at = cut_at.load(Ordering::SeqCst);
    if before + length < at {
        return (piece, false);
    }
    cut_at.store(u64::MAX, Ordering::SeqCst);
    (&piece[..usize::try_from(at.saturating_sub(before)).unwrap()], true)
}

/// A whole answer of ClickHouse with the status 200 and no body, broken off by the error that is waiting, if there is one.
fn broken_off(answer: &[u8], late_error: &Mutex<Option<String>>) -> Option<Vec<u8>> {
    let head = answer.strip_suffix(b"0\r\n\r\n").filter(|head| head.starts_with(b"HTTP/1.1 200 "))?;
    let error = late_error.lock().unwrap().take()?;
    let text = String::from_utf8(head.to_vec()).unwrap();
    let tag = text.lines().find_map(|line| line.strip_prefix("X-ClickHouse-Exception-Tag: ")).unwrap_or_default();
    let chunk = format!("\r\n__exception__\r\n{tag}\r\n{error}\n{} {tag}\r\n__exception__\r\n", error.len() + 1);
    Some(format!("{text}{:X}\r\n{chunk}\r\n", chunk.len()).into_bytes())
}
