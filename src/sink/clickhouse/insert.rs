//! One INSERT: an HTTP request whose body is sent while it is made, and the server's word for what it has written.
//!
//! Nothing of it is stored before its body has ended, and it ends in [`Insert::end`] alone: one that is dropped was never there, because
//! its body breaks off without the chunk that ends it.
//!
//! The request is made here and not by the `clickhouse` crate, which drops the head of the answer. There the server says how many
//! rows it has written (`written_rows` of `X-ClickHouse-Summary`). 26.9 sends that head when all is stored, with and without
//! `wait_end_of_query`; it counts rows before it collapses those of one key, and it counts the rows that materialized views have
//! written as well.
//!
//! A body that the server does not take, and an answer that does not come, end after `timeout` as an unknown outcome. The time in
//! which the body waits for rows does not count.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use super::error::Refused;
use super::lz4;
use crate::config::{Password, Secret};
use crate::sink::clickhouse::{ClickHousePlan, Compression};

/// More of an answer is not read: it is empty, or the text of an error.
const LONGEST_ANSWER: usize = 64 << 10;

/// How INSERTs reach the server.
pub(super) struct Inserts {
    http: HyperClient<HttpsConnector<HttpConnector>, Body>,
    /// With the database and the settings of every request.
    url: Url,
    user: String,
    /// As it was when this was made.
    secret: Secret,
    password: Password,
    compression: Compression,
    timeout: Duration,
}

impl Inserts {
    /// For a plan. `settings` go with every request.
    pub(super) fn new<'s>(
        http: HyperClient<HttpsConnector<HttpConnector>, Body>,
        (plan, secret): (&ClickHousePlan, Secret),
        settings: impl Iterator<Item = (&'s str, &'s str)>,
    ) -> Result<Self, Refused> {
        let mut url = Url::parse(&plan.url).map_err(|error| Refused::impossible(&error))?;
        url.query_pairs_mut().clear().append_pair("database", &plan.database).extend_pairs(settings);
        if plan.compression == Compression::Lz4 {
            // Of the body, which the server decompresses.
            url.query_pairs_mut().append_pair("decompress", "1");
        }
        let (user, password) = (plan.user.clone(), plan.password.clone());
        Ok(Self { http, url, user, secret, password, compression: plan.compression, timeout: plan.timeout })
    }

    /// Begins one. Its request runs on `runtime`.
    pub(super) fn begin(&self, runtime: &Handle, sql: &str) -> Insert {
        let (pieces, queue) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::Taken(Instant::now()));
        let body = Body { queue, progress, compression: self.compression, rest: Bytes::new() };
        let timeout = self.timeout;
        let answer = self.request(sql, body).map(|request| self.http.request(request));
        let password = self.password.clone();
        let task = runtime.spawn(async move {
            let stored = async { stored(answer?.await.map_err(|error| Refused::from_network(error.into()))?).await };
            tokio::select! {
                stored = stored => stored.map_err(|refused: Refused| refused.under(&password)),
                () = stalled(seen, timeout) => Err(Refused::timed_out(timeout)),
            }
        });
        Insert { pieces, task }
    }

    fn request(&self, sql: &str, body: Body) -> Result<Request<Body>, Refused> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("query", sql);
        let mut request = Request::post(url.as_str())
            .header("User-Agent", concat!("replicator/", env!("CARGO_PKG_VERSION")))
            .header("X-ClickHouse-User", &self.user);
        if !self.secret.is_empty() {
            request = request.header("X-ClickHouse-Key", self.secret.reveal());
        }
        request.body(body).map_err(|error| Refused::impossible(&error))
    }
}

/// An INSERT on its way.
pub(super) struct Insert {
    pieces: mpsc::UnboundedSender<Piece>,
    task: JoinHandle<Result<Written, Refused>>,
}

/// What the server says of an INSERT that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Rows, those of materialized views included; `None` if it does not say.
    pub(super) rows: Option<u64>,
}

impl Insert {
    /// Sends bytes of the body. An INSERT that has failed takes no more; its error comes out of [`Insert::end`].
    pub(super) fn send(&self, bytes: Bytes) {
        drop(self.pieces.send(Piece::Bytes(bytes)));
    }

    /// Ends the body, and waits until the server has stored it.
    pub(super) async fn end(mut self) -> Result<Written, Refused> {
        drop(self.pieces.send(Piece::End));
        match (&mut self.task).await {
            Ok(stored) => stored,
            Err(error) => Err(Refused::interrupted(&error)),
        }
    }
}

impl Drop for Insert {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What goes into the body.
enum Piece {
    Bytes(Bytes),
    End,
}

/// What has become of the body.
#[derive(Clone, Copy)]
enum Progress {
    /// All there is has been sent; it waits for more.
    Waiting,
    /// A piece, or the end, has been taken for sending, and nothing was heard since.
    Taken(Instant),
}

impl Progress {
    /// Until when the server has time to take more, or to answer.
    fn deadline(self, timeout: Duration) -> Option<Instant> {
        match self {
            Self::Waiting => None,
            Self::Taken(at) => Some(at + timeout),
        }
    }
}

/// Ends when the server has taken nothing, or answered nothing, for as long as `timeout`.
async fn stalled(mut seen: watch::Receiver<Progress>, timeout: Duration) {
    loop {
        let deadline = seen.borrow_and_update().deadline(timeout);
        let changed = match deadline {
            None => seen.changed().await,
            Some(deadline) => match tokio::time::timeout_at(deadline, seen.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // The body is gone: all of it has been sent, or its connection has broken, which is the answer then.
            return tokio::time::sleep_until(deadline.unwrap_or_else(|| Instant::now() + timeout)).await;
        }
    }
}

/// The body of an INSERT.
pub(super) struct Body {
    queue: mpsc::UnboundedReceiver<Piece>,
    progress: watch::Sender<Progress>,
    compression: Compression,
    /// What is left of a piece that is compressed in parts.
    rest: Bytes,
}

impl Body {
    /// The next part of a piece. Without compression a piece is sent as it is, and else in blocks: compressing needs as much memory as
    /// the block has, and a row may be huge.
    fn part(&mut self, bytes: Bytes) -> Bytes {
        match self.compression {
            Compression::None => bytes,
            Compression::Lz4 => {
                self.rest = bytes;
                let block = self.rest.split_to(self.rest.len().min(lz4::MOST));
                lz4::block(&block)
            }
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let body = self.get_mut();
        if !body.rest.is_empty() {
            body.progress.send_replace(Progress::Taken(Instant::now()));
            let rest = std::mem::take(&mut body.rest);
            return Poll::Ready(Some(Ok(Frame::data(body.part(rest)))));
        }
        let Poll::Ready(piece) = body.queue.poll_recv(context) else {
            body.progress.send_replace(Progress::Waiting);
            return Poll::Pending;
        };
        body.progress.send_replace(Progress::Taken(Instant::now()));
        Poll::Ready(match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(body.part(bytes)))),
            Some(Piece::End) => None,
            None => Some(Err(GivenUp)),
        })
    }
}

/// The INSERT was dropped before its end, so that its connection breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the insert was given up")]
pub(super) struct GivenUp;

/// Reads the answer. That of an INSERT has no body: whatever is in it says what went wrong, also after the status 200.
async fn stored(answer: Response<Incoming>) -> Result<Written, Refused> {
    let (head, mut body) = answer.into_parts();
    let code = head.headers.get("X-ClickHouse-Exception-Code").and_then(|code| code.to_str().ok());
    let is_ok = head.status == StatusCode::OK && code.is_none();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(error) if is_ok && text.is_empty() => return Err(Refused::from_network(error.into())),
            // What there is of it is better than nothing.
            Err(_) => break,
        }
        if text.len() >= LONGEST_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let text = exception(&text);
    match (text.is_empty(), code) {
        (true, None) if is_ok => Ok(Written { rows: written_rows(&head.headers) }),
        (true, None) => Err(Refused::answered(&head.status.to_string())),
        (true, Some(code)) => Err(Refused::answered(&format!("Code: {code}"))),
        (false, _) => Err(Refused::answered(text)),
    }
}

/// The error without what marks it in an answer that began with the status 200: a line with a tag before it, and one with its length
/// after it.
fn exception(text: &str) -> &str {
    const MARK: &str = "__exception__";
    let Some(marked) = text.split(MARK).find(|part| part.contains("Code: ")) else { return text.trim() };
    let message = marked.find("Code: ").and_then(|from| marked.get(from..)).unwrap_or(marked).trim();
    match message.rsplit_once('\n') {
        Some((message, _)) if text.contains(MARK) => message.trim(),
        _ => message,
    }
}

/// `written_rows` of the answer's summary, whose numbers are texts.
fn written_rows(headers: &HeaderMap) -> Option<u64> {
    #[derive(Deserialize)]
    struct Summary<'s> {
        written_rows: &'s str,
    }
    let summary = headers.get("X-ClickHouse-Summary")?.to_str().ok()?;
    serde_json::from_str::<Summary<'_>>(summary).ok()?.written_rows.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_that_the_server_has_written_are_in_the_summary_of_its_answer() {
        let rows = |summary: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-clickhouse-summary", summary.parse().unwrap());
            written_rows(&headers)
        };
        assert_eq!(rows(r#"{"read_rows":"25","written_rows":"24","result_rows":"23"}"#), Some(24));
        assert_eq!(rows(r#"{"read_rows":"25"}"#), None);
        assert_eq!(rows("no summary"), None);
        assert_eq!(written_rows(&HeaderMap::new()), None);
    }

    #[test]
    fn an_error_is_read_without_its_marks() {
        let text = "Code: 241. DB::Exception: no memory:\nat all. (MEMORY_LIMIT_EXCEEDED)";
        assert_eq!(exception(&format!("{text}\n")), text);
        let marked =
            format!("\r\n__exception__\r\nqkszfwscygcrbytq\r\n{text}\n66 qkszfwscygcrbytq\r\n__exception__\r\n");
        assert_eq!(exception(&marked), text);
        assert_eq!(exception("\r\n"), "");
    }

    /// What a body gives for the pieces that it has.
    fn poll(body: &mut Body) -> Poll<Option<Result<Bytes, String>>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let frame = hyper::body::Body::poll_frame(Pin::new(body), &mut context);
        frame.map(|frame| {
            frame.map(|frame| match frame {
                Ok(frame) => Ok(frame.into_data().unwrap()),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    fn body() -> (mpsc::UnboundedSender<Piece>, Body, watch::Receiver<Progress>) {
        let (pieces, queue) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::Taken(Instant::now()));
        (pieces, Body { queue, progress, compression: Compression::None, rest: Bytes::new() }, seen)
    }

    #[test]
    fn a_body_ends_when_it_is_told_to_and_breaks_off_when_it_is_dropped() {
        let (pieces, mut body, seen) = body();
        assert_eq!(poll(&mut body), Poll::Pending);
        assert!(matches!(*seen.borrow(), Progress::Waiting));
        assert!(pieces.send(Piece::Bytes(Bytes::from_static(b"rows"))).is_ok());
        assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"rows")))));
        assert!(matches!(*seen.borrow(), Progress::Taken(_)));
        assert!(pieces.send(Piece::End).is_ok());
        assert_eq!(poll(&mut body), Poll::Ready(None));

        let (pieces, mut body, _seen) = self::body();
        drop(pieces);
        assert_eq!(poll(&mut body), Poll::Ready(Some(Err("the insert was given up".to_owned()))));
    }

    #[test]
    fn a_huge_piece_is_compressed_in_parts_and_comes_whole() {
        let (pieces, mut body, _seen) = body();
        body.compression = Compression::Lz4;
        let sent: Vec<u8> = (0..3 * lz4::MOST + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        assert!(pieces.send(Piece::Bytes(Bytes::from(sent.clone()))).is_ok());
        let mut received = Vec::new();
        for _ in 0..4 {
            let Poll::Ready(Some(Ok(block))) = poll(&mut body) else { panic!("a part is missing") };
            let (head, compressed) = block.split_at(25);
            let length = usize::try_from(u32::from_le_bytes(head[21..].try_into().unwrap())).unwrap();
            received.extend(lz4_flex::block::decompress(compressed, length).unwrap());
        }
        assert!(received == sent);
        assert_eq!(poll(&mut body), Poll::Pending);
    }

    #[test]
    fn the_time_in_which_a_body_waits_for_rows_does_not_count() {
        let (now, timeout) = (Instant::now(), Duration::from_secs(5));
        assert_eq!(Progress::Waiting.deadline(timeout), None);
        assert_eq!(Progress::Taken(now).deadline(timeout), Some(now + timeout));
    }
}
