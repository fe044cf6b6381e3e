//! The engine end to end, in process: requests in, answers out, over a store in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod active;
mod bounds;
mod definitions;
mod discovery;
mod harness;
mod lists;
mod objects;
mod patches;
mod watches;
