//! Asks one request of somebody, over a connection that may be kept for the next.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use askaround_core::message::{Answer, Message, Request, VERSION};
use askaround_core::peer::AskError;
use askaround_core::wire::{Decoder, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

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
        let at = idle.iter().rposition(|(to, since, _)| *to == addr && since.elapsed() < KEEP_FOR)?;
        idle.remove(at).map(|(_, _, connection)| connection)
    }

    fn keep(&self, addr: SocketAddr, connection: Connection, answer: Answer) -> Answer {
        let mut idle = lock(&self.idle);
        idle.push_back((addr, Instant::now(), connection));
        while idle.len() > self.keep {
            idle.pop_front();
        }
        answer
    }
}

impl Connection {
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
