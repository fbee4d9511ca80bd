//! The operator's surface: what `relay status`, `relay dead` and the others say and do, over HTTP, and metrics.
//!
//! It has a thread, a runtime and connections of its own: nothing that is asked here delays the loop. What the loop knows it
//! reads from the [`pulse`](crate::pulse); what a store knows it reads from Postgres, at most once a second, however many
//! ask. It decides nothing: every route is one call of what the verbs call, too.
//!
//! | file | idea |
//! |---|---|
//! | `settings.rs` | where it listens, and the tokens |
//! | `serve.rs` | a thread, connections, and their limits |
//! | `impatient.rs` | a wire that gives up on callers who take nothing |
//! | `router.rs` | every route, and the document about them |
//! | `guard.rs` | who may do what |
//! | `tokens.rs` | what callers show, and those who guess |
//! | `problem.rs` | what is said when something is refused or fails |
//! | `asked.rs` | what callers send, read with care |
//! | `desk.rs` | what every route has at hand |
//! | `snapshot.rs` | how it stands, read once for all who ask |
//! | `history.rs` | the last minutes second by second, the last hour in tens of seconds |
//! | `jobs.rs` | replays and drops that take long |
//! | `page.rs`, `page/` | the page for people: one document, with its style and its script |
//! | `routes/` | the routes |

mod asked;
mod desk;
mod guard;
mod history;
mod impatient;
mod jobs;
mod page;
mod problem;
mod router;
mod routes;
mod serve;
mod settings;
mod snapshot;
mod tokens;

pub(crate) use serve::Serving;
pub use settings::Surface;
