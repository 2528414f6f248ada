//! Packets off a socket, each once in memory.
//!
//! | bytes | field |
//! |---|---|
//! | 3 | length of the payload, little-endian; `0xffffff`: the packet goes on in the next one |
//! | 1 | number, which counts up from 0 within a command and its answer |
//! | n | payload |
//!
//! A packet that fits into the read buffer is handed out where it lies in it. A larger one is gathered in a buffer of its own, which grows
//! as its bytes come, whatever length is announced, and which [`Packets::release`] gives back. A read that is dropped half-way loses
//! nothing.

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Bytes that can be read from the socket at once. With 8 KiB, a dump of 120 MB took 3,787 calls; with this, 505.
const BUFFER: usize = 128 << 10;

/// Bytes by which the buffer of a large packet grows at once.
const PIECE: usize = 1 << 20;

/// Room that a packet of several parts gets at once, and by which it grows. Memory is taken as bytes come, not as room is made; and room
/// of this size is the system's own, so that it grows without being copied and goes back as a whole.
const ROOM: usize = 64 << 20;

/// Largest packet that is taken: the protocol's own limit on what a server sends, and some room for the header of an event.
const LARGEST: usize = (1 << 30) + 4096;

/// Length of a packet that goes on in the next one.
const GOES_ON: usize = 0xff_ffff;

const HEADER: usize = 4;

/// Where the last packet lies.
#[derive(Debug)]
enum Place {
    Buffer(Range<usize>),
    Large,
}

/// A socket and what was read from it.
#[derive(Debug)]
pub struct Packets<S> {
    socket: S,
    buffer: Box<[u8]>,
    /// What was read and is not handed out yet.
    unread: Range<usize>,
    /// A packet that does not fit into the buffer, and how much of it has come: it is as long as it was made room for.
    large: Vec<u8>,
    filled: usize,
    /// Bytes of it that are still to come in this part; `None`: no large packet is on its way.
    to_come: Option<usize>,
    /// The part that is on its way is not the last one.
    goes_on: bool,
    last: Place,
    /// The number of the next packet, either way.
    number: u8,
    /// Bytes that have come since it was opened.
    received: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    /// Packets of a connection that has just been opened.
    pub fn new(socket: S) -> Self {
        Self {
            socket,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            unread: 0..0,
            large: Vec::new(),
            filled: 0,
            to_come: None,
            goes_on: false,
            last: Place::Buffer(0..0),
            number: 0,
            received: 0,
        }
    }

    /// The socket, to begin with TLS on it; `None` if the server has sent more than it was asked for, which would be lost.
    pub fn into_socket(self) -> Option<(S, u8)> {
        self.unread.is_empty().then_some((self.socket, self.number))
    }

    /// As [`Packets::new`], in the middle of a login.
    pub fn from(socket: S, number: u8) -> Self {
        Self { number, ..Self::new(socket) }
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Bytes that have come: also of a packet that is not whole yet.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The packet that was read last, until it is released.
    pub fn last(&self) -> &[u8] {
        match &self.last {
            Place::Buffer(range) => self.buffer.get(range.clone()).unwrap_or_default(),
            Place::Large => &self.large,
        }
    }

    /// The packet that was read last, as a value of its own. It is not there any more after that.
    pub fn take_last(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.last, Place::Buffer(0..0)) {
            Place::Buffer(range) => self.buffer.get(range).unwrap_or_default().to_vec(),
            Place::Large => {
                self.filled = 0;
                std::mem::take(&mut self.large)
            }
        }
    }

    /// Gives back the room of the last packet, if it has room of its own.
    pub fn release(&mut self) {
        if matches!(self.last, Place::Large) {
            drop(self.take_last());
        }
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// Of the socket; [`ErrorKind::UnexpectedEof`] when it is closed; [`ErrorKind::InvalidData`] for what is no packet.
    pub async fn read(&mut self) -> Result<&[u8], Error> {
        poll_fn(|context| self.poll_read(context)).await?;
        Ok(self.last())
    }

    /// Reads the next packet, which [`Packets::last`] then gives.
    ///
    /// # Errors
    /// As [`Packets::read`].
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.to_come.is_none() {
            self.release();
            // It is overwritten by what is read next.
            self.last = Place::Buffer(0..0);
        }
        loop {
            if let Some(to_come) = self.to_come {
                ready!(self.poll_large(context, to_come))?;
                if !self.goes_on {
                    self.to_come = None;
                    self.large.truncate(self.filled);
                    self.last = Place::Large;
                    return Poll::Ready(Ok(()));
                }
            }
            let begins = self.to_come.is_none();
            let Some(length) = self.header()? else {
                ready!(self.poll_fill(context, HEADER))?;
                continue;
            };
            let whole = HEADER + length;
            if begins && length < GOES_ON && whole <= self.buffer.len() {
                if self.unread.len() < whole {
                    ready!(self.poll_fill(context, whole))?;
                    continue;
                }
                let start = self.unread.start + HEADER;
                self.unread.start += whole;
                self.number = self.number.wrapping_add(1);
                self.last = Place::Buffer(start..start + length);
                return Poll::Ready(Ok(()));
            }
            if self.filled + length > LARGEST {
                return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, "a packet of more than 1 GiB")));
            }
            self.unread.start += HEADER;
            self.number = self.number.wrapping_add(1);
            self.goes_on = length == GOES_ON;
            self.to_come = Some(length);
            if self.large.capacity() - self.filled < length {
                self.large.truncate(self.filled);
                self.large.reserve_exact(if self.goes_on { ROOM } else { length });
            }
        }
    }

    /// The length in the header at the front of what is not handed out; `None`: it has not come yet.
    fn header(&self) -> Result<Option<usize>, Error> {
        let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
        let Some([a, b, c, number]) = unread.first_chunk::<HEADER>() else { return Ok(None) };
        if *number != self.number {
            return Err(Error::new(ErrorKind::InvalidData, "packets out of order"));
        }
        Ok(Some(usize::from(*a) | (usize::from(*b) << 8) | (usize::from(*c) << 16)))
    }

    /// Reads until so many bytes lie in the buffer, which has room for them.
    fn poll_fill(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<(), Error>> {
        if self.unread.start + wanted > self.buffer.len() || self.unread.is_empty() {
            let length = self.unread.len();
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..length;
        }
        while self.unread.len() < wanted {
            let Some(room) = self.buffer.get_mut(self.unread.end..) else { return Poll::Ready(Err(closed())) };
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut room))?;
            let read = room.filled().len();
            if read == 0 {
                return Poll::Ready(Err(closed()));
            }
            self.unread.end += read;
            self.received += count(read);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads so many bytes more of a large packet.
    fn poll_large(&mut self, context: &mut Context<'_>, mut to_come: usize) -> Poll<Result<(), Error>> {
        let lies_there = self.unread.len().min(to_come);
        let there = self.unread.start..self.unread.start + lies_there;
        if lies_there > 0 {
            self.large.truncate(self.filled);
            self.large.extend_from_slice(self.buffer.get(there).unwrap_or_default());
            self.filled = self.large.len();
            self.unread.start += lies_there;
            to_come -= lies_there;
        }
        while to_come > 0 {
            self.to_come = Some(to_come);
            if self.filled == self.large.len() {
                self.large.resize(self.filled + to_come.min(PIECE), 0);
            }
            let end = self.large.len().min(self.filled + to_come);
            let mut room = ReadBuf::new(self.large.get_mut(self.filled..end).unwrap_or_default());
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut room))?;
            let read = room.filled().len();
            if read == 0 {
                return Poll::Ready(Err(closed()));
            }
            self.filled += read;
            self.received += count(read);
            to_come -= read;
        }
        self.to_come = Some(0);
        Poll::Ready(Ok(()))
    }

    /// Sends a packet as an answer.
    ///
    /// # Errors
    /// Of the socket; [`ErrorKind::InvalidInput`] for one of more than 16 MiB.
    pub async fn write(&mut self, payload: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() < GOES_ON);
        let [a, b, c, _] = length.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?.to_le_bytes();
        let mut packet = vec![a, b, c, self.number];
        packet.extend_from_slice(payload);
        self.number = self.number.wrapping_add(1);
        self.socket.write_all(&packet).await?;
        self.socket.flush().await
    }

    /// Sends a packet that begins a command.
    ///
    /// # Errors
    /// As [`Packets::write`].
    pub async fn command(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.number = 0;
        self.write(payload).await
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn closed() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the connection was closed")
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    /// A packet's bytes as a server sends them.
    fn sent(payload: &[u8], number: &mut u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in payload.chunks(GOES_ON) {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes()[..3]);
            bytes.push(*number);
            *number = number.wrapping_add(1);
            bytes.extend_from_slice(part);
        }
        if payload.len().is_multiple_of(GOES_ON) {
            bytes.extend_from_slice(&[0, 0, 0, *number]);
            *number = number.wrapping_add(1);
        }
        bytes
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    async fn server(mut socket: DuplexStream, bytes: Vec<u8>, at_once: usize) {
        for piece in bytes.chunks(at_once) {
            socket.write_all(piece).await.unwrap();
        }
    }

    #[tokio::test]
    async fn packets_of_every_length_come_whole_and_in_order_however_they_are_cut() {
        let lengths =
            [1, 0, 5, BUFFER - HEADER, BUFFER, 3, BUFFER * 3, GOES_ON - 1, GOES_ON, GOES_ON + 1, 2 * GOES_ON, 7];
        for at_once in [7_919, 1 << 20] {
            let mut number = 0;
            let bytes = lengths.iter().flat_map(|length| sent(&content(*length), &mut number)).collect();
            let (ours, theirs) = tokio::io::duplex(1 << 18);
            let sending = tokio::spawn(server(theirs, bytes, at_once));
            let mut packets = Packets::new(ours);
            for length in lengths {
                let packet = packets.read().await.unwrap();
                assert!(packet == content(length), "{} bytes in place of {length}", packet.len());
            }
            sending.await.unwrap();
            assert_eq!(packets.read().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn the_room_of_a_large_packet_is_given_back_and_a_length_alone_takes_none() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 22);
        let mut number = 0;
        theirs.write_all(&sent(&content(2 << 20), &mut number)).await.unwrap();
        let mut packets = Packets::new(ours);
        assert_eq!(packets.read().await.unwrap().len(), 2 << 20);
        packets.release();
        assert_eq!((packets.large.capacity(), packets.last()), (0, &[][..]));
        // A header that announces 16 MiB, and nothing after it.
        theirs.write_all(&[0xff, 0xff, 0xff, number]).await.unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), packets.read()).await;
        assert!(waiting.is_err());
        // Room was made, and nothing is in it.
        assert!(packets.large.len() <= PIECE, "{}", packets.large.len());
    }

    #[tokio::test]
    async fn a_packet_out_of_order_is_refused() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(&[1, 0, 0, 3, 0]).await.unwrap();
        assert_eq!(Packets::new(ours).read().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
