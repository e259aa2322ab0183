//! The lab's commands, one a file.

mod check;
mod deliveries;
mod grade;
pub mod grade_args;
mod logs;
pub mod pictures;
pub mod plot;
pub mod replay;
mod run;
pub mod shipped;
pub mod sim;
mod submission;

pub use check::CheckArgs;

use crate::args::LabCommand;
use crate::exit::Failure;

/// Runs a lab command.
///
/// # Errors
/// As the command fails.
pub async fn run(command: LabCommand) -> Result<(), Failure> {
    match command {
        LabCommand::Run(args) => run::run(args).await,
        LabCommand::Check(args) => check::check(args).await,
        LabCommand::Sim(args) => sim::run(*args).await,
        LabCommand::Grade(args) if args.submission.is_some() => submission::grade(*args).await,
        LabCommand::Grade(args) => grade::grade(&args),
        LabCommand::Replay(args) => replay::replay(&args),
        LabCommand::Plot(args) => plot::plot(&args),
        LabCommand::Scenarios(args) => shipped::scenarios(&args),
        LabCommand::Keep => askaround_lab::submission::keeper::keep().await.map_err(Failure::run),
    }
}
