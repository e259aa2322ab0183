//! Brings up `lo` in a new network namespace, by netlink: the program `ip` is not everywhere.

use std::io;

/// Brings up the loopback device of this process's network namespace.
///
/// # Errors
/// What the operating system says.
#[cfg(target_os = "linux")]
pub(super) fn bring_up() -> io::Result<()> {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

    let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").ok().and_then(|i| i.trim().parse().ok());
    let message = set_up(index.unwrap_or(1));
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &kernel)?;
    let mut answer = [0u8; 1024];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // An answer is a header of 16 bytes and a negative errno, 0 being done.
    let errno = answer.get(16..20).filter(|_| length >= 20).and_then(|bytes| bytes.try_into().ok());
    match errno.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
        None => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// `RTM_NEWLINK` for the device `index` with the flag `IFF_UP` (rtnetlink(7)).
#[cfg(target_os = "linux")]
fn set_up(index: i32) -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    // struct nlmsghdr: length, type, flags, sequence number, port.
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    // struct ifinfomsg: family, padding, device type, index, flags, which flags to change.
    message.extend([0, 0]);
    message.extend(0u16.to_ne_bytes());
    message.extend(index.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// There are no network namespaces here.
#[cfg(not(target_os = "linux"))]
pub(super) fn bring_up() -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
