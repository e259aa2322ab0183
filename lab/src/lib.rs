//! The lab: scenarios run in lock-step, their logs, and what is wrong with them.

pub mod grade;
pub mod world;
