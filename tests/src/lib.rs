//! The harness for tests on real clusters: hub, members, waits.
