//! The Kubernetes API of the hub: discovery, verbs, watch, patch, admission, authentication and authorisation.
//!
//! One generic engine serves every kind: built-in kinds from the catalogue, our own kinds and users' CRDs from their
//! schemas. There is no handler per kind.
//!
//! ```text
//! TLS listener ─▶ authn ─┐
//!                        ├─▶ request ─▶ authz ─▶ admission ─▶ verbs ─▶ Store
//! local(identity) ───────┘                                     │
//!                                                    registry (kinds) · status (HTTP codes)
//! ```

pub mod authn;
pub mod authorize;
pub mod authz;
pub mod body;
mod files;
pub mod health;
pub mod hooks;
pub mod identity;
mod keys;
pub mod kubeconfig;
pub mod listen;
pub mod local;
pub mod metrics;
pub mod observe;
pub mod pki;
pub mod reviews;
pub mod shell;
pub mod status;
pub mod tls;
pub mod tokens;
