//! The proxy of the test support, tested by itself: a cut that cuts nothing would make every test of reconnecting pass.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::proxy::Proxy;

/// A server that sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                // It ends with the connection, however that ends.
                drop(tokio::io::copy(&mut reader, &mut writer).await);
            });
        }
    });
    port
}

async fn says(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Everything until the other side closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut rest).await);
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn bytes_pass_until_the_cut_and_a_new_connection_passes_them_again() {
    let proxy = Proxy::to(echo().await).await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "hello").await, "hello");

    proxy.cut();

    assert_eq!(rest(&mut stream).await, "");
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "again").await, "again");
    assert_eq!((proxy.received(), proxy.cuts()), (10, 1));
}

#[tokio::test]
async fn a_cut_after_some_bytes_lets_exactly_those_through_and_happens_once() {
    let proxy = Proxy::to(echo().await).await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "one").await, "one");
    proxy.cut_after(2);

    stream.write_all(b"three").await.unwrap();

    assert_eq!(rest(&mut stream).await, "th");
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "four").await, "four");
}

#[tokio::test]
async fn a_refusing_proxy_closes_new_connections_too() {
    let proxy = Proxy::to(echo().await).await;
    proxy.refuse();
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");

    proxy.allow();

    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "hello").await, "hello");
}

#[tokio::test]
async fn a_held_connection_is_silent_and_loses_nothing() {
    let proxy = Proxy::to(echo().await).await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(says(&mut stream, "hello").await, "hello");
    proxy.hold();
    stream.write_all(b"later").await.unwrap();
    let mut answer = [0; 5];
    let silence = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await;
    assert!(silence.is_err(), "{silence:?}");

    proxy.release();

    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"later");
}
