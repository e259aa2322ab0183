//! Random cases from a seed that a failing test prints, with the command that tries them again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, from the seed in `PROPTEST_RNG_SEED` or a new one.
pub(crate) fn cases(cases: u32) -> Config {
    let mut config = Config::with_cases(cases);
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(cases));
    }
    let thread = std::thread::current();
    let (seed, test) = (config.rng_seed, thread.name().unwrap_or_default());
    println!("the same cases again: PROPTEST_RNG_SEED={seed} cargo test -p askaround-lab {test}");
    config
}
