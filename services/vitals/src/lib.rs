//! What our programs tell of themselves over HTTP: whether they live, whether they can work, and their figures.
//!
//! | file | idea |
//! |---|---|
//! | `metric.rs` | what a metric is: name, kind, whence, labels, and what it says |
//! | `text.rs` | figures as Prometheus reads them |
//! | `listen.rs` | an address, or none |
//! | `ears.rs` | a listener whose end is noticed |
//! | `serve.rs` | `/live`, `/ready` and `/metrics` of a program that serves nothing else |

mod ears;
mod listen;
mod metric;
mod serve;
mod text;

pub use ears::{Ears, ears, is_dead};
pub use listen::Listen;
pub use metric::{Kind, Metric, Source, metric};
pub use serve::{Vital, open, serve};
pub use text::{MIME, Text, memory};
