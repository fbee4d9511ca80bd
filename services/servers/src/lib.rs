//! Servers of one program: found where they are installed, started on a port of loopback, and ended with the program, also if
//! that is killed.
//!
//! | file | idea |
//! |---|---|
//! | `keeper.rs` | a small shell that ends the server when we are gone |
//! | `claim.rs` | whose folder it is, as long as anybody who was started in it lives |
//! | `programs.rs` | where the programs are, and whether they are new enough |
//! | `port.rs` | a port to which a server can come back |

mod claim;
mod keeper;
pub mod port;
pub mod programs;

pub use claim::Claim;
pub use keeper::{Keeper, can_enter};
