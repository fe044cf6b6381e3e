//! The closed set of reason codes: conditions, events, metrics and reports all use these. Renaming one changes the API.

/// Causes of a change: of removals (RULES 1.2), and of what is added.
pub mod cause {
    pub const PLACED: &str = "Placed";
    pub const SCALED_UP: &str = "ScaledUp";
    /// The template's content or its overrides.
    pub const CONTENT_CHANGED: &str = "ContentChanged";
    pub const TEMPLATE_DELETED: &str = "TemplateDeleted";
    pub const POLICY_CHANGED: &str = "PolicyChanged";
    pub const CLUSTER_CHANGED: &str = "ClusterChanged";
    pub const SCALED_DOWN: &str = "ScaledDown";
    pub const FAILOVER: &str = "Failover";
    /// Back to a preferred affinity group.
    pub const FAILBACK: &str = "Failback";
    pub const CLUSTER_LEAVING: &str = "ClusterLeaving";
    /// Moved by a plan for the whole fleet.
    pub const REBALANCED: &str = "Rebalanced";
    /// Of what follows: a template that needs it is there.
    pub const NEEDED: &str = "Needed";
    /// Of what follows: no template that needs it is there any more.
    pub const USER_GONE: &str = "UserGone";
}

/// Types of conditions.
pub mod condition {
    pub const READY: &str = "Ready";
    pub const PLACED: &str = "Placed";
    pub const SYNCED: &str = "Synced";
    pub const ACCEPTED: &str = "Accepted";
    pub const SYNC_PAUSED: &str = "SyncPaused";
    /// Of a Placement whose policy has dependencies follow: all of them are where it is (RULES 4.7).
    pub const DEPENDENCIES_MET: &str = "DependenciesMet";
    /// Of a CostBudget: what its scope costs is not more than it allows.
    pub const WITHIN_BUDGET: &str = "WithinBudget";
    /// Of a Deployment's own status.
    pub const AVAILABLE: &str = "Available";
    pub const PROGRESSING: &str = "Progressing";
    /// Of a template's own status: nothing happens until somebody changes something.
    pub const STALLED: &str = "Stalled";
}

/// Reasons of `Placed` and of a policy's `Ready`.
pub mod placed {
    pub const PLACED: &str = "Placed";
    pub const NO_CLUSTER_FITS: &str = "NoClusterFits";
    pub const NOT_ENOUGH_ROOM: &str = "NotEnoughRoom";
    pub const POLICY_GONE: &str = "PolicyGone";
    pub const SUSPENDED: &str = "Suspended";
    pub const FROZEN: &str = "Frozen";
    pub const BUDGET: &str = "ChangeBudgetSpent";
    pub const OVER_COST: &str = "OverCostBudget";
    /// Less than all is to run on spot nodes, which takes two copies at least (RULES 5.6).
    pub const SPOT_NEEDS_TWO: &str = "SpotNeedsTwoCopies";
    pub const FLEET_DARK: &str = "FleetDark";
    /// A StatefulSet or a Job would move, which takes an approved Plan (RULES 3.4).
    pub const NEEDS_APPROVAL: &str = "NeedsApproval";
    /// A started Job is on a cluster that lets go of all that it holds: it runs there until it ends (RULES 3.4).
    pub const RUNS_TO_END: &str = "RunsToItsEnd";
    pub const INVALID: &str = "Invalid";
    /// The StatusRule of its kind cannot be evaluated on it.
    pub const UNREADABLE: &str = "Unreadable";
    /// More replicas run than a limit allows that came after them (RULES 2.2).
    pub const OVER_LIMIT: &str = "OverLimit";
    /// Of what followed: the templates that needed it were deleted, and its copies go with them.
    pub const USER_GONE: &str = "UserGone";
    /// The policy names a RolloutStrategy that does not exist or cannot be read: nothing new is released.
    pub const NO_STRATEGY: &str = "NoRolloutStrategy";
    /// Of an event on a template, and of a policy some of whose templates are not placed.
    pub const NOT_PLACED: &str = "NotPlaced";
}

/// Reasons of `DependenciesMet`.
pub mod dependencies {
    pub const MET: &str = "DependenciesMet";
    /// The hub has none of that name.
    pub const MISSING: &str = "DependencyMissing";
    /// A policy of its own, or a limit, leaves out a cluster where it is needed.
    pub const LEFT_OUT: &str = "DependencyLeftOut";
    /// It is never copied (RULES 2.4), or is of a kind that does not follow.
    pub const NEVER: &str = "DependencyNeverCopied";
}

/// Rule ids of a decision per cluster: why it was refused, or that it was chosen.
pub mod rule {
    pub const CHOSEN: &str = "Chosen";
    pub const NOT_NEEDED: &str = "NotNeeded";
    pub const NOT_ACCEPTED: &str = "NotAccepted";
    pub const NOT_READY: &str = "NotReady";
    pub const LEAVING: &str = "Leaving";
    pub const AFFINITY: &str = "Affinity";
    pub const EXCLUDED: &str = "Excluded";
    pub const EXPRESSION: &str = "Expression";
    pub const CLUSTER_SET: &str = "ClusterSet";
    pub const TAINT: &str = "Taint";
    pub const API_NOT_SERVED: &str = "ApiNotServed";
    pub const RESIDENCY: &str = "Residency";
    pub const LIMIT: &str = "Limit";
    pub const NEAR: &str = "Near";
    pub const WORKLOAD_AFFINITY: &str = "WorkloadAffinity";
    pub const WORKLOAD_ANTI_AFFINITY: &str = "WorkloadAntiAffinity";
    pub const SPREAD: &str = "Spread";
    pub const ROOM: &str = "Room";
    pub const PRICE_UNKNOWN: &str = "PriceUnknown";
    pub const DEARER: &str = "Dearer";
}

/// Reasons of a copy's state.
pub mod copy {
    pub const APPLIED: &str = "Applied";
    pub const REFUSED: &str = "RefusedByCluster";
    pub const UNREACHABLE: &str = "ClusterUnreachable";
    pub const FOREIGN: &str = "ForeignObject";
    pub const KIND_MISSING: &str = "KindMissing";
    pub const TERMINATING: &str = "Terminating";
    pub const DRIFT: &str = "Drift";
    pub const FIGHTING: &str = "Fighting";
    pub const FIELDS_NOT_KEPT: &str = "FieldsNotKept";
    pub const FROZEN: &str = "Frozen";
    pub const OBSERVE_ONLY: &str = "ObserveOnly";
    pub const RENDER_FAILED: &str = "RenderFailed";
    pub const UNKNOWN_COPY: &str = "UnknownCopy";
    pub const RENDERER_CHANGED: &str = "RendererChanged";
    /// The object in its place is a copy of another hub's.
    pub const OTHER_HUB: &str = "OtherHubsCopy";
    /// The Placement names a Revision that is not there (yet).
    pub const REVISION_MISSING: &str = "RevisionMissing";
    /// A Job that was made, was never seen finished and is gone.
    pub const JOB_GONE: &str = "JobGone";
    pub const NAMESPACE_MISSING: &str = "NamespaceMissing";
    /// The rule of its kind could not be evaluated on it.
    pub const RULE_FAILED: &str = "StatusRuleFailed";
    /// A condition that a copy has not (yet), and that other copies have.
    pub const NOT_REPORTED: &str = "NotReported";
}

/// Reasons of a MemberCluster's `Ready`.
pub mod cluster {
    pub const READY: &str = "Ready";
    pub const UNREACHABLE: &str = "Unreachable";
    pub const UNAUTHORIZED: &str = "Unauthorized";
    pub const CREDENTIALS_MISSING: &str = "CredentialsMissing";
    pub const CREDENTIALS_INVALID: &str = "CredentialsInvalid";
    pub const IDENTITY_CHANGED: &str = "IdentityChanged";
    pub const DUPLICATE: &str = "DuplicateIdentity";
    pub const UNHEALTHY: &str = "Unhealthy";
    /// Of a cluster as a simulation supposes it.
    pub const SUPPOSED: &str = "Supposed";
}

/// Reasons of a MemberCluster's `SyncPaused`.
pub mod paused {
    pub const HUB_OLDER: &str = "HubOlderThanMember";
    pub const RESUMED: &str = "Resumed";
}

/// Why the hub does not take an object that is well formed: reasons of the causes in its refusal, and of a plan's
/// refused objects.
pub mod admission {
    /// An active ResourceQuota is used up, or wants said what the object leaves out.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// It asks for more or less than an active LimitRange allows.
    pub const LIMIT_RANGE_EXCEEDED: &str = "LimitRangeExceeded";
    pub const ALL: [&str; 2] = [QUOTA_EXCEEDED, LIMIT_RANGE_EXCEEDED];
}

/// Reasons of the events that `archipel apply` writes.
pub mod applied {
    pub const PLAN_APPLIED: &str = "PlanApplied";
    pub const PLAN_OUT_OF_DATE: &str = "PlanOutOfDate";
}

/// Codes of what `archipel policy lint` finds.
pub mod lint {
    pub const INVALID: &str = "Invalid";
    pub const UNKNOWN_FIELD: &str = "UnknownField";
    pub const SELECTS_NOTHING: &str = "SelectsNothing";
    pub const SELECTS_NO_MEMBER: &str = "SelectsNoMember";
    pub const CONTRADICTION: &str = "Contradiction";
    pub const UNREACHABLE_GROUP: &str = "UnreachableGroup";
    pub const SHADOWED: &str = "Shadowed";
    pub const NO_EFFECT: &str = "NoEffect";
    pub const TOO_FEW_REPLICAS: &str = "TooFewReplicas";
    pub const NO_REQUESTS: &str = "NoRequests";
    pub const EVERY_CLUSTER: &str = "EveryCluster";
    pub const BOUNDED: &str = "Bounded";
    /// Templates are given, and none of them is meant.
    pub const SELECTS_NO_TEMPLATE: &str = "SelectsNoTemplate";
    /// A spread over more domains than the given members have.
    pub const TOO_FEW_DOMAINS: &str = "TooFewDomains";
    /// A budget or a limit of nothing.
    pub const NOTHING_ALLOWED: &str = "NothingAllowed";
    /// A charge, a score, a policy or a template that nothing given is called.
    pub const UNKNOWN_NAME: &str = "UnknownName";
    /// A cost budget without a scope.
    pub const EVERY_TEMPLATE: &str = "EveryTemplate";
    /// A template that the rule for its kind cannot be evaluated on.
    pub const UNREADABLE: &str = "Unreadable";
}

/// Reasons of a Rollout's conditions, of what a Placement says of it, and of events on templates.
pub mod rollout {
    pub const PROGRESSING: &str = "Progressing";
    pub const SOAKING: &str = "Soaking";
    pub const GATE_CLOSED: &str = "GateClosed";
    pub const WAITING_FOR_APPROVAL: &str = "WaitingForApproval";
    pub const PAUSED: &str = "RolloutPaused";
    pub const COMPLETED: &str = "Completed";
    pub const ABORTED: &str = "Aborted";
    /// A copy failed in the new revision, or its cluster refused it.
    pub const COPY_FAILED: &str = "CopyFailed";
    pub const DEADLINE: &str = "ProgressDeadlineExceeded";
    /// Events.
    pub const STARTED: &str = "RolloutStarted";
    pub const WAVE_STARTED: &str = "WaveStarted";
    pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
    pub const ROLLOUT_ABORTED: &str = "RolloutAborted";
    /// Events that tell of nothing wrong.
    pub const NORMAL: [&str; 3] = [STARTED, WAVE_STARTED, ROLLOUT_COMPLETED];
}

/// Reasons of a CostBudget's `WithinBudget`.
pub mod cost {
    pub const WITHIN: &str = "WithinBudget";
    pub const OVER: &str = "OverBudget";
}
