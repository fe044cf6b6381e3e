//! End-to-end tests on real Kubernetes components.

mod members;
