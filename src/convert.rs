//! `archipel convert`: Karmada's policies as ours on standard output, what is lost or changed on standard error.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use federation_types::yaml;
use placement_convert::{Change, Note, convert};
use serde_json::{Value, json};

use crate::{
    output::{self, Failure},
    policy::files,
};

#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// A file of Karmada's policies, or a directory of them (`*.yaml`, `*.yml`, `*.json`); may be repeated.
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: ConvertFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ConvertFormat {
    #[default]
    Yaml,
    /// One object: `objects`, and the `report` on what became of fields.
    Json,
}

/// Something is lost or changed: not a failure, and not success.
const LOSSES: i32 = 2;

#[derive(Debug, thiserror::Error)]
enum ConvertError {
    #[error("`{path}`: document {document} cannot be read")]
    Unreadable { path: PathBuf, document: usize, source: serde_norway::Error },
    #[error("there is no policy of Karmada in what was given")]
    Nothing,
}

impl Convert {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (mut objects, mut notes) = (Vec::new(), Vec::new());
        let (mut found, mut skipped) = (0, 0);
        for file in files::read(&self.files, &[".yaml", ".yml", ".json"])? {
            for (at, document) in serde_norway::Deserializer::from_str(&file.text).enumerate() {
                let unreadable = |source| ConvertError::Unreadable {
                    path: file.path.clone(),
                    document: at + 1,
                    source,
                };
                let value: Value = serde::Deserialize::deserialize(document).map_err(unreadable)?;
                for it in items(value) {
                    match convert(&it) {
                        Some(converted) => {
                            found += 1;
                            notes.extend(converted.notes.clone());
                            let own = converted.objects.into_iter();
                            objects.extend(own.map(|it| (it, converted.notes.clone())));
                        }
                        None => skipped += 1,
                    }
                }
            }
        }
        if found == 0 {
            return Err(ConvertError::Nothing.into());
        }
        for it in &notes {
            output::progress(line(it));
        }
        if skipped > 0 {
            let left = match skipped {
                1 => "1 object is no policy of Karmada and is left as it is".to_owned(),
                n => format!("{n} objects are no policies of Karmada and are left as they are"),
            };
            output::progress(left);
        }
        match self.output {
            ConvertFormat::Yaml => {
                for (object, notes) in &objects {
                    let comments: String =
                        notes.iter().map(|it| format!("# {}\n", line(it))).collect();
                    let text = yaml::to_string(object)?;
                    output::line(format_args!("---\n{comments}{}", text.trim_end()));
                }
            }
            ConvertFormat::Json => {
                let objects: Vec<&Value> = objects.iter().map(|it| &it.0).collect();
                let whole = json!({ "objects": objects, "report": notes });
                output::line(serde_json::to_string_pretty(&whole)?);
            }
        }
        if notes.iter().any(|it| it.change != Change::Same) {
            std::process::exit(LOSSES);
        }
        Ok(())
    }
}

/// The objects of a document: those of a list one by one, none of an empty one.
fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Object(mut map) if map.get("items").is_some_and(Value::is_array) => {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

fn line(note: &Note) -> String {
    let word = match note.change {
        Change::Same => "same",
        Change::Changed => "changed",
        Change::Dropped => "dropped",
    };
    let path = if note.path.is_empty() { "the object" } else { &note.path };
    format!("{}: {word}: {path}: {}", note.object, note.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        assert_eq!(items(Value::Null).len(), 0);
        assert_eq!(items(json!({"kind": "List", "items": [1, 2]})).len(), 2);
        assert_eq!(items(json!({"kind": "X"})).len(), 1);
    }

    #[test]
    fn a_note_is_one_line() {
        let note = Note {
            object: "PropagationPolicy shop/web".into(),
            path: "spec.schedulerName".into(),
            change: Change::Dropped,
            why: "there is one engine".into(),
        };
        let text = "PropagationPolicy shop/web: dropped: spec.schedulerName: there is one engine";
        assert_eq!(line(&note), text);
    }
}
