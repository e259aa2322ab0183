//! Reports about a submission.

mod gradescope;
mod html;
mod text;
