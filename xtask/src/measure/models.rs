//! How fast every state of a model is looked at.

use super::{RUNS, Row, median};
use crate::models::{Checked, small};

pub(super) fn models(rows: &mut Vec<Row>) -> Result<(), String> {
    let runs = (0..RUNS).map(|_| small()).collect::<Result<Vec<_>, _>>()?;
    for machine in ["clock", "registry", "search"] {
        let of = |run: &[Checked]| {
            let models = run.iter().filter(|model| model.name.starts_with(machine));
            models.fold((0, 0, 0.0), |sum, m| (sum.0 + m.states, sum.1 + m.unique, sum.2 + m.seconds))
        };
        let per_second = runs.iter().map(|run| of(run)).map(|(states, _, seconds)| states as f64 / seconds);
        let figure = median(per_second.collect());
        let (states, unique, _) = of(&runs[0]);
        rows.push(Row {
            name: format!("models of the {machine}"),
            figure,
            unit: "states/s",
            against: "-".into(),
            note: format!("{states} states, {unique} different, every property in each"),
        });
    }
    Ok(())
}
