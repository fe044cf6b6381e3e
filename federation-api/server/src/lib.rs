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

pub mod authorize;
pub mod body;
pub mod hooks;
pub mod identity;
pub mod status;
