//! `askaround lab sim`: a scenario or a population in virtual time.

mod figures;
mod options;
mod population;
mod scenario;

pub use options::SimArgs;

use crate::exit::Failure;

/// Runs what was asked for.
pub(super) async fn run(args: SimArgs) -> Result<(), Failure> {
    match args.dir.clone() {
        Some(dir) => scenario::run(&args, &dir),
        None => population::run(args).await,
    }
}
