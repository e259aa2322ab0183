//! What is said on a connection (PROTOCOL.md §1 to §4), as types; about content (§7), in a module
//! of its own. How it is written stands in [`crate::wire`].

mod content;

use std::net::IpAddr;

use crate::id::{Contact, PeerId};
use crate::key::Key;
pub use content::{
    Availability, ByteRange, Description, Interest, MAX_BITMAP, MAX_BYTES, MAX_HASHES, MAX_NEWS, News,
    RawAnswer,
};

/// The protocol version that this crate speaks.
pub const VERSION: u32 = 1;
/// The most entries in a page of a list (PROTOCOL.md §1.6).
pub const MAX_PAGE: usize = 256;
/// The longest token, in bytes (PROTOCOL.md §1.5).
pub const MAX_TOKEN: usize = 64;

/// A timestep of a lab run, 0 to [`MAX_TIME`].
pub type Timestep = u32;
/// The last timestep that a script may use (PROTOCOL.md §1.5).
pub const MAX_TIME: Timestep = 10_000;

/// One message, either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `V`: the first message of a client.
    Version(u32),
    /// `R U L W Q O M D H I G`: something that gets an answer.
    Request(Request),
    /// `A`: the answer to a request.
    Answer(Answer),
    /// `E`: the answer to a request or line that cannot be served.
    Error(ErrorAnswer),
    /// `S`: the lab run begins.
    Start,
    /// `T`: go ahead with this timestep.
    Go(Timestep),
    /// `C`: this timestep is complete.
    Complete(Timestep),
    /// `F`: the lab run is over.
    Finish,
    /// `N`: pieces that the sender has now.
    News(News),
    /// `X`: a `G` that waits is not wanted any more.
    Cancel(ByteRange),
}

/// A message that is answered by exactly one [`Answer`] or [`ErrorAnswer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `R` (§2.1).
    Register(Register),
    /// `U` (§2.2).
    Unregister {
        /// Who.
        id: PeerId,
        /// The secret it registered with.
        token: Option<String>,
    },
    /// `L` (§2.3): the registered peers.
    List(Page),
    /// `W` (§2.4): where is this peer.
    WhereIs(PeerId),
    /// `Q` (§3.1): do you have this.
    Have(Key),
    /// `O` (§3.2): whom do you know.
    Known(Page),
    /// `M` (§3.3): what do you hold.
    Contents(Page),
    /// `D` (§7.2): describe this content.
    Describe(Key),
    /// `H` (§7.3): the hashes of its pieces.
    Hashes {
        /// Of which content.
        key: Key,
        /// From this piece on.
        first: u32,
    },
    /// `I` (§7.4).
    Interest(Interest),
    /// `G` (§7.5): send these bytes.
    Get {
        /// Which.
        range: ByteRange,
        /// Whether another piece of the content is as welcome.
        any: bool,
    },
}

/// `R` (PROTOCOL.md §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Who registers.
    pub id: PeerId,
    /// Where it listens; the address that the request comes from, if `None`.
    pub ip: Option<IpAddr>,
    /// Where it listens.
    pub port: u16,
    /// A secret that protects the registration.
    pub token: Option<String>,
    /// How many other peers to return.
    pub list: Option<usize>,
    /// The last timestep of its script, if it takes part in the clock.
    pub script_end: Option<Timestep>,
}

/// Which part of a list (PROTOCOL.md §1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// The `next` of the page before.
    pub after: Option<u64>,
    /// At most so many entries, 1 to [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: MAX_PAGE }
    }
}

impl Page {
    /// The page that begins behind `after`.
    pub fn after(after: Option<u64>) -> Self {
        Self { after, ..Self::default() }
    }
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Register`].
    Registered {
        /// The peer as the tracker lists it.
        contact: Contact,
        /// For how many seconds, unless renewed.
        lease_s: Option<u32>,
        /// Other registered peers, if asked for.
        peers: Option<Vec<Contact>>,
    },
    /// To [`Request::Unregister`].
    Unregistered(PeerId),
    /// To [`Request::List`] and [`Request::Known`].
    Peers {
        /// One page.
        peers: Vec<Contact>,
        /// Where the next page begins, if there is one.
        next: Option<u64>,
    },
    /// To [`Request::WhereIs`].
    Peer(Contact),
    /// To [`Request::Have`].
    Have(HaveAnswer),
    /// To [`Request::Contents`].
    Keys {
        /// One page.
        keys: Vec<Key>,
        /// Where the next page begins, if there is one.
        next: Option<u64>,
    },
    /// To [`Request::Describe`].
    Content(Description),
    /// To [`Request::Hashes`], [`Request::Interest`] and [`Request::Get`]; raw bytes follow it.
    Raw(RawAnswer),
}

/// What a peer says when asked for a key (PROTOCOL.md §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HaveAnswer {
    /// It holds the key.
    Have,
    /// It does not, but it once got the key from this peer.
    Hint(Contact),
    /// It knows nothing of the key.
    No,
    /// It is fetching the content and serves pieces of it, and may have had the key from somebody
    /// before.
    Fetching(Option<Contact>),
}

impl HaveAnswer {
    /// Whom it once got the key from, if it says so.
    pub const fn hint(&self) -> Option<Contact> {
        match self {
            Self::Hint(peer) => Some(*peer),
            Self::Fetching(hint) => *hint,
            Self::Have | Self::No => None,
        }
    }
}

/// `E` (PROTOCOL.md §1.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub text: String,
}

impl ErrorAnswer {
    /// An error with its text.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, definite $definite:literal, closes $closes:literal;)*) => {
        /// The codes of errors (PROTOCOL.md §1.7).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that this version does not know; not definite.
            Unknown,
        }
        impl ErrorCode {
            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown" }
            }
            /// From the word on the wire.
            pub fn from_wire(text: &str) -> Self {
                match text { $($text => Self::$name,)* _ => Self::Unknown }
            }
            /// Whether the same request will fail again.
            pub const fn is_definite(self) -> bool {
                match self { $(Self::$name => $definite,)* Self::Unknown => false }
            }
            /// Whether the server closes the connection after it.
            pub const fn closes(self) -> bool {
                match self { $(Self::$name => $closes,)* Self::Unknown => false }
            }
        }
    };
}

error_codes! {
    /// Not a message.
    BadMessage = "bad-message", definite true, closes true;
    /// The line is too long.
    TooLong = "too-long", definite true, closes true;
    /// No version, or one that is not spoken here.
    Version = "version", definite true, closes true;
    /// No such verb.
    UnknownVerb = "unknown-verb", definite true, closes false;
    /// This kind of node does not serve that verb.
    NotServed = "not-served", definite true, closes false;
    /// No peer of this id was ever registered.
    UnknownPeer = "unknown-peer", definite true, closes false;
    /// Another peer is registered under this id.
    IdTaken = "id-taken", definite true, closes false;
    /// The address claimed is not where the request comes from.
    WrongAddress = "wrong-address", definite true, closes false;
    /// The lab run has begun without this peer.
    Started = "started", definite true, closes false;
    /// The lab run goes on without this peer.
    LeftOut = "left-out", definite true, closes true;
    /// No content of this key is here.
    UnknownKey = "unknown-key", definite true, closes false;
    /// These bytes are not here, now.
    NotHere = "not-here", definite false, closes false;
    /// The request was cancelled by its sender.
    Cancelled = "cancelled", definite false, closes false;
    /// No room for another peer.
    Full = "full", definite false, closes false;
    /// Too many connections, or no message in time.
    Busy = "busy", definite false, closes true;
}

impl std::fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.code.as_str())
    }
}
