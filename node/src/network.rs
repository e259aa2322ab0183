//! Where listeners and streams are made. Whatever wraps a stream (TLS) belongs here, and nothing
//! else in the crate opens a socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The environment variable that gives a run a loopback address of its own (PROTOCOL.md §6).
pub const LOOPBACK_VARIABLE: &str = "ASKAROUND_LOOPBACK";

const BACKLOG: u32 = 4096;

/// How long nothing may come over a watched connection before the system asks whether the other
/// end is still there; then how often it asks, and how many questions may go unanswered.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// How addresses become sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network {
    /// What stands for 127.0.0.1, so that runs on one machine never meet.
    loopback: Option<IpAddr>,
    /// The address that connections come from, if the system is not to pick it.
    own: Option<IpAddr>,
}

impl Network {
    /// A network in which `loopback` stands for 127.0.0.1.
    pub fn with_loopback(loopback: IpAddr) -> Self {
        Self { loopback: Some(loopback), own: None }
    }

    /// The network as a node sees it that listens on `listen`. If that is one address and not all,
    /// its connections come from there: others reach it where they see it (PROTOCOL.md §2.1, §7.4).
    #[must_use]
    pub fn of_listener(self, listen: SocketAddr) -> Self {
        Self { own: Some(listen.ip()).filter(|ip| !ip.is_unspecified()), ..self }
    }

    /// As [`LOOPBACK_VARIABLE`] says.
    ///
    /// # Errors
    /// A text for people, if the variable is not a loopback address.
    pub fn from_environment() -> Result<Self, String> {
        let Ok(text) = std::env::var(LOOPBACK_VARIABLE) else { return Ok(Self::default()) };
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => Ok(Self::with_loopback(ip)),
            _ => Err(format!("{LOOPBACK_VARIABLE} is {text:?}, expected an address like 127.83.20.7")),
        }
    }

    /// The address to use for `addr`.
    pub fn resolve(&self, addr: SocketAddr) -> SocketAddr {
        match self.loopback {
            Some(ip) if addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) => SocketAddr::new(ip, addr.port()),
            _ => addr,
        }
    }

    /// Listens on `addr`. What is accepted there sends at once, like what [`Self::connect`] gives.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let addr = self.resolve(addr);
        let socket = socket_for(addr)?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it, which saves each of them a call.
        socket.set_nodelay(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let addr = self.resolve(addr);
        let stream = match self.own {
            // Nothing outside this machine can be reached from a loopback address.
            Some(own) if own.is_ipv4() == addr.is_ipv4() && own.is_loopback() <= addr.ip().is_loopback() => {
                let socket = socket_for(addr)?;
                socket.bind(SocketAddr::new(own, 0))?;
                socket.connect(addr).await?
            }
            _ => TcpStream::connect(addr).await?,
        };
        // Where nobody listens at a port that the system may pick for us, it may connect us to ourselves.
        if stream.local_addr()? == addr {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Has the system watch a connection on which both ends may be silent for long: if the other end
/// vanishes without closing, reading from it fails after half a minute (PROTOCOL.md §1.8).
///
/// # Errors
/// What the operating system says.
pub(crate) fn watch(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    // The same bound for what was sent and is not acknowledged: there the system does not probe.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(PROBE_AFTER + PROBE_EVERY * PROBES))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_on_one_address_connects_from_it() {
        let (here, all) = (Network::default(), SocketAddr::from(([0, 0, 0, 0], 0)));
        let one = SocketAddr::from(([127, 3, 2, 1], 0));
        let listener = here.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        for (network, seen) in [(here.of_listener(one), one), (here.of_listener(all), addr)] {
            let _stream = network.connect(addr).await.unwrap();
            assert_eq!(listener.accept().await.unwrap().1.ip(), seen.ip());
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn nobody_is_connected_to_itself() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let ports: Vec<u16> = range.split_whitespace().map(|port| port.parse().unwrap()).collect();
        // The system takes one of these after the other, even ones first.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = (ports[0]..=ports[1]).rev().filter(|port| port % 2 == 0).find(is_free).unwrap();
        for _ in ports[0]..=ports[1] {
            // Another test may listen there by now.
            if let Ok(stream) = Network::default().connect(([127, 0, 0, 1], port).into()).await {
                assert_ne!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            }
        }
    }
}
