//! The nouns of Archipel: kinds, names, conditions, validation and review types.
//!
//! | word | means |
//! | --- | --- |
//! | hub | the central API and its controllers |
//! | member, [`MemberCluster`](cluster::MemberCluster) | a cluster that is federated |
//! | fleet | all members as one snapshot |
//! | template | the ordinary object that a user applied to the hub |
//! | policy, [`PlacementPolicy`](policy::PlacementPolicy) | which templates go where |
//! | claim | the one policy that decides for a template: computed, never remembered |
//! | [`Placement`](placement::Placement) | the decision for one template |
//! | [`Revision`](revision::Revision) | a template's content with its overrides, immutable |
//! | wave | clusters that get a change together, as a [`RolloutStrategy`](rollout::RolloutStrategy) says |
//! | [`Rollout`](rollout::Rollout) | how far the last change of a template has come |
//! | copy | what a member holds of a template |
//! | manifest | one object rendered for one member |
//! | room | free capacity of a member by node shape |
//! | gate | what each planned change passes before it is written |
//!
//! PURE: no clock, no client, no randomness.

pub mod budget;
pub mod cluster;
pub mod condition;
pub mod crds;
pub mod field_path;
pub mod money;
pub mod names;
pub mod overrides;
pub mod placement;
pub mod policy;
pub mod price;
pub mod quantity;
pub mod reason;
pub mod review;
pub mod revision;
pub mod rollout;
pub mod score;
pub mod selector;
pub mod shape;
pub mod spend;
pub mod status_rule;
pub mod validate;
pub mod words;
pub mod yaml;
