//! What form of an answer the client takes: JSON or YAML; the object, its metadata, or a table.

use http::{HeaderMap, header};

use crate::status::ApiError;

/// What is shown of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shape {
    Object,
    /// `PartialObjectMetadata`
    Metadata,
    Table(Include),
}

/// What a table's row carries beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// The form agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub shape: Shape,
    pub encoding: Encoding,
}

impl Form {
    pub(crate) const JSON: Self = Self { shape: Shape::Object, encoding: Encoding::Json };
}

/// One clause of an `Accept` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clause<'a> {
    pub media: &'a str,
    pub kind: &'a str,
    pub group: &'a str,
    pub version: &'a str,
}

/// The clauses of the request's `Accept` headers in the order of their weights; one of anything if there is none.
pub(crate) fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let mut clauses: Vec<(u32, Clause<'_>)> = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        for clause in text.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let mut parsed =
                Clause { media: parts.next().unwrap_or_default(), ..Clause::default() };
            let mut weight = 1000;
            for part in parts {
                match part.split_once('=') {
                    Some(("as", kind)) => parsed.kind = kind,
                    Some(("g", group)) => parsed.group = group,
                    Some(("v", version)) => parsed.version = version,
                    Some(("q", q)) => weight = thousandths(q),
                    _ => {}
                }
            }
            if !parsed.media.is_empty() && weight > 0 {
                clauses.push((weight, parsed));
            }
        }
    }
    clauses.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    if clauses.is_empty() {
        return vec![Clause { media: "*/*", ..Clause::default() }];
    }
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

/// `0.85` as 850; what is no weight counts as 1.
fn thousandths(q: &str) -> u32 {
    let (whole, part) = q.split_once('.').unwrap_or((q, ""));
    let digits: String = part.chars().chain("000".chars()).take(3).collect();
    match (whole.parse::<u32>(), digits.parse::<u32>()) {
        (Ok(whole), Ok(part)) => (whole * 1000 + part).min(1000),
        _ => 1000,
    }
}

/// The form for objects of a kind that has metadata.
pub(crate) fn form(
    headers: &HeaderMap,
    include: Option<&str>,
    streaming: bool,
) -> Result<Form, ApiError> {
    let include = match include {
        None | Some("Metadata") => Include::Metadata,
        Some("None") => Include::None,
        Some("Object") => Include::Object,
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            )));
        }
    };
    let clauses = clauses(headers);
    for clause in &clauses {
        let Some(encoding) = encoding(clause.media).filter(|e| !streaming || *e == Encoding::Json)
        else {
            continue;
        };
        let shape = match (clause.kind, clause.group, clause.version) {
            ("", ..) => Shape::Object,
            ("Table", "meta.k8s.io", "v1" | "v1beta1") => Shape::Table(include),
            (
                "PartialObjectMetadata" | "PartialObjectMetadataList",
                "meta.k8s.io",
                "v1" | "v1beta1",
            ) => Shape::Metadata,
            _ => continue,
        };
        return Ok(Form { shape, encoding });
    }
    Err(not_acceptable(streaming))
}

/// The form for what is no object with metadata: reviews, `Status`, options.
pub(crate) fn plain(headers: &HeaderMap) -> Result<Form, ApiError> {
    let encoding = clauses(headers)
        .iter()
        .filter(|clause| clause.kind.is_empty())
        .find_map(|clause| encoding(clause.media));
    encoding
        .map(|encoding| Form { shape: Shape::Object, encoding })
        .ok_or_else(|| not_acceptable(false))
}

fn encoding(media: &str) -> Option<Encoding> {
    match media {
        "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        _ => None,
    }
}

fn not_acceptable(streaming: bool) -> ApiError {
    ApiError::not_acceptable(if streaming {
        "application/json;stream=watch"
    } else {
        "application/json, application/yaml"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Result<Form, u16> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        form(&headers, None, false).map_err(|error| error.code().as_u16())
    }

    #[test]
    fn the_first_form_that_can_be_had_is_taken() {
        let table = Shape::Table(Include::Metadata);
        for (accept, want) in [
            ("", Ok((Shape::Object, Encoding::Json))),
            ("*/*", Ok((Shape::Object, Encoding::Json))),
            ("application/vnd.kubernetes.protobuf, */*", Ok((Shape::Object, Encoding::Json))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Ok((table, Encoding::Json)),
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
                Ok((Shape::Object, Encoding::Json)),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
                Ok((Shape::Metadata, Encoding::Json)),
            ),
            ("application/json;q=0.5,application/yaml", Ok((Shape::Object, Encoding::Yaml))),
            ("application/vnd.kubernetes.protobuf", Err(406)),
            ("text/html", Err(406)),
        ] {
            let want = want.map(|(shape, encoding)| Form { shape, encoding });
            assert_eq!(of(accept), want, "{accept}");
        }
    }
}
