//! Pictures of a run, drawn from its trace.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`model`] | [`model::Report`]: who said what to whom, ready to be drawn |
//! | [`searches`] | each search as a tree: who was asked why, and what they said |
//! | [`compare`] | the logs beside the expected ones |
//! | [`layout`] | where each message stands in a space-time diagram |
//! | [`select`] | a part of a run |
//! | [`html`] | one page that needs nothing else; its style and scripts lie in `page/` |
//! | [`svg`], [`mermaid`] | a space-time diagram for a paper, a sequence diagram for a README |
//! | [`growth`], [`chart`] | how the cost of lookups grows with the number of peers, as line charts |

mod build;
pub mod chart;
pub mod compare;
mod data;
pub mod growth;
pub mod html;
pub mod layout;
pub mod mermaid;
pub mod model;
pub mod searches;
pub mod select;
pub mod svg;

#[cfg(test)]
mod tests;
