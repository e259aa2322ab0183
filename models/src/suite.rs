//! The models in the sizes that are checked: small ones with every test run, larger ones by
//! `cargo xtask check-models`.

use askaround_core::clock::Turns;

use crate::clock::ClockModel;
use crate::registry::RegistryModel;
use crate::search::SearchModel;
use crate::{Summary, Violation, check};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Seconds, also without optimisation.
    Small,
    /// Some millions of states.
    Large,
}

/// Checks all models, and hands on what each came to as soon as it is known.
///
/// # Errors
/// The first property that does not hold.
pub fn run(size: Size, mut each: impl FnMut(&Summary)) -> Result<(), Violation> {
    let large = size == Size::Large;
    let mut done = |summary: Result<Summary, Violation>| summary.map(|summary| each(&summary));
    done(check("clock, by id", clock(Turns::ById, large)))?;
    done(check("clock, concurrent", clock(Turns::Concurrent, large)))?;
    if large {
        done(check("registry, roomy", registry(2, large)))?;
    }
    done(check("registry, tight", registry(1, large)))?;
    done(check("search, width 1", search(large)))?;
    done(check("search, width 2", SearchModel { width: 2, ..search(large) }))?;
    done(check("search, chains of hints", hints(large)))?;
    done(check("search, collecting", SearchModel { collect: true, ..search(false) }))
}

/// Three clients that crash, stray and overrun.
pub fn clock(turns: Turns, large: bool) -> ClockModel {
    let scripts = if large { vec![2, 1, 2] } else { vec![2, 1] };
    ClockModel { scripts, turns, crashes: 1, stray: 1, timeouts: 1, broken: None }
}

/// Two ids, three addresses and up to three tokens.
pub fn registry(per_ip: usize, large: bool) -> RegistryModel {
    let (tokens, ticks) = if large { (3, 8) } else { (2, 4) };
    RegistryModel { ids: 2, tokens, ticks, per_ip, broken: None }
}

/// Every network of a few peers, one of which may crash.
pub fn search(large: bool) -> SearchModel {
    let (peers, most_known) = if large { (3, 1) } else { (2, 3) };
    SearchModel {
        peers,
        width: 1,
        originator: true,
        crashes: 1,
        page: 1,
        collect: false,
        most_listed: 4,
        most_known,
        broken: None,
    }
}

/// Enough peers for chains of hints that are too long; few of them listed, and no more known than
/// hints need.
pub fn hints(large: bool) -> SearchModel {
    SearchModel {
        peers: 5,
        originator: false,
        crashes: 0,
        page: 9,
        most_listed: if large { 2 } else { 1 },
        most_known: 1,
        ..search(large)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;
    use std::hash::Hash;

    use stateright::{Checker, Expectation, HasDiscoveries, Model};

    use super::*;
    use crate::clock::Broken as Clock;
    use crate::registry::Broken as Registry;
    use crate::search::Broken as Search;

    #[test]
    fn every_property_holds_in_every_state() {
        let mut unique = 0;
        run(Size::Small, |summary| {
            println!("{}: {} states", summary.name, summary.unique);
            unique += summary.unique;
        })
        .unwrap_or_else(|violation| panic!("{violation}"));
        assert!(unique > 50_000, "{unique}: the models are not as large as they were meant to be");
    }

    /// Each mistake of the table in the crate's documentation is caught by the property named there.
    #[test]
    fn each_property_catches_its_mistake() {
        let rows = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
        let table: Vec<Vec<&str>> =
            rows.map(|row| row.trim_end_matches(" |").split(" | ").collect()).collect();
        // The property that is to catch a mistake.
        let mut caught = 0;
        let mut property = |model: &str, mistake: String| {
            caught += 1;
            let mistake = format!("`{mistake}`: ");
            let mut rows = table.iter().filter(|row| row.len() == 3);
            let row = rows.find(|row| row[0] == model && row[1].starts_with(&mistake));
            row.unwrap_or_else(|| panic!("{model}, {mistake} is not in the table"))[2]
        };
        use Clock::{AllAtOnce, AnyTimeCounts, AnybodyCounts, CrashUnnoticed, FinishesWithTheFirst};
        for broken in [AnyTimeCounts, AnybodyCounts, CrashUnnoticed, AllAtOnce, FinishesWithTheFirst] {
            // A turn that runs out would hide that a crash is not noticed.
            let timeouts = u8::from(broken != CrashUnnoticed);
            let model = |broken| ClockModel { broken, timeouts, ..clock(Turns::ById, false) };
            assert_caught(model, broken, property("clock", format!("{broken:?}")));
        }
        use Registry::{AnyToken, ForgetsAtOnce, KeepsOldAddress, NoLease};
        use Registry::{NeverForgets, NoLimit, NotesRefused, RefusesRenewal};
        for broken in [
            AnyToken,
            RefusesRenewal,
            KeepsOldAddress,
            NoLease,
            ForgetsAtOnce,
            NeverForgets,
            NoLimit,
            NotesRefused,
        ] {
            let model = |broken| RegistryModel { broken, ..registry(1, false) };
            assert_caught(model, broken, property("registry", format!("{broken:?}")));
        }
        use Search::{AsksAgain, Backwards, DoesNotKnowItself, HintIsEnough, LosesAHolder, LosesAnswers};
        use Search::{NoLongerList, OneHintTooMany, OverlooksTheLast, TooWide};
        for broken in
            [LosesAnswers, AsksAgain, DoesNotKnowItself, HintIsEnough, OverlooksTheLast, NoLongerList]
                .into_iter()
                .chain([OneHintTooMany, TooWide, Backwards, LosesAHolder])
        {
            let sized = if broken == OneHintTooMany { hints(false) } else { search(false) };
            let collect = broken == LosesAHolder;
            let model = |broken| SearchModel { broken, collect, ..sized.clone() };
            assert_caught(model, broken, property("search", format!("{broken:?}")));
        }
        let rows = table.iter().filter(|row| row.len() == 3 && row[1].starts_with('`')).count();
        assert_eq!(caught, rows, "a mistake for each row");
    }

    fn assert_caught<M, B>(model: impl Fn(Option<B>) -> M, broken: B, property: &'static str)
    where
        M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync> + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync,
        B: Copy + Debug,
    {
        let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
        let checker = model(Some(broken)).checker().finish_when(found).spawn_bfs().join();
        assert!(checker.discovery(property).is_some(), "{broken:?} is not caught by: {property}");
        let properties = checker.model().properties();
        let named = properties.iter().find(|p| p.name == property);
        assert!(named.is_some_and(|p| matches!(p.expectation, Expectation::Always)), "{property}");
    }
}
