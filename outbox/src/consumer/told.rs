//! What a consumer is told before it begins, and what it is called.

use std::sync::Arc;

use super::ConsumerBuilder;
use super::work::Work;

pub(super) struct Told {
    pub(super) settings: ConsumerBuilder,
    pub(super) work: Arc<dyn Work>,
    pub(super) group: Arc<str>,
    /// Unique to this process: two that bear one name would take each other's entries for their own.
    pub(super) me: String,
}

impl Told {
    pub(super) fn new(settings: ConsumerBuilder, work: Arc<dyn Work>) -> Self {
        let me = format!("{}-{}", settings.name, uuid::Uuid::now_v7().simple());
        Self { group: settings.group.as_str().into(), me, work, settings }
    }
}
