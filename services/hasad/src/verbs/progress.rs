//! A bar on stderr, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over so many things; 0: nobody knows how many.
pub(super) fn bar(count: u64, template: &str) -> ProgressBar {
    let bar = match count {
        0 => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        count => ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr()),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("a sound template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
