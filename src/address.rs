//! Addresses on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An IP address and a port.
///
/// # Errors
/// If it is something else, as the name of a host, with what is expected.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, as 10.0.0.5:8888 or [2001:db8::5]:8888; names of hosts are not \
         looked up"
            .into()
    })
}

/// Where to listen: an address of this machine or, unspecified, all of them.
///
/// # Errors
/// If no machine can have it, with what is expected.
pub(crate) fn listening(text: &str) -> Result<SocketAddr, String> {
    let addr = address(text)?;
    if is_of_many(addr.ip()) {
        return Err("is of many machines; expected an address of this one, or 0.0.0.0 or [::] for all of \
                    its addresses"
            .into());
    }
    Ok(addr)
}

/// An address at which others reach this machine.
///
/// # Errors
/// If they cannot, with what is expected.
pub(crate) fn advertised(text: &str) -> Result<IpAddr, String> {
    let ip: Option<IpAddr> = text.parse().ok();
    ip.filter(|ip| !is_of_many(*ip) && !ip.to_canonical().is_unspecified()).ok_or_else(|| {
        "expected an IP address at which others reach this machine, as 10.0.0.5 or 2001:db8::5".into()
    })
}

fn is_of_many(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_multicast() || ip == Ipv4Addr::BROADCAST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_no_name() {
        for text in ["10.0.0.5:8888", "[2001:db8::5]:8888", "[::]:0"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        for text in ["", "10.0.0.5", "8888", "::1:8888", "localhost:8888", "10.0.0.5:99999", " 10.0.0.5:1"] {
            assert!(address(text).unwrap_err().contains("as 10.0.0.5:8888"), "{text}");
        }
    }

    #[test]
    fn only_an_address_that_a_machine_can_have_is_listened_on_or_told() {
        for (ip, listens, is_told) in [
            ("10.0.0.5", true, true),
            ("127.0.0.1", true, true),
            ("2001:db8::5", true, true),
            ("0.0.0.0", true, false),
            ("::", true, false),
            ("::ffff:0.0.0.0", true, false),
            ("224.0.0.1", false, false),
            ("::ffff:224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let addr = SocketAddr::new(ip.parse().unwrap(), 0);
            assert_eq!(
                (listening(&addr.to_string()).is_ok(), advertised(ip).is_ok()),
                (listens, is_told),
                "{ip}"
            );
        }
    }
}
