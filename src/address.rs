//! Addresses on the command line.

use std::net::SocketAddr;

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
}
