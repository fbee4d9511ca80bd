//! Bisan.

pub mod fold;
