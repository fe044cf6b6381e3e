//! Writes ConfigMaps into a hub that is killed now and then, and keeps account of it in a file.
//!
//! `writer KUBECONFIG NAMESPACE NAME SEED LEDGER STOP`: one request after the other. A line goes to LEDGER before each
//! request (`try`) and, when it was acknowledged, before the next one (`ack`); what became of a request that was not
//! answered is looked up before anything else happens to that key (`seen`, `gone`). Ends once the file STOP exists.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use federation_tests::{Random, hash};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Keys that are created, changed and deleted; and keys that a policy places, which are created and changed.
const FREE: u64 = 40;
const PLACED: u64 = 6;
const PAUSE: Duration = Duration::from_millis(20);

struct Writer {
    api: Api<ConfigMap>,
    name: String,
    ledger: File,
    random: Random,
    /// The keys that exist.
    there: BTreeMap<String, ()>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, namespace, name, seed, ledger, stop] = arguments.as_slice() else {
        return Err("usage: writer KUBECONFIG NAMESPACE NAME SEED LEDGER STOP".into());
    };
    let kubeconfig = Kubeconfig::read_from(Path::new(kubeconfig))?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(20));
    let mut writer = Writer {
        api: Api::namespaced(Client::try_from(config)?, namespace),
        name: name.clone(),
        ledger: File::options().create(true).append(true).open(ledger)?,
        random: Random::new(seed.parse()?),
        there: BTreeMap::new(),
    };
    let stop = PathBuf::from(stop);
    while !stop.exists() {
        writer.step().await?;
    }
    Ok(())
}

impl Writer {
    async fn step(&mut self) -> Result<(), Failure> {
        let which = self.random.below(FREE + PLACED);
        let placed = which >= FREE;
        let key = format!("{}-{}-{which}", self.name, if placed { "placed" } else { "free" });
        let value = format!("{:016x}", self.random.bits()).repeat(16);
        let digest = hash(value.as_bytes());
        let there = self.there.contains_key(&key);
        if there && !placed && self.random.below(8) == 0 {
            self.note(&json!({"what": "try", "op": "delete", "key": key}))?;
            match self.api.delete(&key, &DeleteParams::default()).await {
                Ok(_) => {
                    self.there.remove(&key);
                    self.note(&json!({"what": "ack", "op": "delete", "key": key}))
                }
                Err(_) => self.look(&key).await,
            }
        } else {
            let op = if there { "patch" } else { "create" };
            self.note(&json!({"what": "try", "op": op, "key": key, "hash": digest}))?;
            let written = if there {
                let patch = json!({"data": {"value": value}});
                self.api.patch(&key, &PatchParams::default(), &Patch::Merge(patch)).await
            } else {
                let labels = [("placed".to_owned(), placed.to_string())];
                let metadata = ObjectMeta {
                    name: Some(key.clone()),
                    labels: Some(labels.into()),
                    ..ObjectMeta::default()
                };
                let data = Some([("value".to_owned(), value)].into());
                self.api
                    .create(
                        &PostParams::default(),
                        &ConfigMap { metadata, data, ..ConfigMap::default() },
                    )
                    .await
            };
            match written {
                Ok(object) => {
                    self.there.insert(key.clone(), ());
                    let revision = object.resource_version().unwrap_or_default();
                    self.note(&json!({"what": "ack", "op": op, "key": key, "rv": revision, "hash": digest}))
                }
                Err(_) => self.look(&key).await,
            }
        }
    }

    /// Finds out what became of a request that was not acknowledged.
    async fn look(&mut self, key: &str) -> Result<(), Failure> {
        loop {
            match self.api.get_opt(key).await {
                Ok(Some(object)) => {
                    self.there.insert(key.to_owned(), ());
                    let revision = object.resource_version().unwrap_or_default();
                    let value =
                        object.data.and_then(|it| it.get("value").cloned()).unwrap_or_default();
                    let digest = hash(value.as_bytes());
                    return self.note(
                        &json!({"what": "seen", "key": key, "rv": revision, "hash": digest}),
                    );
                }
                Ok(None) => {
                    self.there.remove(key);
                    return self.note(&json!({"what": "gone", "key": key}));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// One line, in one write: it is there before the next request goes out.
    fn note(&mut self, line: &serde_json::Value) -> Result<(), Failure> {
        Ok(self.ledger.write_all(format!("{line}\n").as_bytes())?)
    }
}
