//! `askaround lab plot`: how the cost of lookups grows, as a picture.

use std::path::PathBuf;

use askaround_lab::report::growth;
use clap::Args;

use super::pictures::{Begun, not_over};
use crate::exit::Failure;

/// `askaround lab plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// What `lab sim --peers N,N,… --json` printed; of several files, their means are compared
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The picture
    #[arg(long, value_name = "FILE")]
    pub svg: PathBuf,
}

/// Draws the charts.
pub(super) fn plot(args: &PlotArgs) -> Result<(), Failure> {
    not_over(&args.svg, &args.files)?;
    let costs = args.files.iter().map(|file| growth::read(file)).collect::<Result<Vec<_>, _>>();
    let costs = costs.map_err(Failure::usage)?;
    Begun::new(&args.svg)?.finish("picture", |out| growth::write(&costs, out))
}
