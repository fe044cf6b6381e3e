//! What every provider of clusters shares: connections, capacity, prices.

pub mod capacity;
pub mod connection;
mod exec;
mod kubeconfig;
pub mod prices;

pub use connection::{ConnectError, ConnectOptions, MemberClient};
pub use kubeconfig::Endpoint;
