//! Asks one request of somebody, over a connection that may be kept for the next.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use askaround_core::message::{Answer, Message, Request, VERSION};
use askaround_core::peer::AskError;
use askaround_core::wire::{Decoder, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::complaints::Complaints;
use crate::lock;
use crate::network::Network;
use crate::observe::Observer;
use crate::server::read_into;

/// A kept connection older than this is likely closed at the other end (PROTOCOL.md §1.8).
const KEEP_FOR: Duration = Duration::from_secs(60);

/// Opens connections, and keeps some of those that were used last.
#[derive(Debug)]
pub(crate) struct Dialer {
    network: Network,
    keep: usize,
    observer: Observer,
    idle: Mutex<VecDeque<(SocketAddr, Instant, Connection)>>,
    complaints: Complaints,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    decoder: Decoder,
}

/// How an exchange over a connection failed.
enum Failure {
    /// Before any byte of an answer: a kept connection may just have been closed.
    BeforeAnswer(io::Error),
    Other(AskError),
}

impl Dialer {
    /// Keeps at most `keep` idle connections.
    pub(crate) fn new(network: Network, keep: usize, observer: Observer) -> Self {
        let (idle, complaints) = (Mutex::new(VecDeque::new()), Complaints::new());
        Self { network, keep, observer, idle, complaints }
    }

    /// Asks and waits for the answer. The caller bounds the time by dropping the future.
    pub(crate) async fn ask(&self, addr: SocketAddr, request: &Request) -> Result<Answer, AskError> {
        let result = self.try_ask(addr, request).await;
        if let Err(error @ AskError::Misbehaved(_)) = &result {
            self.complaints.about(addr, error);
        }
        result
    }

    async fn try_ask(&self, addr: SocketAddr, request: &Request) -> Result<Answer, AskError> {
        if let Some(mut kept) = self.take_idle(addr) {
            match kept.exchange(request, false).await {
                Ok(answer) => return Ok(self.keep(addr, kept, answer)),
                Err(Failure::BeforeAnswer(_)) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        let stream = self.network.connect(addr).await.map_err(|e| AskError::Unreachable(e.to_string()))?;
        self.observer.opened(&stream, addr);
        let mut connection = Connection { stream, decoder: Decoder::client() };
        match connection.exchange(request, true).await {
            Ok(answer) => Ok(self.keep(addr, connection, answer)),
            Err(Failure::BeforeAnswer(error)) => Err(AskError::Unreachable(error.to_string())),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    fn take_idle(&self, addr: SocketAddr) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        close_useless(&mut idle);
        let at = idle.iter().rposition(|(to, ..)| *to == addr)?;
        idle.remove(at).map(|(_, _, connection)| connection)
    }

    fn keep(&self, addr: SocketAddr, connection: Connection, answer: Answer) -> Answer {
        let mut idle = lock(&self.idle);
        close_useless(&mut idle);
        idle.push_back((addr, Instant::now(), connection));
        while idle.len() > self.keep {
            idle.pop_front();
        }
        answer
    }
}

/// Closes those that are of no use any more, so that they keep no files from others. Whoever has none
/// asked keeps what it has, which is no more than it may be.
fn close_useless(idle: &mut VecDeque<(SocketAddr, Instant, Connection)>) {
    idle.retain(|(_, since, connection)| since.elapsed() < KEEP_FOR && connection.is_quiet());
}

impl Connection {
    /// Whether the other end has neither closed it nor said anything that nobody asked for.
    fn is_quiet(&self) -> bool {
        self.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn exchange(&mut self, request: &Request, first: bool) -> Result<Answer, Failure> {
        let mut out = Vec::with_capacity(128);
        if first {
            encode(&Message::Version(VERSION), &mut out);
        }
        encode(&Message::Request(request.clone()), &mut out);
        self.stream.write_all(&out).await.map_err(Failure::BeforeAnswer)?;
        let mut received = 0;
        loop {
            self.stream.readable().await.map_err(Failure::BeforeAnswer)?;
            match read_into(&self.stream, &mut self.decoder) {
                Ok(0) if received == 0 => {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer");
                    return Err(Failure::BeforeAnswer(error));
                }
                Ok(0) => return Err(misbehaved("closed in the middle of an answer")),
                Ok(count) => received += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Failure::BeforeAnswer(error)),
            }
            match self.decoder.next() {
                Ok(None) => {}
                Ok(Some(Message::Answer(_) | Message::Error(_))) if self.decoder.has_partial_line() => {
                    return Err(misbehaved("sent more than one answer"));
                }
                Ok(Some(Message::Answer(answer))) => return Ok(answer),
                Ok(Some(Message::Error(error))) => return Err(Failure::Other(AskError::Refused(error))),
                Ok(Some(_)) => return Err(misbehaved("sent something other than an answer")),
                Err(error) => return Err(misbehaved(&error.to_string())),
            }
        }
    }
}

fn misbehaved(what: &str) -> Failure {
    Failure::Other(AskError::Misbehaved(what.into()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// One that answers each first question, and closes when told.
    async fn answering() -> (SocketAddr, impl Future<Output = TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_buf(&mut Vec::new()).await.unwrap();
            stream.write_all(b"A {\"have\":false}\n").await.unwrap();
            stream
        };
        (addr, answer)
    }

    /// Asks somebody new, and returns the other end of the connection that is kept.
    async fn ask(dialer: &Dialer) -> TcpStream {
        let (addr, answer) = answering().await;
        let request = Request::Have("a".parse().unwrap());
        let (answered, stream) = tokio::join!(dialer.ask(addr, &request), answer);
        answered.unwrap();
        stream
    }

    fn dialer() -> Dialer {
        Dialer::new(Network::default(), 64, Observer::default())
    }

    fn kept(dialer: &Dialer) -> usize {
        lock(&dialer.idle).len()
    }

    #[tokio::test]
    async fn what_the_other_end_has_closed_is_closed() {
        let dialer = dialer();
        let open = [ask(&dialer).await, ask(&dialer).await];
        let closed = [ask(&dialer).await, ask(&dialer).await];
        assert_eq!(kept(&dialer), 4);
        drop(closed);
        // Only the last one is new each time; the system takes a moment to tell.
        let gone = async {
            while kept(&dialer) > open.len() + 1 {
                drop(ask(&dialer).await);
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("they are closed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_closed() {
        let dialer = dialer();
        let _open = [ask(&dialer).await, ask(&dialer).await];
        tokio::time::advance(KEEP_FOR).await;
        let _young = ask(&dialer).await;
        assert_eq!(kept(&dialer), 1);
    }
}
