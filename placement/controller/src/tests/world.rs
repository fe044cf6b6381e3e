//! A hub and a syncer in a few lines: what a pass writes goes back into the index as watches would bring it, and copies
//! become ready, or are gone, on clusters that answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use federation_types::{
    budget::{ChangeBudgetSpec, Freeze},
    cluster::{
        ClusterSet, ClusterSetSpec, FreeNodes, MemberCluster, MemberClusterSpec,
        MemberClusterStatus, NodeShape, Taint, TaintEffect,
    },
    condition::{self, Condition},
    names::{COPIES_FINALIZER, Gvk, ObjectKey},
    overrides::OverridePolicySpec,
    placement::{CopyState, CopyStatus, PlacementSpec},
    policy::ClusterPlacementPolicySpec,
    reason::condition::READY,
    rollout::{Rollout, RolloutSpec, RolloutStatus, RolloutStrategy},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use placement_engine::Workload;
use serde_json::{Value, json};

use crate::{
    bounds::Bounds,
    claim::{Override, Policy},
    clock, decide,
    gate::Budget,
    index::{Index, KindState, Placed, Template, template_key},
    members::is_ready,
    outcome::Event,
    release::RolloutWrite,
    snapshot::Snapshots,
    write::Write,
};

pub(crate) struct World {
    pub(crate) index: Index,
    pub(super) snapshots: Snapshots,
    pub(super) now: i64,
    /// Clusters whose copies do not become ready.
    pub(super) failing: BTreeSet<String>,
    pub(super) events: Vec<Event>,
    pub(super) deleted_revisions: Vec<String>,
    version: u64,
}

/// A key by `Kind/name`, in the namespace `shop`.
pub(crate) fn key(text: &str) -> ObjectKey {
    let (kind, name) = text.split_once('/').unwrap_or(("Deployment", text));
    template_key(&Gvk::new(api_version(kind), kind), "shop", name)
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "ConfigMap" | "Pod" | "PersistentVolumeClaim" | "Secret" | "Service" | "ServiceAccount" => {
            "v1"
        }
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "PodDisruptionBudget" => "policy/v1",
        "Job" | "CronJob" => "batch/v1",
        "Engine" => "example.org/v1",
        _ => "apps/v1",
    }
}

impl World {
    /// Clusters as `name provider [word]…`, one a line: see [`World::cluster`]. All serve everything and are large.
    pub(crate) fn new(clusters: &str) -> Self {
        let mut world = Self {
            index: Index::default(),
            snapshots: Snapshots::default(),
            now: 1_000_000,
            failing: BTreeSet::new(),
            events: Vec::new(),
            deleted_revisions: Vec::new(),
            version: 1,
        };
        world.index.settling.at(world.now);
        world.index.budgets.insert("default".into(), budget(20, 10));
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            world.synced("apps", kind);
        }
        for kind in ["ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"] {
            world.synced("", kind);
        }
        world.synced("batch", "Job");
        world.synced("autoscaling", "HorizontalPodAutoscaler");
        world.synced("policy", "PodDisruptionBudget");
        for line in clusters.split(['\n', ',']).map(str::trim).filter(|it| !it.is_empty()) {
            world.cluster(line);
        }
        world
    }

    pub(crate) fn synced(&mut self, group: &str, kind: &str) {
        let state = KindState { synced: true, ..KindState::default() };
        self.index.kinds.insert((group.into(), kind.into()), state);
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// `name provider`, then any of `dark`, `deleting`, `orphan`, `rooms=N` (places for pods), `in=EU`, `taint=key` (no
    /// new ones), `drain=key` (away with all), `key:value` (a label).
    pub(super) fn cluster(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (name, provider) = (words.next().unwrap(), words.next().unwrap());
        let mut member = MemberCluster::new(
            name,
            MemberClusterSpec {
                provider: provider.into(),
                accepted: true,
                ..MemberClusterSpec::default()
            },
        );
        let mut labels = BTreeMap::new();
        let (mut ready, mut rooms) = (true, 1_000);
        for word in words {
            let taint = |key: &str, effect| Taint { key: key.into(), effect, ..Taint::default() };
            match word.split_once(['=', ':']) {
                None if word == "dark" => ready = false,
                None if word == "deleting" => {
                    let time = jiff::Timestamp::from_second(self.now).unwrap();
                    member.metadata.deletion_timestamp = Some(Time(time));
                }
                None if word == "orphan" => {
                    let note = (federation_types::names::LEAVE_ANNOTATION.into(), "Orphan".into());
                    member.metadata.annotations = Some(BTreeMap::from([note]));
                }
                Some(("rooms", n)) => rooms = n.parse().unwrap(),
                Some(("in", it)) => member.spec.jurisdiction = it.into(),
                Some(("taint", it)) => member.spec.taints.push(taint(it, TaintEffect::NoSchedule)),
                Some(("drain", it)) => member.spec.taints.push(taint(it, TaintEffect::NoExecute)),
                Some((key, value)) => drop(labels.insert(key.to_owned(), value.to_owned())),
                None => panic!("`{word}` says nothing of a cluster"),
            }
        }
        member.metadata.labels = (!labels.is_empty()).then_some(labels);
        let resources = |pods: i64| {
            let of = |name: &str, amount: String| (name.to_owned(), amount);
            BTreeMap::from([
                of("cpu", pods.to_string()),
                of("memory", format!("{pods}Gi")),
                of("pods", pods.to_string()),
            ])
        };
        let old = self.index.clusters.get(name).and_then(|it| it.status.clone());
        let mut conditions = old.map(|it| it.conditions).unwrap_or_default();
        let answer = if ready { "True" } else { "Unknown" };
        let ready = Condition { kind: READY.into(), status: answer.into(), ..no_condition() };
        condition::set(&mut conditions, ready, &clock::text(self.now));
        member.status = Some(MemberClusterStatus {
            conditions,
            uid: format!("uid-{name}"),
            version: "v1.36.3".into(),
            apis: [
                "apps/v1/Deployment",
                "apps/v1/StatefulSet",
                "apps/v1/DaemonSet",
                "example.org/v1/Engine",
                "batch/v1/Job",
                "autoscaling/v2/HorizontalPodAutoscaler",
                "policy/v1/PodDisruptionBudget",
                "v1/ConfigMap",
                "v1/Secret",
                "v1/Service",
                "v1/ServiceAccount",
                "v1/PersistentVolumeClaim",
                "v1/Pod",
            ]
            .map(str::to_owned)
            .into(),
            shapes: vec![NodeShape {
                instance_type: "large".into(),
                count: 1,
                allocatable: resources(1_000),
                free: vec![FreeNodes { nodes: 1, resources: resources(rooms) }],
                ..NodeShape::default()
            }],
            ..MemberClusterStatus::default()
        });
        self.index.set_cluster(name, Some(member));
    }

    /// `namespace/name`, namespace `-` for a cluster policy; the spec selects Deployments unless it says otherwise.
    pub(crate) fn policy(&mut self, id: &str, mut spec: Value) {
        let (namespace, name) = id.split_once('/').unwrap_or(("shop", id));
        if spec.get("selectors").is_none() {
            spec["selectors"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
        }
        let spec: ClusterPlacementPolicySpec = serde_json::from_value(spec).unwrap();
        let namespace = if namespace == "-" { "" } else { namespace };
        let generation = self.next_version().parse().unwrap();
        let policy = Policy {
            namespace: namespace.into(),
            name: name.into(),
            uid: id.into(),
            generation,
            spec: spec.policy,
            limits: spec.limits,
            limits_only: spec.limits_only,
            namespaces: spec.namespaces,
            system_namespaces: spec.system_namespaces,
        };
        self.index.set_policy((namespace.into(), name.into()), Some(policy));
    }

    /// Divides over the clusters named, weighted alike, with a minimum of clusters.
    pub(super) fn divide(&mut self, clusters: &[&str], min: u32) {
        self.policy(
            "web",
            json!({"affinities": [{"clusters": {"names": clusters}}], "spread": [{"topologyKey": "cluster", "min": min}],
                   "replicas": {"mode": "Divided", "division": "Weighted"}}),
        );
    }

    pub(crate) fn drop_policy(&mut self, name: &str) {
        self.index.set_policy(("shop".into(), name.into()), None);
    }

    pub(crate) fn overrides(&mut self, name: &str, rules: &Value) {
        let spec =
            json!({"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "rules": rules});
        let spec: OverridePolicySpec = serde_json::from_value(spec).unwrap();
        let policy = Override { namespace: "shop".into(), name: name.into(), generation: 1, spec };
        self.index.set_override(("shop".into(), name.into()), Some(policy));
    }

    pub(super) fn set(&mut self, name: &str, spec: ClusterSetSpec) {
        self.index.sets.insert(name.into(), Arc::new(ClusterSet::new(name, spec)));
        self.index.fleet_version += 1;
        self.index.touch_everything();
    }

    /// A template of a kind with replicas, each one core and one GiB; `image` makes its content.
    pub(crate) fn apply(&mut self, text: &str, replicas: i64, image: &str) {
        self.apply_as(text, replicas, image, "uid-1", &json!({}));
    }

    pub(super) fn apply_as(
        &mut self,
        text: &str,
        replicas: i64,
        image: &str,
        uid: &str,
        status: &Value,
    ) {
        let key = key(text);
        let api_version = api_version(&key.gvk.kind).to_owned();
        let labels = json!({"app": key.name});
        let count = if key.gvk.kind == "Job" { "parallelism" } else { "replicas" };
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
        let container = json!({"name": "main", "image": image, "resources": resources});
        let mut content = json!({
            "apiVersion": api_version, "kind": key.gvk.kind,
            "metadata": {"namespace": key.namespace, "name": key.name},
            "spec": {count: replicas, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
        });
        content["status"] = status.clone();
        self.store(&key, &content, uid);
    }

    /// A PersistentVolumeClaim.
    pub(super) fn claim(&mut self, text: &str) {
        let key = key(text);
        let content = json!({
            "apiVersion": "v1", "kind": key.gvk.kind,
            "metadata": {"namespace": key.namespace, "name": key.name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        self.store(&key, &content, "uid-1");
    }

    /// A template as it stands.
    /// A template that moves by an approval only.
    pub(super) fn store_bound(&mut self, text: &str) {
        if text.starts_with("PersistentVolumeClaim") {
            self.claim(text);
        } else {
            self.apply(text, 2, "v1");
        }
    }

    pub(crate) fn store(&mut self, key: &ObjectKey, object: &Value, uid: &str) {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let mut content = object.clone();
        let status = content.as_object_mut().and_then(|it| it.remove("status"));
        let text = content.to_string();
        content["status"] = status.unwrap_or_default();
        let workload = Workload::read(&content, &self.index.reading.rules);
        let old = self.index.templates.get(key).filter(|it| it.uid == uid);
        let template = Template {
            api_version,
            uid: uid.into(),
            generation: old.map_or(1, |it| it.generation + 1),
            resource_version: String::new(),
            labels: BTreeMap::new(),
            secret_type: String::new(),
            deleting: false,
            finalizers: old.map(|it| it.finalizers.clone()).unwrap_or_default(),
            approved: old.map(|it| it.approved.clone()).unwrap_or_default(),
            bounds: Bounds::of(&content),
            content: text.into_boxed_str(),
            workload,
        };
        self.index.set_template(key.clone(), Some(Arc::new(template)));
    }

    /// A Deployment of one replica with labels.
    pub(super) fn apply_labelled(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.apply(name, 1, "v1");
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let labels: BTreeMap<String, String> = labels.collect();
        self.with_template(&key(name), |it| it.labels = labels);
    }

    pub(super) fn with_template(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Template)) {
        let Some(old) = self.index.templates.get(key) else { return };
        let mut template = Template { resource_version: String::new(), ..(**old).clone() };
        change(&mut template);
        let gone = template.deleting && template.finalizers.is_empty();
        self.index.set_template(key.clone(), (!gone).then(|| Arc::new(template)));
    }

    pub(super) fn delete(&mut self, text: &str) {
        self.with_template(&key(text), |it| it.deleting = true);
    }

    /// The template vanishes without waiting for its finalizer.
    pub(super) fn vanish(&mut self, text: &str) {
        self.index.set_template(key(text), None);
    }

    pub(super) fn exists(&self, text: &str) -> bool {
        self.index.templates.contains_key(&key(text))
    }

    pub(super) fn placed(&self, text: &str) -> Option<&Placed> {
        self.index.placements.get(&key(text)).map(|it| &**it)
    }

    /// Clusters of a Placement, in short: `a=2 b=2!PolicyChanged -c Placed`.
    pub(super) fn show(&self, text: &str) -> String {
        self.placed(text).map_or_else(|| "-".to_owned(), |it| show(&it.spec))
    }

    /// The notes of `why`.
    pub(super) fn notes(&self, text: &str) -> Vec<String> {
        self.why(text).notes
    }

    /// Where it stands, and where it would be, as `why` has it.
    pub(super) fn headline(&self, text: &str) -> String {
        let why = self.why(text);
        if why.pending.is_empty() {
            why.summary
        } else {
            format!("{} | {}", why.summary, why.pending)
        }
    }

    pub(super) fn why(&self, text: &str) -> federation_types::review::ExplanationStatus {
        self.why_not(text, "").unwrap()
    }

    pub(super) fn why_not(
        &self,
        text: &str,
        cluster: &str,
    ) -> Result<federation_types::review::ExplanationStatus, crate::caller::PlanError> {
        let key = key(text);
        let question = federation_types::review::ExplanationSpec {
            api_version: key.gvk.api_version(),
            kind: key.gvk.kind.to_string(),
            name: key.name.to_string(),
            namespace: key.namespace.to_string(),
            cluster: cluster.to_owned(),
        };
        crate::explain::explain(&self.index, &question)
    }

    pub(super) fn freeze(&mut self, all: bool) {
        self.freeze_as(Freeze { all, ..Freeze::default() });
    }

    pub(super) fn freeze_as(&mut self, freeze: Freeze) {
        self.index.budgets.get_mut("default").unwrap().spec.freeze = freeze;
        self.index.touch_waiting();
    }

    pub(super) fn pass_time(&mut self, seconds: i64) {
        self.now += seconds;
        self.index.touch_lost(self.now);
        self.index.touch_taints(self.now);
        self.index.touch_returning(self.now);
        self.index.touch_over_budget(self.now);
        self.index.touch_settling(self.now);
        self.index.touch_rollouts(self.now);
    }

    /// Makes passes and lets the syncer act, until both have nothing to do; returns each Placement as it was written.
    pub(crate) fn settle(&mut self) -> String {
        let mut log = String::new();
        let (mut rounds, mut last) = (0, 0);
        for round in 0.. {
            assert!(round < 50, "no fixed point:\n{log}");
            let wrote = self.decide(&mut log);
            rounds += usize::from(wrote);
            // RULES 3.2: new copies, then the removal of the old ones, then their tombstones.
            // What follows goes last, and what it takes along after it.
            let following = self.index.placements.values().filter(|it| !it.spec.follows.is_empty());
            let further = following.map(|it| 1 + usize::from(!it.spec.needs.is_empty())).max();
            last = last.max(further.unwrap_or(0));
            assert!(rounds <= 3 + last, "more than three rounds:\n{log}");
            if self.sync() || wrote {
                continue;
            }
            // What waits for room is looked at again, as others have taken of it.
            self.index.touch_waiting();
            if !self.decide(&mut log) {
                break;
            }
            rounds = 1;
        }
        // A pass over what did not change writes nothing.
        self.index.touch_everything();
        let before = log.clone();
        self.decide(&mut log);
        assert_eq!(log, before, "a second pass wrote");
        log
    }

    /// Passes only, until nothing is dirty.
    pub(super) fn decide(&mut self, log: &mut String) -> bool {
        let mut wrote = false;
        for round in 0.. {
            assert!(round < 20, "passes never end:\n{log}");
            let dirty = self.index.take_dirty();
            if dirty.is_empty() {
                break;
            }
            for key in dirty {
                let pass = decide::pass(&mut self.index, &mut self.snapshots, &key, self.now);
                self.events.extend(pass.events);
                self.deleted_revisions.extend(pass.stale_revisions.clone());
                for name in pass.stale_revisions {
                    self.index.set_revision(&key.namespace, &name, None);
                }
                if let Some(rollout) = pass.rollout {
                    self.roll_out(*rollout);
                    wrote = true;
                }
                if let Some(write) = pass.write {
                    self.write(&key, write, log);
                    wrote = true;
                }
            }
        }
        wrote
    }

    /// A strategy in the namespace `shop`.
    pub(crate) fn strategy(&mut self, name: &str, spec: Value) {
        let spec = serde_json::from_value(spec).unwrap();
        let strategy = RolloutStrategy::new(name, spec);
        self.index.set_strategy(&("shop".into(), name.into()), Some(&strategy));
    }

    fn roll_out(&mut self, write: RolloutWrite) {
        let RolloutWrite { namespace, name, standing, spec, status } = write;
        let mut rollout = match &standing {
            Some(standing) => (**standing).clone(),
            None => Rollout::new(&name, RolloutSpec::default()),
        };
        rollout.metadata.namespace = Some(namespace);
        let generation = rollout.metadata.generation.unwrap_or(0);
        if let Some(spec) = spec {
            rollout.spec = spec;
            rollout.metadata.generation = Some(generation + 1);
        } else if standing.is_none() {
            rollout.metadata.generation = Some(1);
        }
        let observed_generation = rollout.metadata.generation;
        let mut status = RolloutStatus { observed_generation, ..status };
        status.conditions.iter_mut().for_each(|it| it.observed_generation = observed_generation);
        rollout.status = Some(status);
        rollout.metadata.resource_version = Some(self.next_version());
        self.index.wrote_rollout(rollout);
    }

    pub(crate) fn rollout(&self, text: &str) -> Option<&Rollout> {
        self.index.rollout(&key(text))
    }

    /// Somebody says something to a rollout.
    pub(crate) fn tell(&mut self, text: &str, say: impl Fn(&mut RolloutSpec)) {
        let mut rollout = self.rollout(text).expect("a rollout").clone();
        say(&mut rollout.spec);
        rollout.metadata.generation = rollout.metadata.generation.map(|it| it + 1);
        rollout.metadata.resource_version = Some(self.next_version());
        let name = rollout.metadata.name.clone().unwrap();
        self.index.set_rollout("shop", &name, Some(rollout));
    }

    /// The syncer says something of every copy of a template.
    pub(crate) fn report(&mut self, key: &ObjectKey, change: impl Fn(&mut CopyStatus)) {
        let placed = Arc::clone(&self.index.placements[key]);
        let mut status = placed.status.clone();
        status.clusters.iter_mut().for_each(change);
        let next = Placed {
            name: placed.name.clone(),
            uid: String::new(),
            generation: placed.generation,
            resource_version: self.next_version(),
            spec: placed.spec.clone(),
            status,
        };
        self.index.set_placement(key.clone(), Some(next));
    }

    fn write(&mut self, key: &ObjectKey, write: Write, log: &mut String) {
        match write {
            Write::Place { spec, revision, finalizer } => {
                let standing = self.index.placements.get(key).cloned();
                self.check(key, standing.as_deref(), &spec);
                writeln!(log, "{}: {}", key.name, show(&spec)).unwrap();
                if finalizer {
                    self.with_template(key, |it| it.finalizers.push(COPIES_FINALIZER.into()));
                }
                let name = federation_types::names::placement_name(&key.gvk, &key.name);
                let version = self.next_version();
                if let Some(revision) = revision {
                    let since = Some(version.parse().unwrap());
                    self.index.set_revision(
                        &key.namespace,
                        &format!("{name}-{}", revision.hash),
                        since,
                    );
                }
                let placed = Placed {
                    name,
                    uid: String::new(),
                    generation: standing.as_ref().map_or(1, |it| it.generation + 1),
                    resource_version: version,
                    spec: *spec,
                    status: standing.map(|it| it.status.clone()).unwrap_or_default(),
                };
                self.index.wrote_placement(key, placed);
            }
            Write::Release => {
                writeln!(log, "{}: released", key.name).unwrap();
                self.with_template(key, |it| it.finalizers.clear());
            }
            Write::Forget { release, revisions } => {
                writeln!(log, "{}: forgotten", key.name).unwrap();
                for name in revisions {
                    self.index.set_revision(&key.namespace, &name, None);
                }
                self.index.set_placement(key.clone(), None);
                if release {
                    self.with_template(key, |it| it.finalizers.clear());
                }
            }
        }
    }

    /// What holds of every Placement that is written, whatever happened.
    fn check(&self, key: &ObjectKey, before: Option<&Placed>, spec: &PlacementSpec) {
        let template = self.index.templates.get(key);
        let deleting = template.is_none_or(|it| it.deleting);
        let names = |it: &PlacementSpec| -> BTreeSet<String> {
            it.clusters.iter().map(|it| it.name.clone()).collect()
        };
        let new = names(spec);
        for old in before.iter().flat_map(|it| &it.spec.clusters) {
            if new.contains(&old.name) || self.index.is_forgotten(&old.name) {
                continue;
            }
            let removed = spec.removing.iter().find(|it| it.name == old.name);
            let removed =
                removed.unwrap_or_else(|| panic!("{key}: {} lost without a word", old.name));
            assert!(!removed.cause.is_empty(), "{key}: {} goes without a cause", old.name);
        }
        let ours = |it: &&federation_types::placement::PlacedCluster| it.leaving.is_empty();
        if !deleting {
            let forgets = before.is_some_and(|it| {
                it.spec.clusters.iter().any(|old| {
                    self.index.is_forgotten(&old.name)
                        || spec
                            .removing
                            .iter()
                            .any(|it| it.name == old.name && it.cause == "ClusterLeaving")
                })
            });
            // A Job that has ended is needed nowhere.
            let forgets = forgets || template.is_some_and(|it| it.workload.job.finished);
            // Nor is what followed, once nothing needs it.
            let forgets = forgets || spec.removing.iter().any(|it| it.cause == "UserGone");
            let had = before.is_some_and(|it| !it.spec.clusters.is_empty());
            assert!(!had || !spec.clusters.is_empty() || forgets, "{key}: the last copy goes");
            let desired = template.and_then(|it| it.workload.replicas).unwrap_or(0);
            let held: i64 =
                before.iter().flat_map(|it| &it.spec.clusters).filter_map(|it| it.replicas).sum();
            let meant: i64 = spec.clusters.iter().filter(ours).filter_map(|it| it.replicas).sum();
            assert!(
                !spec.divided || meant <= desired.max(held),
                "{key}: {meant} of {desired}: {}",
                show(spec)
            );
        }
    }

    /// The syncer: copies on clusters that answer become what is asked for. Says whether a status changed.
    pub(super) fn sync(&mut self) -> bool {
        let mut changed = false;
        let keys: Vec<ObjectKey> = self.index.placements.keys().cloned().collect();
        for key in keys {
            let placed = Arc::clone(&self.index.placements[&key]);
            let is_frozen = |name: &str| {
                let mut freezes = self.index.budgets.values().map(|it| &it.spec.freeze);
                freezes.any(|it| it.holds(name, &key.namespace))
            };
            let answers = |name: &str| {
                self.index.clusters.get(name).is_some_and(|it| is_ready(it)) && !is_frozen(name)
            };
            let old =
                |name: &str| placed.status.clusters.iter().find(|it| it.name == name).cloned();
            let mut copies: Vec<CopyStatus> = Vec::new();
            for it in &placed.spec.clusters {
                let mut copy = old(&it.name).unwrap_or_default();
                copy.name.clone_from(&it.name);
                copy.stale = !answers(&it.name) && !is_frozen(&it.name);
                if is_frozen(&it.name)
                    && (&copy.revision, copy.replicas) != (&it.revision, it.replicas)
                {
                    copy.state = CopyState::Held;
                }
                if answers(&it.name) {
                    let up = !self.failing.contains(&it.name);
                    copy.state = if up { CopyState::Ready } else { CopyState::Progressing };
                    copy.replicas = it.replicas;
                    copy.ready_replicas = it.replicas.map(|it| if up { it } else { 0 });
                    copy.revision.clone_from(&it.revision);
                }
                copies.push(copy);
            }
            for it in placed.spec.removing.iter().filter(|it| !answers(&it.name)) {
                copies.push(CopyStatus {
                    state: CopyState::Removing,
                    name: it.name.clone(),
                    ..old(&it.name).unwrap_or_default()
                });
            }
            copies.sort_by(|a, b| a.name.cmp(&b.name));
            let mut status = placed.status.clone();
            status.observed_generation = Some(placed.generation);
            status.clusters = copies;
            if status == placed.status {
                continue;
            }
            changed = true;
            let next = Placed {
                name: placed.name.clone(),
                uid: String::new(),
                generation: placed.generation,
                resource_version: self.next_version(),
                spec: placed.spec.clone(),
                status,
            };
            self.index.set_placement(key, Some(next));
        }
        changed
    }
}

pub(super) fn budget(min: u32, percent: u32) -> Budget {
    let freeze = Freeze::default();
    let spec = ChangeBudgetSpec {
        window: "10m".into(),
        min_removals: min,
        removal_percent: percent,
        freeze,
    };
    Budget { spec, ..Budget::default() }
}

fn no_condition() -> Condition {
    Condition {
        kind: String::new(),
        status: String::new(),
        reason: String::new(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: String::new(),
    }
}

pub(super) fn show(spec: &PlacementSpec) -> String {
    let mut words: Vec<String> = Vec::new();
    for it in &spec.clusters {
        let replicas = it.replicas.map_or(String::new(), |it| format!("={it}"));
        let leaving =
            if it.leaving.is_empty() { String::new() } else { format!("!{}", it.leaving) };
        words.push(format!("{}{replicas}{leaving}", it.name));
    }
    for it in &spec.removing {
        let orphan = if it.on_delete == federation_types::policy::OnDelete::Orphan {
            "(orphan)"
        } else {
            ""
        };
        words.push(format!("-{}:{}{orphan}", it.name, it.cause));
    }
    words.push(format!("| {}", spec.outcome.reason));
    words.join(" ")
}
