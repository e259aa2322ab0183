//! How far apart runs are kept, and what the system allows.

use std::ffi::OsString;
use std::fmt;

use super::plan::{Event, Order};
use super::remote;

/// How a run is kept apart from the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A network and processes of its own (Linux namespaces): no other run is met on a port, no
    /// other process is seen, and the kernel ends all that was started.
    Full,
    /// A network of its own. What was started is found by descent and ended.
    Network,
    /// Nothing of its own: one run at a time, on the machine's ports.
    None,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "a network and processes of its own",
            Self::Network => "a network of its own",
            Self::None => "the network of this machine",
        })
    }
}

impl Isolation {
    /// The command that starts a keeper so.
    pub(super) fn wrap(self, keeper: &[OsString]) -> Vec<OsString> {
        // util-linux: on every Linux with a shell, and it needs no root where the system lets
        // users make namespaces.
        let unshare: &[&str] = match self {
            Self::Full => &[
                "unshare",
                "--user",
                "--map-root-user",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ],
            Self::Network => &["unshare", "--user", "--map-root-user", "--net", "--"],
            Self::None => &[],
        };
        unshare.iter().map(OsString::from).chain(keeper.iter().cloned()).collect()
    }

    /// Whether two runs can go on at the same time.
    pub fn is_apart(self) -> bool {
        self != Self::None
    }

    /// The best that the system allows of `wanted` or, if that is `None`, of all. With it, why a
    /// better one was not had.
    ///
    /// # Errors
    /// Why the one that is wanted is not to be had.
    pub async fn choose(wanted: Option<Self>, keeper: &[OsString]) -> Result<(Self, Option<String>), String> {
        let mut why = None;
        for isolation in wanted.map_or(vec![Self::Full, Self::Network, Self::None], |one| vec![one]) {
            match isolation.probe(keeper).await {
                Ok(()) => return Ok((isolation, why)),
                // The first refusal tells most.
                Err(problem) => why = why.or(Some(problem)),
            }
        }
        Err(why.unwrap_or_default())
    }

    async fn probe(self, keeper: &[OsString]) -> Result<(), String> {
        let order = Order::Probe { own_network: self.is_apart() };
        match remote::command(self, keeper, &order, &Default::default(), &mut |_| {}).await {
            Ok(Event::Able) => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(problem) => Err(problem),
        }
    }
}
