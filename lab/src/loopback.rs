//! An address of its own for each run, so that two runs on one machine never meet
//! (PROTOCOL.md §6).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use askaround_node::network::Network;
use tokio::net::TcpListener;

/// Held while a run uses its address. No node of a run listens on this port.
const GUARD_PORT: u16 = 8889;
const ATTEMPTS: u32 = 64;
/// Longer than a connection of this machine to itself takes, however busy it is.
const CONNECT: Duration = Duration::from_secs(10);

/// A loopback address that no other run uses while this value lives.
#[derive(Debug)]
pub struct Loopback {
    ip: IpAddr,
    _guard: TcpListener,
}

impl Loopback {
    /// Takes an address, at which there can be connections. Where the system has only 127.0.0.1
    /// (macOS), it is that one, and a second run at the same time is refused.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn claim() -> io::Result<Self> {
        let claimed = Self::take()?;
        // One that is down (`unshare --net`) is listened on all the same.
        let guard = SocketAddr::new(claimed.ip, GUARD_PORT);
        let connected = tokio::time::timeout(CONNECT, Network::default().connect(guard)).await;
        match connected.map_err(io::Error::from).flatten() {
            Ok(_) => Ok(claimed),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("{guard} cannot be reached: {error}; is the loopback interface up?"),
            )),
        }
    }

    fn take() -> io::Result<Self> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let mut seed = clock ^ std::process::id().rotate_left(16);
        for _ in 0..ATTEMPTS {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [a, b, c, _] = seed.to_be_bytes();
            // 127.0.x.y is left to whoever uses 127.0.0.1 and its neighbours by hand.
            let ip = IpAddr::V4(Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)));
            match Network::default().listen(SocketAddr::new(ip, GUARD_PORT)) {
                Ok(guard) => return Ok(Self { ip, _guard: guard }),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => break,
                Err(_) => {}
            }
        }
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let guard = Network::default().listen(SocketAddr::new(ip, GUARD_PORT))?;
        Ok(Self { ip, _guard: guard })
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The network in which it stands for 127.0.0.1.
    pub fn network(&self) -> Network {
        Network::with_loopback(self.ip)
    }
}
