//! The port of each peer (PROTOCOL.md §6): what CPython gives for `random.seed(n)` and
//! `random.randint(9000, 9999)`.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use askaround_core::id::PeerId;
use askaround_node::network::Network;
use rand_mt::Mt;
use tokio::net::TcpListener;

/// After so many draws the operating system picks.
const MAX_DRAWS: usize = 16;
const LOWEST: u16 = 9000;
const COUNT: u32 = 1000;
/// The first port above all draws.
const ABOVE: u16 = 10_000;

/// The ports to try for peer `id`, in order.
pub fn draws(id: PeerId) -> impl Iterator<Item = u16> {
    // CPython seeds with the 32-bit words of the number, lowest first.
    let number = id.as_u64();
    #[expect(clippy::cast_possible_truncation, reason = "the words of the number")]
    let words = [number as u32, (number >> 32) as u32];
    let key = if words[1] == 0 { &words[..1] } else { &words[..] };
    let mut generator = Mt::new_with_key(key.iter().copied());
    std::iter::repeat_with(move || generator.next_u32() >> 22)
        .filter(|draw| *draw < COUNT)
        .map(|draw| LOWEST + u16::try_from(draw).unwrap_or_default())
        .take(MAX_DRAWS)
}

/// The addresses that peers get when they start in the order of `ids` on an empty machine. Whoever
/// has no draw left gets the lowest port above all draws: what the operating system picks would be
/// another in every run.
pub fn assign(ids: impl IntoIterator<Item = PeerId>) -> Vec<SocketAddr> {
    let mut taken = BTreeSet::new();
    let mut beyond = ABOVE..u16::MAX;
    let mut assigned = Vec::new();
    for id in ids {
        let port = draws(id).find(|port| !taken.contains(port)).or_else(|| beyond.next()).unwrap_or(u16::MAX);
        taken.insert(port);
        assigned.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    assigned
}

/// Listens on the address that [`assign`] gave to peer `id`. Where the run has no address of its own
/// somebody else may be there: then as [`listen`] does.
///
/// # Errors
/// What the operating system says.
pub fn listen_as_assigned(
    network: Network,
    id: PeerId,
    assigned: SocketAddr,
) -> io::Result<(TcpListener, SocketAddr)> {
    match network.listen(assigned) {
        Ok(listener) => Ok((listener, assigned)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => listen(network, id),
        Err(error) => Err(error),
    }
}

/// Listens on the first of the peer's ports that is free, on 127.0.0.1.
///
/// # Errors
/// What the operating system says, other than that a port is taken.
pub fn listen(network: Network, id: PeerId) -> io::Result<(TcpListener, SocketAddr)> {
    for port in draws(id).chain([0]) {
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match network.listen(addr) {
            Ok(listener) => {
                let port = listener.local_addr()?.port();
                return Ok((listener, SocketAddr::new(addr.ip(), port)));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> PeerId {
        PeerId::new(n).unwrap()
    }

    #[test]
    fn first_draws_are_cpythons() {
        let expected = [
            9137, 9978, 9243, 9241, 9637, 9812, 9331, 9232, 9474, 9585, 9463, 9485, 9265, 9109, 9988, 9370,
            9534, 9185, 9693, 9927,
        ];
        let ports: Vec<_> = (1..=20).map(|n| draws(id(n)).next().unwrap()).collect();
        assert_eq!(ports, expected);
    }

    #[test]
    fn two_peers_never_get_one_port() {
        let assigned = assign((1..=1200).map(id));
        assert_eq!(assigned.iter().collect::<BTreeSet<_>>().len(), 1200);
    }
}
