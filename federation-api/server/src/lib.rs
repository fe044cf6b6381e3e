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

pub mod active;
mod admission;
pub mod app;
pub mod authn;
pub mod authorize;
pub mod authz;
pub mod body;
mod convert;
pub mod crd;
mod decode;
mod discovery;
pub mod fair;
mod fields;
mod files;
pub mod health;
pub mod hooks;
pub mod identity;
mod keys;
pub mod kubeconfig;
pub mod listen;
pub mod local;
mod metadata;
pub mod metrics;
mod negotiate;
mod object;
pub mod observe;
mod openapi;
pub mod pki;
pub mod registry;
pub mod request;
mod required;
pub mod respond;
pub mod reviews;
mod schema;
pub mod shell;
pub mod status;
mod stored;
mod strategy;
pub mod tls;
pub mod tokens;
mod verbs;
mod view;
