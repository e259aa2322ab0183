//! A lab peer's clocked connection to its tracker: requests out, answers and the clock in.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::message::{Message, Request, VERSION};
use askaround_core::peer::{AskError, AskId, PeerInput};
use askaround_core::wire::{Decoder, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::network::{Network, watch};
use crate::server::read_into;

/// Something to send to the tracker.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Ask(AskId, Request),
    Tell(Message),
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connects, trying again for `patience` if nobody listens there yet.
pub(crate) async fn connect(
    network: Network,
    tracker: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = tokio::time::timeout_at(give_up, network.connect(tracker));
        let error = match attempt.await {
            Ok(Ok(stream)) => {
                watch(&stream)?;
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        if Instant::now() + pause >= give_up {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Carries messages until the connection ends; the last input is then
/// [`PeerInput::TrackerLost`].
pub(crate) async fn run(
    mut stream: TcpStream,
    mut outgoing: mpsc::Receiver<Outgoing>,
    inputs: mpsc::Sender<PeerInput>,
) {
    let why = match carry(&mut stream, &mut outgoing, &inputs).await {
        Ok(()) => return,
        Err(error) => error.to_string(),
    };
    // The receiver is gone only if the peer has ended already.
    let _ = inputs.send(PeerInput::TrackerLost(why)).await;
}

/// `Ok` when the peer needs the connection no longer.
async fn carry(
    stream: &mut TcpStream,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    inputs: &mpsc::Sender<PeerInput>,
) -> io::Result<()> {
    let mut decoder = Decoder::client();
    let mut waiting = VecDeque::new();
    let mut out = Vec::new();
    encode(&Message::Version(VERSION), &mut out);
    loop {
        tokio::select! {
            next = outgoing.recv() => {
                match next {
                    None => return Ok(()),
                    Some(Outgoing::Ask(ask, request)) => {
                        waiting.push_back(ask);
                        encode(&Message::Request(request), &mut out);
                    }
                    Some(Outgoing::Tell(message)) => encode(&message, &mut out),
                }
                stream.write_all(&out).await?;
                out.clear();
            }
            ready = stream.readable() => {
                ready?;
                match read_into(stream, &mut decoder) {
                    Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                while let Some(message) = decoder.next().map_err(io::Error::other)? {
                    if inputs.send(input(message, &mut waiting)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Answers come in the order of the requests; what comes without a request is the clock.
fn input(message: Message, waiting: &mut VecDeque<AskId>) -> PeerInput {
    let answers = matches!(message, Message::Answer(_) | Message::Error(_));
    match (message, answers.then(|| waiting.pop_front()).flatten()) {
        (Message::Answer(answer), Some(ask)) => PeerInput::Answered { ask, result: Ok(answer) },
        (Message::Error(error), Some(ask)) => {
            PeerInput::Answered { ask, result: Err(AskError::Refused(error)) }
        }
        (message, _) => PeerInput::Tracker(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tracker_that_vanishes_is_noticed() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Network::default().listen(any).unwrap();
        let tracker = listener.local_addr().unwrap();
        let stream = connect(Network::default(), tracker, Duration::from_secs(10)).await.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        let silent = socket.tcp_keepalive_time().unwrap();
        let unanswered = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert!(silent + unanswered <= Duration::from_secs(30), "{silent:?} {unanswered:?}");
    }
}
