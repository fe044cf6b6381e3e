//! `/healthz`, `/livez` and `/readyz`: named checks that are asked when somebody asks.

use std::{sync::Arc, time::Duration};

use federation_storage::Store;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::RwLock;

use crate::{app::PathHandler, body::ResponseBody, identity::Identity, status::ApiError};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of a server.
pub struct Health {
    live: RwLock<Vec<(String, Check)>>,
    /// Asked by `/readyz` beside those of `live`.
    ready: RwLock<Vec<(String, Check)>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |checks: &[(String, Check)]| -> Vec<String> {
            checks.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("Health")
            .field("live", &names(&self.live.read()))
            .field("ready", &names(&self.ready.read()))
            .finish()
    }
}

impl Health {
    /// `ping` and `log`, which are there when an answer is, and `store`: whether it can be read. `/readyz` asks `storage`
    /// too: whether it takes writes. A hub that only reads is alive, since a restart would mend no disk.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let health = Self { live: RwLock::default(), ready: RwLock::default() };
        for name in ["ping", "log"] {
            push(&health.live, name, || std::future::ready(Ok(())).boxed());
        }
        let (read, written) = (Arc::clone(&store), store);
        push(&health.live, "store", move || {
            let store = Arc::clone(&read);
            async move {
                match store.get("/health").await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
            .boxed()
        });
        push(&health.ready, "storage", move || {
            let store = Arc::clone(&written);
            async move { store.writable().await.map_err(|error| error.to_string()) }.boxed()
        });
        Arc::new(health)
    }

    /// Adds a check that `/readyz` asks.
    pub fn add_ready(
        &self,
        name: &str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        push(&self.ready, name, check);
    }

    /// Whether `/readyz` would answer 200.
    pub async fn is_ready(&self) -> bool {
        run(self.checks("readyz")).await.iter().all(|(_, result)| result.is_ok())
    }

    fn checks(&self, endpoint: &str) -> Vec<(String, Check)> {
        let mut checks = self.live.read().clone();
        if endpoint == "readyz" {
            checks.extend(self.ready.read().iter().cloned());
        }
        checks
    }

    async fn ask(
        &self,
        endpoint: &str,
        only: Option<&str>,
        query: &str,
    ) -> Result<(StatusCode, String), ApiError> {
        let parameters: Vec<(&str, &str)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        let excluded: Vec<&str> = parameters
            .iter()
            .filter(|(name, _)| *name == "exclude")
            .map(|&(_, value)| value)
            .collect();
        let verbose = parameters.iter().any(|(name, _)| *name == "verbose");
        let mut checks = self.checks(endpoint);
        if let Some(only) = only {
            checks.retain(|(name, _)| name == only);
            if checks.is_empty() {
                return Err(ApiError::path_not_found());
            }
        }
        let unmatched: Vec<String> = excluded
            .iter()
            .filter(|excluded| checks.iter().all(|(name, _)| name != *excluded))
            .map(|name| format!("{name:?}"))
            .collect();
        let (asked, skipped): (Vec<_>, Vec<_>) =
            checks.into_iter().partition(|(name, _)| !excluded.contains(&name.as_str()));
        let results = run(asked).await;
        let failed = results.iter().any(|(_, result)| result.is_err());
        if !failed && !verbose {
            return Ok((StatusCode::OK, "ok".to_owned()));
        }
        let mut text = String::new();
        for (name, result) in &results {
            match result {
                Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
                Err(reason) => {
                    tracing::warn!(check = name, reason, "a health check failed");
                    // Who asks may be anybody.
                    text.push_str(&format!("[-]{name} failed: reason withheld\n"));
                }
            }
        }
        for (name, _) in &skipped {
            text.push_str(&format!("[+]{name} excluded: ok\n"));
        }
        if !unmatched.is_empty() {
            text.push_str(&format!("warn: no check is called {}\n", unmatched.join(", ")));
        }
        if failed {
            text.push_str(&format!("{endpoint} check failed\n"));
            Ok((StatusCode::INTERNAL_SERVER_ERROR, text))
        } else {
            text.push_str(&format!("{endpoint} check passed\n"));
            Ok((StatusCode::OK, text))
        }
    }
}

fn push(
    list: &RwLock<Vec<(String, Check)>>,
    name: &str,
    check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
) {
    list.write().push((name.to_owned(), Arc::new(check)));
}

async fn run(checks: Vec<(String, Check)>) -> Vec<(String, Result<(), String>)> {
    join_all(checks.into_iter().map(|(name, check)| async move {
        let result = tokio::time::timeout(PATIENCE, check()).await;
        (name, result.unwrap_or_else(|_| Err("no answer in time".to_owned())))
    }))
    .await
}

/// Serves [`Health`].
#[derive(Clone, Debug)]
pub struct HealthPaths(pub Arc<Health>);

impl PathHandler for HealthPaths {
    fn matches(&self, path: &str) -> bool {
        let first = path.trim_start_matches('/').split('/').next();
        matches!(first, Some("healthz" | "livez" | "readyz"))
    }

    fn answer<'a>(
        &'a self,
        _: &'a Identity,
        request: &'a http::request::Parts,
    ) -> BoxFuture<'a, Response<ResponseBody>> {
        async move {
            let path = request.uri.path().trim_matches('/');
            let (endpoint, only) = match path.split_once('/') {
                Some((endpoint, only)) => (endpoint, Some(only)),
                None => (path, None),
            };
            match self.0.ask(endpoint, only, request.uri.query().unwrap_or_default()).await {
                Ok((code, text)) => plain(code, text),
                Err(error) => crate::respond::error(request, &error),
            }
        }
        .boxed()
    }
}

fn plain(code: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        ops::Bound,
        sync::atomic::{AtomicBool, Ordering},
    };

    use federation_storage::{
        At, CommitError, Committed, Entry, Listing, MemoryStore, ReadError, Revision, Watch,
        WatchError, Write,
    };

    use super::*;

    /// A store whose disk is full for a while.
    #[derive(Debug, Default)]
    struct Filling {
        store: MemoryStore,
        full: AtomicBool,
    }

    impl Filling {
        fn medium(&self) -> Result<(), CommitError> {
            match self.full.load(Ordering::SeqCst) {
                true => Err(CommitError::Medium { reason: "no space left on device".into() }),
                false => Ok(()),
            }
        }
    }

    impl Store for Filling {
        fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Arc<Entry>>, ReadError>> {
            self.store.get(key)
        }

        fn list(
            &self,
            prefix: &str,
            start: Bound<&str>,
            limit: usize,
            at: At,
        ) -> BoxFuture<'_, Result<Listing, ReadError>> {
            self.store.list(prefix, start, limit, at)
        }

        fn commit(&self, write: Write) -> BoxFuture<'_, Result<Committed, CommitError>> {
            async move {
                self.medium()?;
                self.store.commit(write).await
            }
            .boxed()
        }

        fn watch(&self, prefix: &str, since: Revision) -> Result<Watch, WatchError> {
            self.store.watch(prefix, since)
        }

        fn revision(&self) -> Revision {
            self.store.revision()
        }

        fn compact(&self) -> BoxFuture<'_, Result<Revision, CommitError>> {
            self.store.compact()
        }

        fn writable(&self) -> BoxFuture<'_, Result<(), CommitError>> {
            std::future::ready(self.medium()).boxed()
        }
    }

    #[tokio::test]
    async fn a_hub_that_cannot_write_is_alive_and_not_ready_until_it_can() {
        let store = Arc::new(Filling::default());
        let health = Health::new(Arc::clone(&store) as Arc<dyn Store>);
        assert_eq!(ask(&health, "readyz/storage", "").await.0, 200);
        store.full.store(true, Ordering::SeqCst);
        let (code, text) = ask(&health, "readyz", "").await;
        assert_eq!(code, 500);
        assert!(text.contains("[-]storage failed"), "{text}");
        assert_eq!(ask(&health, "livez", "").await.0, 200);
        assert!(!health.is_ready().await);
        store.full.store(false, Ordering::SeqCst);
        assert_eq!(ask(&health, "readyz", "").await, (200, "ok".to_owned()));
    }

    async fn ask(health: &Health, path: &str, query: &str) -> (u16, String) {
        let (endpoint, only) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
        match health.ask(endpoint, only, query).await {
            Ok((code, text)) => (code.as_u16(), text),
            Err(error) => (error.code().as_u16(), error.message().to_owned()),
        }
    }

    #[tokio::test]
    async fn checks_are_named_excluded_and_withheld() {
        let health = Health::new(Arc::new(MemoryStore::new()));
        assert_eq!(ask(&health, "readyz", "").await, (200, "ok".to_owned()));
        health.add_ready("placement", || {
            std::future::ready(Err("token abc refused".to_owned())).boxed()
        });
        let (code, text) = ask(&health, "readyz", "").await;
        assert_eq!(code, 500);
        assert!(
            text.contains("[+]store ok\n[+]storage ok\n[-]placement failed: reason withheld\n"),
            "{text}"
        );
        assert!(!text.contains("abc"), "{text}");
        assert!(!health.is_ready().await);
        assert_eq!(ask(&health, "livez", "").await.0, 200);
        assert_eq!(ask(&health, "readyz/placement", "").await.0, 500);
        assert_eq!(ask(&health, "readyz/store", "").await, (200, "ok".to_owned()));
        assert_eq!(ask(&health, "readyz/nothing", "").await.0, 404);
        let (code, text) = ask(&health, "readyz", "exclude=placement&exclude=x&verbose").await;
        assert_eq!(code, 200);
        assert!(
            text.contains("[+]placement excluded: ok\nwarn: no check is called \"x\"\n"),
            "{text}"
        );
    }
}
