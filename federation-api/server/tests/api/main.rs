//! The engine end to end, in process: requests in, answers out, over a store in memory.

mod definitions;
mod discovery;
mod harness;
mod lists;
mod objects;
mod patches;
mod watches;
