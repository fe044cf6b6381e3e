//! `GET` of a collection: all of it or page by page, of the newest state or of an earlier one.

use std::{ops::Bound, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use federation_storage::{At, Entry, ReadError, Revision};
use http::Response;
use serde::{Deserialize, Serialize};

use super::{Context, revision};
use crate::{
    body::ResponseBody,
    fields::Selection,
    respond,
    status::{self, ApiError, Cause},
    view::{self, ListMeta},
};

/// Where a list goes on: opaque to clients, but of upstream's form.
#[derive(Debug, Deserialize, Serialize)]
struct Token {
    v: String,
    /// -1: at the newest revision, for a list that cannot go on consistently.
    rv: i64,
    /// Relative to the collection's prefix.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Token {
    fn new(rv: i64, start: &str) -> Self {
        Self { v: TOKEN_VERSION.to_owned(), rv, start: start.to_owned() }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token serialises"))
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let refused = || ApiError::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| refused())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| refused())?;
        let climbs = token.start.split('/').any(|part| part == ".." || part == ".");
        if token.v != TOKEN_VERSION
            || token.rv < -1
            || token.rv == 0
            || token.start.is_empty()
            || climbs
        {
            return Err(refused());
        }
        Ok(token)
    }
}

/// What a list asks for.
#[derive(Debug)]
struct Wanted {
    limit: usize,
    at: At,
    token: Option<Token>,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub entries: Vec<Arc<Entry>>,
    pub meta: ListMeta,
}

pub(super) async fn list(context: &Context<'_>) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form()?;
    let query = &context.info.query;
    let selection =
        Selection::parse(&context.kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let wanted = wanted(context)?;
    let page = page(context, &selection, wanted).await?;
    let entries = page.entries.iter().map(|entry| &**entry);
    let body = view::list(entries, &context.kind, form.shape, &page.meta);
    Ok(respond::encoded(status::OK, form, body))
}

/// All objects that the request's selectors select, as of now.
pub(super) async fn selected(context: &Context<'_>) -> Result<Page, ApiError> {
    let query = &context.info.query;
    let selection =
        Selection::parse(&context.kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    page(context, &selection, Wanted { limit: 0, at: At::Latest, token: None }).await
}

fn wanted(context: &Context<'_>) -> Result<Wanted, ApiError> {
    let query = &context.info.query;
    let limit = query.number("limit")?.unwrap_or(0);
    let limit =
        usize::try_from(limit).map_err(|_| ApiError::bad_request("limit must not be negative"))?;
    let token = query.get("continue").map(Token::decode).transpose()?;
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    let mut causes = Vec::new();
    let mut forbid =
        |field: &str, why: &str| causes.push(Cause::field(field, format!("Forbidden: {why}")));
    if query.optional_flag("sendInitialEvents").is_some() {
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    match (matching, version, &token) {
        (Some(_), None, _) => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (Some(_), _, Some(_)) => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        (Some("Exact"), Some("0"), _) => forbid(
            "resourceVersionMatch",
            "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
        ),
        (Some("Exact" | "NotOlderThan") | None, ..) => {}
        (Some(other), ..) => causes.push(Cause::field(
            "resourceVersionMatch",
            format!(
                "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            ),
        )),
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", causes));
    }
    let at = match (&token, version, matching) {
        (Some(_), Some(version), _) if version != "0" => {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        (Some(Token { rv: -1, .. }), ..) | (None, None, _) => At::Latest,
        (Some(token), ..) => At::Exactly(Revision(token.rv.unsigned_abs())),
        // Any state will do, and the newest is at hand.
        (None, Some("0"), _) => return Ok(Wanted { limit: 0, at: At::Latest, token }),
        (None, Some(version), Some("Exact")) => At::Exactly(revision(version)?),
        (None, Some(version), None) if limit > 0 => At::Exactly(revision(version)?),
        (None, Some(version), _) => At::NotBefore(revision(version)?),
    };
    Ok(Wanted { limit, at, token })
}

async fn page(
    context: &Context<'_>,
    selection: &Selection,
    wanted: Wanted,
) -> Result<Page, ApiError> {
    let Wanted { limit, mut at, token } = wanted;
    let kind = &context.kind;
    let namespace =
        context.namespace().or_else(|| selection.namespace().filter(|_| kind.namespaced));
    let prefix = kind.range(namespace);
    // One name in one namespace is one key.
    let single = selection.name().filter(|_| namespace.is_some() || !kind.namespaced);
    let (range, limit) = match single {
        Some(name) => (kind.key(namespace, name).to_string(), 0),
        None => (prefix.clone(), limit),
    };
    // Where much is passed over, larger steps.
    let step = if limit > 0 && !selection.is_empty() { limit.max(500) } else { limit };
    let mut start = token.as_ref().map(|token| format!("{prefix}{}", token.start));
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    loop {
        let from = start.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let read = context.server.store.list(&range, from, step, at).await;
        let listing = read.map_err(|error| expired(error, token.as_ref(), context))?;
        // The pages of one list are all of one revision.
        at = At::Exactly(listing.revision);
        let last = listing.entries.last().map(|entry| Arc::clone(&entry.key));
        let mut remaining = listing.remaining;
        let mut next = last;
        for (seen, entry) in listing.entries.iter().enumerate() {
            if selection.is_empty() || selection.matches(entry, kind) {
                entries.push(Arc::clone(entry));
                if limit > 0 && entries.len() == limit {
                    next = Some(Arc::clone(&entry.key));
                    remaining += listing.entries.len() - seen - 1;
                    break;
                }
            }
        }
        let full = limit > 0 && entries.len() >= limit;
        if let (true, Some(next)) = (remaining > 0, next) {
            let after = format!("{next}\0");
            if !full {
                start = Some(after);
                continue;
            }
            let relative = after.strip_prefix(&prefix).unwrap_or(&after);
            let rv = i64::try_from(listing.revision.0).unwrap_or(i64::MAX);
            let meta = ListMeta {
                revision: listing.revision.0,
                token: Some(Token::new(rv, relative).encode()),
                remaining: selection.is_empty().then_some(remaining),
            };
            return Ok(Page { entries, meta });
        }
        // What the server brings along is on the last page.
        let embedded = crate::crd::embedded(context).into_iter();
        entries.extend(embedded.filter(|entry| selection.matches(entry, kind)));
        let meta = ListMeta { revision: listing.revision.0, ..ListMeta::default() };
        return Ok(Page { entries, meta });
    }
}

/// A token whose revision is compacted is answered with one that goes on at the newest.
fn expired(error: ReadError, token: Option<&Token>, context: &Context<'_>) -> ApiError {
    match (error, token) {
        (ReadError::Compacted { .. }, Some(token)) => ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. \
             Start a new list, or go on with the token in this answer, which shows the rest as it is now.",
            Some(Token::new(-1, &token.start).encode()),
        ),
        (ReadError::Compacted { wanted, .. }, None) => ApiError::expired(
            format!("The resourceVersion for the provided list is too old: {wanted}"),
            None,
        )
        .about(&context.kind.group, &context.kind.plural, ""),
        (error, _) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_a_forged_one_does_not() {
        let token = Token::decode(&Token::new(7, "a/b\0").encode()).unwrap();
        assert_eq!((token.rv, token.start.as_str()), (7, "a/b\0"));
        for (rv, start) in [(7, "../secrets/x\0"), (0, "a\0"), (-2, "a\0"), (7, "")] {
            let forged = Token::new(rv, start).encode();
            assert_eq!(Token::decode(&forged).unwrap_err().code().as_u16(), 400, "{rv} {start}");
        }
        assert!(Token::decode("%%").is_err());
    }
}
