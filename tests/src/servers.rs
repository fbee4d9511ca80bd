//! Private servers: each test has its own, on a free port of loopback, in a folder of its own.

mod cluster;
mod keeper;
pub(crate) mod port;
mod postgres;
mod programs;
mod redis;
mod s3;

pub use cluster::Cluster;
pub use postgres::Postgres;
pub use programs::programs_of_postgres;
pub use redis::Redis;
pub use s3::S3;
