//! Every state that the machines of `askaround-core` can come to, for a few peers: checked by
//! [`stateright`], which drives the types that ship.
//!
//! | module | what is checked |
//! | --- | --- |
//! | [`clock`] | the barrier of a lab run, with crashes, stray messages and turns that run out |
//! | [`registry`] | registrations, moves, leases, look-ups, limits |
//! | [`search`] | every search in every small network, with crashes and answers in any order |
//! | [`suite`] | the models in the sizes that are checked |
//!
//! A model holds the machine itself and as much of the world as it needs: connections that are in
//! order each and overtake each other, peers that crash, time. It notes what is to be true and
//! compares.
//!
//! # Each property is alive
//!
//! A property that cannot fail says nothing. Each model can be told to make a deliberate mistake
//! (`Broken`, for tests only), and for each property there is one that it catches:
//!
//! | model | mistake | caught by |
//! | --- | --- | --- |
//! | clock | `AnyTimeCounts`: any completion is for the present timestep | a repeated, late or early completion changes nothing |
//! | clock | `AnybodyCounts`: anybody's completion is by whoever is waited for | nobody begins t+1 before everybody counted has completed t |
//! | clock | `CrashUnnoticed`: a broken connection is not noticed | the others never wait for whoever is gone |
//! | clock | `AllAtOnce`: everybody acts at once | turns go by id, one at a time |
//! | clock | `FinishesWithTheFirst`: it is over for the first that is through | nobody finishes before everybody counted is through |
//! | registry | `AnyToken`: any token is the right one | nobody takes over a registration without its token |
//! | registry | `RefusesRenewal`: nobody may renew | whoever owns an id may renew, move and leave, and come back when it has ended |
//! | registry | `KeepsOldAddress`: whoever comes back stays at the old address | a look-up gives the address of the last registration |
//! | registry | `NoLease`: no registration runs out | exactly those are listed whose lease runs, page by page |
//! | registry | `ForgetsAtOnce`: whoever unregisters is forgotten | whoever is gone can be looked up for a while |
//! | registry | `NeverForgets`: nobody is ever forgotten | whoever has long been gone is forgotten |
//! | registry | `NoLimit`: any number of entries from one address | no address holds more entries than it may |
//! | registry | `NotesRefused`: a refused registration is noted | what is refused changes nothing |
//! | search | `LosesAnswers`: answers about the longer list are lost | it ends: it has a result or a question open |
//! | search | `AsksAgain`: whoever does not answer is asked once more | nobody is asked the same thing twice |
//! | search | `DoesNotKnowItself`: it does not know its own address | it never asks itself |
//! | search | `HintIsEnough`: a hint is taken for the key | whoever it finds has the key |
//! | search | `OverlooksTheLast`: the last of the tracker's list is overlooked | it gives up only when everybody that it could hear of has been asked |
//! | search | `NoLongerList`: the longer list is not read | it gives up only when everybody that it could hear of has been asked |
//! | search | `OneHintTooMany`: a third further hint is followed | it follows what was hinted, and at most two further hints |
//! | search | `TooWide`: one more question is open | it has no more questions open than its width |
//! | search | `Backwards`: the tracker's list is read from its end | it goes down the tracker's list by id |
//! | search | `LosesAHolder`: one of the collected holders is lost | who collects misses no holder that it asked |

pub mod clock;
pub mod registry;
pub mod search;
pub mod suite;

use std::fmt::{Debug, Write};
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, Model};

/// What checking a model came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Which model.
    pub name: &'static str,
    /// How many states were looked at, the same one counted once for each way that leads to it.
    pub states: usize,
    /// How many different ones there are.
    pub unique: usize,
    /// The most steps to one of them.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
}

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{model}: {property}: {how}")]
pub struct Violation {
    /// Of which model.
    pub model: &'static str,
    /// Which property.
    pub property: &'static str,
    /// The steps that lead to where it does not hold, or that it never does.
    pub how: String,
}

/// Looks at every state of `model`.
///
/// # Errors
/// The first property that does not hold.
pub fn check<M>(name: &'static str, model: M) -> Result<Summary, Violation>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let discoveries = checker.discoveries();
    for property in checker.model().properties() {
        let violated = |how| Err(Violation { model: name, property: property.name, how });
        match (&property.expectation, discoveries.get(property.name)) {
            (Expectation::Sometimes, None) => return violated("never so".into()),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let mut how = String::new();
                for action in path.clone().into_actions() {
                    let _ = write!(how, "\n  {action:?}");
                }
                let _ = write!(how, "\n  leads to {:#?}", path.last_state());
                return violated(how);
            }
            _ => {}
        }
    }
    assert!(checker.is_done(), "every state was looked at");
    Ok(Summary {
        name,
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
    })
}
