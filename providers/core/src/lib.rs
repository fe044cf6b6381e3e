//! What every provider of clusters shares: connections, capacity, prices.

pub mod apis;
pub mod capacity;
pub mod connection;
mod exec;
mod input;
pub mod join;
mod kubeconfig;
pub mod prices;
pub mod token;

pub use connection::{ConnectError, ConnectOptions, MemberClient};
pub use input::UserKubeconfig;
pub use kubeconfig::Endpoint;
