//! Private servers: each test has its own, on a free port of loopback, in a folder of its own.

mod cluster;
mod pooler;
mod postgres;
mod redis;
mod s3;

pub use cluster::Cluster;
pub use pooler::Pooler;
pub use postgres::{Postgres, programs_of_postgres};
pub use redis::Redis;
pub use s3::S3;
