//! Objects, lists and tables as bytes.

use federation_schema::columns::Column;
use federation_storage::{Entry, Revision};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    negotiate::{Include, Shape},
    registry::Kind,
    stored::{self, write},
};

/// An object that is shown: a stored version, or one that was only computed (a dry run).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// With the revision to be shown, which for a deletion is not the version's own.
    Entry(&'a Entry, Revision),
    Value(&'a Value),
}

impl Source<'_> {
    fn show(self, out: &mut Vec<u8>, kind: &Kind) {
        match self {
            Self::Entry(entry, revision) => stored::show(out, entry, kind, revision),
            Self::Value(value) => stored::show_value(out, value, kind),
        }
    }

    fn metadata(self, out: &mut Vec<u8>) {
        #[derive(Deserialize)]
        struct Partial<'a> {
            #[serde(borrow)]
            metadata: &'a RawValue,
        }
        match self {
            Self::Entry(entry, revision) => {
                out.extend_from_slice(br#"{"resourceVersion":""#);
                out.extend_from_slice(revision.to_string().as_bytes());
                out.push(b'"');
                let raw: Option<Partial<'_>> = serde_json::from_slice(&entry.value).ok();
                let fields = raw.as_ref().map_or("{}", |partial| partial.metadata.get());
                let fields = fields.trim_start().trim_start_matches('{');
                if !fields.starts_with('}') {
                    out.push(b',');
                }
                out.extend_from_slice(fields.as_bytes());
            }
            Self::Value(value) => write(out, &value["metadata"]),
        }
    }

    fn partial(self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#,
        );
        self.metadata(out);
        out.push(b'}');
    }

    fn row(self, out: &mut Vec<u8>, kind: &Kind, include: Include, now: jiff::Timestamp) {
        let decoded;
        let object = match self {
            Self::Entry(entry, revision) => {
                decoded = stored::decode(entry, kind, revision);
                &decoded
            }
            Self::Value(value) => value,
        };
        out.extend_from_slice(br#"{"cells":"#);
        write(out, &kind.printer().cells(object, now));
        match include {
            Include::None => out.extend_from_slice(br#","object":null"#),
            Include::Metadata => {
                out.extend_from_slice(br#","object":"#);
                self.partial(out);
            }
            Include::Object => {
                out.extend_from_slice(br#","object":"#);
                write(out, object);
            }
        }
        out.push(b'}');
    }
}

/// What stands in the metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub revision: u64,
    pub token: Option<String>,
    pub remaining: Option<usize>,
}

impl ListMeta {
    fn write(&self, out: &mut Vec<u8>) {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(token) = &self.token {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        write(out, &metadata);
    }
}

/// Appends one object in a shape.
pub(crate) fn one(out: &mut Vec<u8>, source: Source<'_>, kind: &Kind, shape: Shape) {
    match shape {
        Shape::Object => source.show(out, kind),
        Shape::Metadata => source.partial(out),
        Shape::Table(include) => {
            let revision = match source {
                Source::Entry(_, revision) => revision.to_string(),
                Source::Value(value) => crate::object::meta(value, "resourceVersion").to_owned(),
            };
            table_head(out, kind);
            out.extend_from_slice(br#","metadata":{"resourceVersion":"#);
            write(out, &revision);
            out.extend_from_slice(br#"},"rows":["#);
            source.row(out, kind, include, jiff::Timestamp::now());
            out.extend_from_slice(b"]}");
        }
    }
}

/// A list in a shape.
pub(crate) fn list<'a>(
    entries: impl ExactSizeIterator<Item = &'a Entry>,
    kind: &Kind,
    shape: Shape,
    meta: &ListMeta,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + entries.len() * 1024);
    match shape {
        Shape::Object => {
            out.extend_from_slice(br#"{"kind":"#);
            write(&mut out, &*kind.list_kind);
            out.extend_from_slice(br#","apiVersion":"#);
            write(&mut out, &*kind.api_version);
        }
        Shape::Metadata => out.extend_from_slice(
            br#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1""#,
        ),
        Shape::Table(_) => table_head(&mut out, kind),
    }
    out.extend_from_slice(br#","metadata":"#);
    meta.write(&mut out);
    out.extend_from_slice(match shape {
        Shape::Table(_) => br#","rows":["#.as_slice(),
        Shape::Object | Shape::Metadata => br#","items":["#.as_slice(),
    });
    let now = jiff::Timestamp::now();
    for (at, entry) in entries.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let source = Source::Entry(entry, entry.revision);
        match shape {
            Shape::Object => source.show(&mut out, kind),
            Shape::Metadata => source.partial(&mut out),
            Shape::Table(include) => source.row(&mut out, kind, include, now),
        }
    }
    out.extend_from_slice(b"]}");
    out
}

fn table_head(out: &mut Vec<u8>, kind: &Kind) {
    out.extend_from_slice(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":"#);
    let columns: Vec<Value> = kind.printer().columns().iter().map(column).collect();
    write(out, &columns);
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}
