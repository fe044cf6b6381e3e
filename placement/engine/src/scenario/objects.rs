//! Scenarios made of objects as the hub stores them: members with their status, sets, price books, policies, templates and
//! the Placements that they have, in one text of several documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{ClusterSet, ClusterSetSpec, MemberCluster},
    names::{API_VERSION, Gvk, ObjectKey, placement_name},
    overrides::{ClusterOverridePolicy, OverridePolicy},
    placement::{
        ClusterPlacement, ClusterPlacementSpec, Decision, Outcome, PlacedCluster, Placement,
        PlacementSpec, PlacementStatus, TemplateRef,
    },
    policy::{ClusterPlacementPolicy, PlacementPolicy},
    price::PriceBook,
    reason::placed,
    shape,
    status_rule::{StatusRule, StatusRuleSpec},
    validate::Problem,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use status_rules::Rules;

use super::{
    Deciding, Flaw, Given, Scenario, line, misnamed, refused, standing_problems, template, text,
};
use crate::{
    claim::{Claim, Facts, Override, Policy, claim, never},
    fleet::{ClusterInput, Fleet, SetInput},
    place::{self, Previous, place},
    plan::PolicySince,
    room::Room,
};

/// One object of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub value: Value,
    /// In which document of the text it is, counted from 0, and where in it: `items[2]`; empty where it is the document.
    pub at: usize,
    pub path: String,
}

impl Document {
    /// What is said of a field of it.
    pub fn flaw(&self, text: &str, problem: Problem) -> Flaw {
        let path = match (self.path.as_str(), problem.field.as_str()) {
            ("", field) => field.to_owned(),
            (path, "") => path.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
        Flaw { line: line(text, self.at, &path), field: problem.field, message: problem.message }
    }

    /// `PlacementPolicy shop/web`
    pub fn title(&self) -> String {
        key(&self.value).to_string()
    }

    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }
}

/// The objects of a text; those of a list are taken out of it.
pub fn documents(text: &str) -> Result<Vec<Document>, Flaw> {
    let mut found = Vec::new();
    for (at, reader) in serde_norway::Deserializer::from_str(text).enumerate() {
        match Value::deserialize(reader)? {
            Value::Null => (),
            Value::Object(mut list)
                if list
                    .get("kind")
                    .and_then(Value::as_str)
                    .is_some_and(|it| it.ends_with("List")) =>
            {
                let items = list.remove("items").and_then(|it| match it {
                    Value::Array(items) => Some(items),
                    _ => None,
                });
                for (n, value) in items.unwrap_or_default().into_iter().enumerate() {
                    found.push(Document { value, at, path: format!("items[{n}]") });
                }
            }
            value => found.push(Document { value, at, path: String::new() }),
        }
    }
    Ok(found)
}

/// Kinds of Kubernetes that are in no namespace.
const CLUSTER_SCOPED: &[&str] = &[
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];

fn key(object: &Value) -> ObjectKey {
    let text = |pointer: &str| {
        object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    ObjectKey {
        gvk: Gvk::new(&text("/apiVersion"), &text("/kind")),
        namespace: text("/metadata/namespace").into(),
        name: text("/metadata/name").into(),
    }
}

/// The object as the hub would hold it: in a namespace if its kind is in one, and ours in our group.
fn at_home(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let ours = shape::of_kind(&kind).is_some();
    let Some(fields) = object.as_object_mut() else { return };
    if ours && !fields.contains_key("apiVersion") {
        fields.insert("apiVersion".to_owned(), json!(API_VERSION));
    }
    let scoped = match ours {
        true => {
            let kinds = ["PlacementPolicy", "OverridePolicy", "Placement", "Revision"];
            kinds.contains(&kind.as_str()) || kind.starts_with("Rollout")
        }
        false => !CLUSTER_SCOPED.contains(&kind.as_str()),
    };
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut)
        && scoped
    {
        metadata.entry("namespace").or_insert_with(|| json!("default"));
    }
}

/// What was decided for one template.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub key: ObjectKey,
    /// The `Placement` or `ClusterPlacement`, without the revisions, as the hub would write it; none for what is not claimed.
    pub placement: Option<Value>,
    /// What there is to say beside it.
    pub note: String,
}

impl Scenario {
    /// Reads objects; `as_of` is the day, against which ages of prices count.
    ///
    /// A member that does not say whether it is accepted is: who hands it in means it to be placed on. The set `all`,
    /// which every hub has, is there unless the text has one.
    pub fn of_objects(text: &str, as_of: &str) -> Result<Self, Vec<Flaw>> {
        let documents = documents(text).map_err(|it| vec![it])?;
        Self::of_documents(text, documents, as_of)
    }

    /// The same of objects that were read already.
    pub(crate) fn of_values(objects: Vec<Value>, as_of: &str) -> Result<Self, Vec<Flaw>> {
        let document = |value| Document { value, at: 0, path: String::new() };
        Self::of_documents("", objects.into_iter().map(document).collect(), as_of)
    }

    fn of_documents(
        text: &str,
        mut documents: Vec<Document>,
        as_of: &str,
    ) -> Result<Self, Vec<Flaw>> {
        let mut reader = Reader { text, flaws: Vec::new() };
        let mut scenario = Self {
            as_of: as_of.to_owned(),
            clusters: Vec::new(),
            sets: Vec::new(),
            books: Vec::new(),
            deciding: Deciding::Claims(Vec::new()),
            since: PolicySince::Same,
            workloads: Vec::new(),
            overrides: Vec::new(),
            rules: Rules::default(),
            figures: false,
        };
        let (mut policies, mut templates) = (Vec::new(), Vec::new());
        let mut specs: BTreeMap<String, (usize, StatusRuleSpec)> = BTreeMap::new();
        let mut members = BTreeSet::new();
        let mut placements: BTreeMap<(String, String), Previous> = BTreeMap::new();
        for (at, it) in documents.iter_mut().enumerate() {
            at_home(&mut it.value);
            if !reader.is_sound(it) {
                continue;
            }
            let name = &it.value["metadata"]["name"];
            if it.kind() == "MemberCluster" && !members.insert(name.to_string()) {
                let message = format!("Duplicate value: {name}");
                let problem = Problem { field: "metadata.name".to_owned(), message };
                reader.flaws.push(it.flaw(text, problem));
                continue;
            }
            match it.kind() {
                "MemberCluster" => {
                    if it.value["spec"].get("accepted").is_none() {
                        it.value["spec"]["accepted"] = json!(true);
                    }
                    scenario.clusters.extend(
                        reader.read::<MemberCluster>(it).as_ref().map(ClusterInput::from_member),
                    );
                }
                "ClusterSet" => {
                    let set = |set: ClusterSet| SetInput {
                        name: set.metadata.name.unwrap_or_default(),
                        spec: set.spec,
                    };
                    scenario.sets.extend(reader.read(it).map(set));
                }
                "PriceBook" => {
                    let book = |it: PriceBook| (it.metadata.name.unwrap_or_default(), it.spec);
                    scenario.books.extend(reader.read(it).map(book));
                }
                "PlacementPolicy" => {
                    policies.extend(reader.read::<PlacementPolicy>(it).as_ref().map(Policy::from));
                }
                "ClusterPlacementPolicy" => {
                    policies.extend(
                        reader.read::<ClusterPlacementPolicy>(it).as_ref().map(Policy::from),
                    );
                }
                "OverridePolicy" => {
                    scenario.overrides.extend(reader.read::<OverridePolicy>(it).map(|it| {
                        let (namespace, name) = (
                            it.metadata.namespace.unwrap_or_default(),
                            it.metadata.name.unwrap_or_default(),
                        );
                        Arc::new(Override { namespace, name, generation: 0, spec: it.spec })
                    }));
                }
                "ClusterOverridePolicy" => {
                    scenario.overrides.extend(reader.read::<ClusterOverridePolicy>(it).map(|it| {
                        let name = it.metadata.name.unwrap_or_default();
                        Arc::new(Override {
                            namespace: String::new(),
                            name,
                            generation: 0,
                            spec: it.spec.overrides,
                        })
                    }));
                }
                "StatusRule" => {
                    if let Some(rule) = reader.read::<StatusRule>(it) {
                        let name = rule.metadata.name.unwrap_or_default();
                        specs.insert(name, (at, rule.spec));
                    }
                }
                "Placement" => {
                    if let Some(placed) = reader.read::<Placement>(it) {
                        let id = (
                            placed.metadata.namespace.unwrap_or_default(),
                            placed.metadata.name.unwrap_or_default(),
                        );
                        placements.insert(id, Previous::from(&placed.spec));
                    }
                }
                "ClusterPlacement" => {
                    if let Some(placed) = reader.read::<ClusterPlacement>(it) {
                        let id = (String::new(), placed.metadata.name.unwrap_or_default());
                        placements.insert(id, Previous::from(&placed.spec.placement));
                    }
                }
                _ if shape::is_ours(&it.value) => (),
                _ => {
                    for problem in template::problems(&it.value, "") {
                        let field = problem.field.trim_start_matches('.').to_owned();
                        let problem = Problem { field, ..problem };
                        reader.flaws.push(it.flaw(text, problem));
                    }
                    templates.push(it.value.clone());
                }
            }
        }
        let given = specs.iter().map(|(name, (_, spec))| (name.as_str(), spec));
        let (rules, standings) = Rules::new(given);
        for (name, standing) in &standings {
            let document = &documents[specs[name].0];
            let problems = standing_problems(standing, "spec");
            reader.flaws.extend(problems.into_iter().map(|it| document.flaw(text, it)));
        }
        if !reader.flaws.is_empty() {
            return Err(reader.flaws);
        }
        scenario.rules = rules;
        for template in templates {
            let key = key(&template);
            let previous = placements
                .remove(&(key.namespace.to_string(), placement_name(&key.gvk, &key.name)));
            let given = Given::new(template, previous.unwrap_or_default(), &scenario.rules);
            scenario.workloads.push(given);
        }
        if !scenario.sets.iter().any(|it| it.name == "all") {
            let spec =
                ClusterSetSpec { namespaces: vec!["*".to_owned()], ..ClusterSetSpec::default() };
            scenario.sets.push(SetInput { name: "all".to_owned(), spec });
        }
        scenario.deciding = Deciding::Claims(policies.into_iter().map(Arc::new).collect());
        Ok(scenario)
    }

    /// Decides for every template in turn.
    pub fn answers(&self) -> Vec<Answer> {
        let fleet = self.fleet();
        let mut room = Room::new(&fleet);
        self.workloads.iter().map(|it| self.answer(&fleet, &mut room, it)).collect()
    }

    fn answer(&self, fleet: &Fleet, room: &mut Room, given: &Given) -> Answer {
        let key = given.workload.key.clone();
        let facts =
            Facts { key: &key, labels: &given.workload.labels, secret_type: &given.secret_type };
        let unplaced = |note: String| Answer { key: key.clone(), placement: None, note };
        if let Some(why) = never(&facts) {
            return unplaced(format!("{key} is never a template: {why}"));
        }
        let Deciding::Claims(policies) = &self.deciding else { return unplaced(String::new()) };
        let claim = claim(&facts, policies);
        let Some(winner) = &claim.winner else {
            return unplaced(format!(
                "{key} is claimed by no placement policy: it stays on the hub"
            ));
        };
        let mut spec = PlacementSpec {
            template: TemplateRef {
                api_version: given.template["apiVersion"].as_str().unwrap_or_default().to_owned(),
                kind: key.gvk.kind.to_string(),
                name: key.name.to_string(),
                uid: given
                    .template
                    .pointer("/metadata/uid")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                generation: given
                    .template
                    .pointer("/metadata/generation")
                    .and_then(Value::as_i64)
                    .unwrap_or(1),
            },
            policy_ref: Some(winner.reference()),
            sync: winner.spec.sync.clone(),
            ..PlacementSpec::default()
        };
        match problems_or_policy(&claim, winner) {
            Ok(policy) => {
                let decision = place(fleet, room, &given.workload, &policy, &given.previous);
                spec.affinity =
                    decision.affinity.map_or("", |it| policy.affinity_name(it)).to_owned();
                spec.divided = decision.divided;
                spec.outcome = outcome(&decision);
                spec.clusters = decision
                    .clusters
                    .iter()
                    .map(|it| PlacedCluster {
                        name: fleet.name(it.cluster).to_owned(),
                        replicas: it.replicas,
                        ..PlacedCluster::default()
                    })
                    .collect();
                let absent = decision.absent.iter().map(|it| PlacedCluster {
                    name: it.name.clone(),
                    replicas: it.replicas,
                    ..PlacedCluster::default()
                });
                spec.clusters.extend(absent);
                spec.clusters.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Err(problems) => {
                let texts: Vec<String> =
                    problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
                spec.outcome = Outcome {
                    status: "False".to_owned(),
                    reason: placed::INVALID.to_owned(),
                    message: texts.join("; "),
                };
            }
        }
        let note = if spec.outcome.status == "True" {
            String::new()
        } else {
            format!("{key}: {}", spec.outcome.message)
        };
        Answer { placement: Some(object(&key, spec)), key, note }
    }
}

fn problems_or_policy(
    claim: &Claim,
    winner: &Policy,
) -> Result<crate::policy::CompiledPolicy, Vec<Problem>> {
    let problems = refused(winner);
    if !problems.is_empty() {
        return Err(problems);
    }
    claim.compile().expect("a claim with a winner")
}

fn outcome(decision: &place::Decision) -> Outcome {
    let status = match decision.outcome {
        place::Outcome::Placed => "True",
        place::Outcome::Suspended => "Unknown",
        _ => "False",
    };
    Outcome {
        status: status.to_owned(),
        reason: decision.outcome.reason().to_owned(),
        message: decision.outcome.to_string(),
    }
}

fn object(key: &ObjectKey, spec: PlacementSpec) -> Value {
    let name = placement_name(&key.gvk, &key.name);
    let decisions = spec
        .clusters
        .iter()
        .map(|it| Decision { cluster_name: it.name.clone(), ..Decision::default() });
    let status = PlacementStatus { decisions: decisions.collect(), ..PlacementStatus::default() };
    let object = if key.namespace.is_empty() {
        let mut it = ClusterPlacement::new(&name, ClusterPlacementSpec { placement: spec });
        it.status = Some(status);
        serde_json::to_value(it)
    } else {
        let mut it = Placement::new(&name, spec);
        it.metadata.namespace = Some(key.namespace.to_string());
        it.status = Some(status);
        serde_json::to_value(it)
    };
    object.expect("a Placement is plain data")
}

struct Reader<'a> {
    text: &'a str,
    flaws: Vec<Flaw>,
}

impl Reader<'_> {
    /// Whether the object says what it is and has the shape of its kind.
    fn is_sound(&mut self, document: &Document) -> bool {
        let before = self.flaws.len();
        let mut problems = Vec::new();
        for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
            let found = document.value.pointer(pointer).and_then(Value::as_str);
            if found.is_none_or(str::is_empty) {
                let field = pointer.trim_start_matches('/').replace('/', ".");
                problems.push(Problem { field, message: "Required value".to_owned() });
            }
        }
        if problems.is_empty() {
            problems.extend(misnamed(&document.value));
        }
        if let Some(schema) =
            shape::of_kind(document.kind()).filter(|_| shape::is_ours(&document.value))
        {
            shape::check(
                &schema["properties"]["spec"],
                &document.value["spec"],
                "spec",
                &mut problems,
            );
        }
        if document.kind() == "MemberCluster" {
            let provider = &document.value["spec"]["provider"];
            problems.extend(text::provider("spec.provider", provider));
        }
        self.flaws.extend(problems.into_iter().map(|it| document.flaw(self.text, it)));
        self.flaws.len() == before
    }

    fn read<T: DeserializeOwned>(&mut self, document: &Document) -> Option<T> {
        match serde_json::from_value(document.value.clone()) {
            Ok(it) => Some(it),
            Err(error) => {
                let problem = Problem { field: String::new(), message: error.to_string() };
                self.flaws.push(document.flaw(self.text, problem));
                None
            }
        }
    }
}
