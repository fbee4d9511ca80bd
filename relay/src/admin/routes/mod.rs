//! The routes, by what they are about.

pub(super) mod dead;
pub(super) mod dlq;
pub(super) mod health;
pub(super) mod live;
pub(super) mod look;
pub(super) mod metrics;
pub(super) mod pause;
pub(super) mod publish;
pub(super) mod trace;
