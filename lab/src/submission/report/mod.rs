//! Reports about a submission.

mod gradescope;
mod text;
