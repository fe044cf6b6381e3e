//! Member clusters in a process: the hub's own API server on memory storage, with small workload controllers.
