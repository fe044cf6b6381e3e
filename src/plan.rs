//! `archipel plan`: what a change would do, before it is made.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use federation_types::{
    names::{Gvk, REVIEW_API_VERSION, short_hash},
    review::plan::{PlanSpec, PlanStatus},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    core::TypeMeta,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    hub::Hub,
    output::{self, Failure},
    policy::files,
};

pub(crate) mod sources;
pub(crate) mod text;

use sources::{Objects, reference};

/// What `--detailed-exitcode` ends with where something would change.
pub(crate) const CHANGES: i32 = 2;

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Objects as they are to be: files, or directories of them. Left out: what waits for an approval.
    #[arg(long, short = 'f', value_name = "FILE|DIR")]
    file: Vec<PathBuf>,
    /// The objects in the files are to be deleted.
    #[arg(long, requires = "file")]
    delete: bool,
    /// Keep the plan in a file, for `archipel apply`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: PlanFormat,
    /// Exit with 2 if something would change.
    #[arg(long)]
    detailed_exitcode: bool,
    /// Take over fields that another manager owns.
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    hub: Hub,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    #[default]
    Text,
    Json,
    Markdown,
}

/// A plan as it is kept in a file: the review with its answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedPlan {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) spec: PlanSpec,
    pub(crate) status: PlanStatus,
    /// Where the objects of `spec` were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<String>,
    /// Of all of it but this: a slip in an editor is noticed.
    #[serde(default)]
    digest: String,
}

impl SavedPlan {
    fn new(spec: PlanSpec, status: PlanStatus, sources: Vec<String>) -> Self {
        let (api_version, kind) = (REVIEW_API_VERSION.to_owned(), "Plan".to_owned());
        let digest = String::new();
        let mut plan = Self { api_version, kind, spec, status, sources, digest };
        plan.digest = plan.digest();
        plan
    }

    fn digest(&self) -> String {
        let text = serde_json::to_vec(&(&self.spec, &self.status, &self.sources));
        short_hash(&text.expect("names, texts and numbers can be written as JSON"))
    }

    /// Whether it is as it was kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.digest == self.digest()
    }
}

/// Why there is nothing to plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFileError {
    #[error("{place} is neither YAML nor JSON")]
    Unreadable { place: String, source: serde_norway::Error },
    #[error("{paths} holds no object")]
    Empty { paths: String },
    #[error("{place} is the same object as {first}")]
    Twice { first: String, place: String },
    #[error("{place} has no {field}")]
    Incomplete { place: String, field: &'static str },
    #[error("the hub's answer is not a {kind}")]
    Answer { kind: &'static str, source: serde_json::Error },
}

impl Plan {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Objects { values, sources } = sources::objects(&self.file)?;
        let mut spec = PlanSpec { force: self.force_conflicts, ..PlanSpec::default() };
        if self.delete {
            spec.delete = values.iter().map(reference).collect();
        } else {
            spec.objects = values;
        }
        let client = self.hub.client().await?;
        let status = ask_plan(&client, &spec, &sources).await?;
        print(self.output, &status)?;
        let changes = !status.is_empty();
        if let Some(path) = &self.out {
            save(path, spec, status, sources)?;
            output::progress(format_args!(
                "kept in {path}; next: archipel apply {path}",
                path = path.display()
            ));
        }
        if self.detailed_exitcode && changes {
            std::process::exit(CHANGES);
        }
        Ok(())
    }
}

/// Keeps a plan for `archipel apply`; `sources` say where its objects were read.
pub(crate) fn save(
    path: &Path,
    spec: PlanSpec,
    status: PlanStatus,
    sources: Vec<String>,
) -> Result<(), Failure> {
    let saved = SavedPlan::new(spec, status, sources);
    let text = serde_json::to_string_pretty(&saved)?;
    Ok(files::write(path, &format!("{text}\n"))?)
}

/// Prints a plan.
pub(crate) fn print(format: PlanFormat, status: &PlanStatus) -> Result<(), Failure> {
    match format {
        PlanFormat::Json => output::line(serde_json::to_string_pretty(status)?),
        PlanFormat::Text => output::line(text::text(status).trim_end()),
        PlanFormat::Markdown => output::line(text::markdown(status).trim_end()),
    }
    Ok(())
}

/// What the hub plans; what it refuses is said of the files that `sources` name.
pub(crate) async fn ask_plan(
    client: &Client,
    spec: &PlanSpec,
    sources: &[String],
) -> Result<PlanStatus, Failure> {
    let answer = ask(client, "Plan", "plans", spec).await;
    answer.map_err(|failure| sources::at_source(failure, sources))
}

/// Asks the hub a review.
pub(crate) async fn ask<A: DeserializeOwned>(
    client: &Client,
    kind: &'static str,
    plural: &str,
    spec: &impl Serialize,
) -> Result<A, Failure> {
    let gvk = Gvk::new(REVIEW_API_VERSION, kind);
    let resource = ApiResource::from_gvk_with_plural(&(&gvk).into(), plural);
    let types = TypeMeta { api_version: REVIEW_API_VERSION.to_owned(), kind: kind.to_owned() };
    let review = DynamicObject {
        types: Some(types),
        metadata: Default::default(),
        data: json!({ "spec": spec }),
    };
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let answer = api.create(&PostParams::default(), &review).await?;
    let status = answer.data.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).map_err(|source| PlanFileError::Answer { kind, source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_plan_that_was_edited_is_told_from_one_as_it_was_written() {
        let spec =
            PlanSpec { objects: vec![json!({"kind": "X", "b": 1, "a": 2})], ..Default::default() };
        let plan = SavedPlan::new(spec, PlanStatus::default(), vec!["web.yaml#1 X".to_owned()]);
        let text = serde_json::to_string_pretty(&plan).unwrap();
        let read = |text: &str| serde_json::from_str::<SavedPlan>(text).unwrap().is_whole();
        assert!(read(&text));
        assert!(!read(&text.replace(r#""remove": 0"#, r#""remove": 1"#)), "the answer: {text}");
        assert!(!read(&text.replace(r#""a": 2"#, r#""a": 3"#)), "what was asked");
    }
}
