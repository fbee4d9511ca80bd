//! SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the program is asked to stop. A signal counts from the call on, not only from the first await: who is
/// asked in the first moments of a program hears it, too.
pub fn asked_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
