//! Who somebody is and where to reach them: [`PeerId`] and [`Contact`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The id of a peer, unique in its network: 1 to 2⁵³−1 (PROTOCOL.md §1.5).
///
/// The upper bound is the largest integer that every JSON library reads exactly (RFC 8259 §6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

/// A number or text that is not a [`PeerId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a client id is a whole number from 1 to {max}, not {0:?}", max = PeerId::MAX.0)]
pub struct InvalidPeerId(String);

impl PeerId {
    /// The smallest id.
    pub const MIN: Self = Self(1);
    /// The largest id.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Checks the range.
    ///
    /// # Errors
    /// If `id` is 0 or above [`PeerId::MAX`].
    pub fn new(id: u64) -> Result<Self, InvalidPeerId> {
        if (Self::MIN.0..=Self::MAX.0).contains(&id) {
            Ok(Self(id))
        } else {
            Err(InvalidPeerId(id.to_string()))
        }
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPeerId(text.chars().take(40).collect());
        // `u64::from_str` would take a leading plus sign.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        Self::new(text.parse().map_err(|_| invalid())?)
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A peer and where it listens. On the wire an array `[id, ip, port]` (PROTOCOL.md §1.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Who it is.
    pub id: PeerId,
    /// The address it listens on.
    pub ip: IpAddr,
    /// The TCP port it listens on, never 0 in a contact that came over the wire.
    pub port: u16,
}

impl Contact {
    /// A contact from its parts.
    pub const fn new(id: PeerId, addr: SocketAddr) -> Self {
        Self { id, ip: addr.ip(), port: addr.port() }
    }

    /// Where to connect to.
    pub const fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// `<4, 127.0.0.1, 9241>`, the form of the assignment's logs.
impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}, {}, {}>", self.id, self.ip, self.port)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Contact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.id, self.ip, self.port).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, ip, port) = <(PeerId, IpAddr, u16)>::deserialize(deserializer)?;
        if port == 0 {
            return Err(D::Error::custom("a port is a number from 1 to 65535"));
        }
        Ok(Self { id, ip, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(PeerId::new(0).is_err());
        assert!(PeerId::new(1 << 53).is_err());
        assert_eq!("9007199254740991".parse::<PeerId>().unwrap(), PeerId::MAX);
        for bad in ["", "+1", "-1", "1.0", " 1", "0", "99999999999999999999"] {
            assert!(bad.parse::<PeerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_contact_is_an_array_on_the_wire_and_angle_brackets_in_logs() {
        let json = r#"[4,"127.0.0.1",9241]"#;
        let contact: Contact = serde_json::from_str(json).unwrap();
        assert_eq!(contact.to_string(), "<4, 127.0.0.1, 9241>");
        assert_eq!(serde_json::to_string(&contact).unwrap(), json);
        for bad in [r#"[4,"127.0.0.1",0]"#, r#"[4,"nowhere",1]"#, r#"[4,"::1"]"#, r#"[0,"::1",1]"#] {
            assert!(serde_json::from_str::<Contact>(bad).is_err(), "{bad}");
        }
    }
}
