//! A relay as its binary runs it: with its surface and with traces.

use std::sync::Arc;

use clap::Args;
use terminal::Unusable;

use crate::admin::{Serving, Surface};
use crate::config::Config;
use crate::fault::Error;
use crate::pulse::Pulse;
use crate::relay::Relay;
use crate::spans::Collector;

/// Everything that `relay run` takes: [`Config`], [`Surface`] and a collector of traces.
#[derive(Debug, Clone, Args)]
pub struct Running {
    #[command(flatten)]
    config: Config,

    #[command(flatten)]
    surface: Surface,

    #[command(flatten)]
    collector: Collector,
}

impl Running {
    /// What is wrong with the settings taken together, in one sentence. Nothing connects.
    pub fn check(&self) -> Result<(), Unusable> {
        self.config.check()?;
        self.surface.check()?;
        self.collector.check()
    }

    /// Relays until `shutdown` resolves. Nothing begins unless the surface has its address.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        self.check()?;
        let Self { config, surface, collector } = self;
        let pulse = Arc::new(Pulse::default());
        let mut served = Serving::bind(&surface)?.begin(config.clone(), Arc::clone(&pulse))?;
        let exporting = collector.begin(&pulse)?;
        let deaf = async {
            match &mut served {
                Some(served) => served.ended().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            outcome = Relay::run_with(config.clone(), Arc::clone(&pulse), shutdown) => outcome,
            () = deaf => Err(Error::Unusable("the HTTP surface has ended by itself; the log says why".to_owned())),
        };
        if let Some(served) = served {
            served.stop().await;
        }
        pulse.collect_no_more();
        if let Some(exporting) = exporting {
            exporting.stop().await;
        }
        outcome
    }
}
