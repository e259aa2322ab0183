//! `cargo xtask bench`.

/// Runs the benchmarks whose names contain one of `names`, or all.
///
/// # Errors
/// If one could not be run.
pub(crate) fn run(_names: &[String]) -> Result<(), String> {
    Err("no benchmark yet".into())
}
