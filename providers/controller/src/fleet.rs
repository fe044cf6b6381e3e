//! The members there are: a task for each, told when what it works from changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
};

use federation_types::{
    cluster::MemberCluster,
    names::{CLUSTER_UID_ANNOTATION, SYSTEM_NAMESPACE},
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Context,
    member::{self, Desired},
};

const KEY: &str = "kubeconfig";

/// Follows MemberClusters and their Secrets; ends only when it is dropped.
pub(crate) async fn follow(context: Arc<Context>) {
    let client = context.client.clone();
    let config = watcher::Config::default();
    let members = Api::<MemberCluster>::all(client.clone());
    let secrets = Api::<Secret>::namespaced(client, SYSTEM_NAMESPACE);
    let mut members = pin!(watcher(members, config.clone()).default_backoff());
    let mut secrets = pin!(watcher(secrets, config).default_backoff());
    let mut fleet = Fleet::new(context);
    loop {
        tokio::select! {
            Some(event) = members.next() => match event {
                Ok(event) => fleet.on_member(event),
                Err(error) => tracing::warn!(%error, "watch of MemberClusters interrupted"),
            },
            Some(event) = secrets.next() => match event {
                Ok(event) => fleet.on_secret(event),
                Err(error) => tracing::warn!(%error, "watch of member credentials interrupted"),
            },
            // Tasks end only when they are aborted.
            Some(_) = fleet.tasks.join_next(), if !fleet.tasks.is_empty() => (),
        }
    }
}

struct Fleet {
    context: Arc<Context>,
    members: BTreeMap<String, Known>,
    secrets: BTreeMap<String, Arc<[u8]>>,
    listed_members: BTreeSet<String>,
    listed_secrets: BTreeSet<String>,
    /// Nothing is connected before the credentials are known: a missing one would be reported.
    secrets_synced: bool,
    tasks: JoinSet<()>,
}

struct Known {
    desired: watch::Sender<Desired>,
    /// Starts with the first word of the Secrets.
    task: Option<tokio::task::AbortHandle>,
}

impl Fleet {
    fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            members: BTreeMap::new(),
            secrets: BTreeMap::new(),
            listed_members: BTreeSet::new(),
            listed_secrets: BTreeSet::new(),
            secrets_synced: false,
            tasks: JoinSet::new(),
        }
    }

    fn on_member(&mut self, event: watcher::Event<MemberCluster>) {
        match event {
            watcher::Event::Init => self.listed_members.clear(),
            watcher::Event::InitApply(it) => {
                self.listed_members.insert(it.name_any());
                self.set(it);
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed_members);
                let gone: Vec<String> =
                    self.members.keys().filter(|it| !listed.contains(*it)).cloned().collect();
                for name in gone {
                    self.forget(&name);
                }
            }
            watcher::Event::Apply(it) => self.set(it),
            watcher::Event::Delete(it) => self.forget(&it.name_any()),
        }
    }

    fn set(&mut self, member: MemberCluster) {
        let name = member.name_any();
        // Before anyone has been reached, what is stored says who is who.
        let uid = member.status.as_ref().map(|it| it.uid.clone()).filter(|it| !it.is_empty());
        if let Some(uid) = uid.or_else(|| member.annotations().get(CLUSTER_UID_ANNOTATION).cloned())
        {
            let created = member.metadata.creation_timestamp.as_ref();
            let created = created.map(|it| it.0.to_string()).unwrap_or_default();
            // A refusal is the member's own to report.
            let _ = self.context.identities.lock().claim(&uid, &created, &name);
        }
        let kubeconfig = self.kubeconfig(&member);
        let replaced = self
            .members
            .get(&name)
            .is_some_and(|it| it.desired.borrow().member.metadata.uid != member.metadata.uid);
        if replaced {
            self.forget(&name);
        }
        let desired = Desired { member: Arc::new(member), kubeconfig };
        match self.members.get(&name) {
            Some(known) => {
                known.desired.send_if_modified(|old| {
                    let news = is_news(old, &desired);
                    *old = desired;
                    news
                });
            }
            None => {
                let known = Known { desired: watch::Sender::new(desired), task: None };
                self.members.insert(name.clone(), known);
                self.start(&name);
            }
        }
    }

    fn start(&mut self, name: &str) {
        let Some(known) = self.members.get_mut(name).filter(|_| self.secrets_synced) else {
            return;
        };
        if known.task.is_none() {
            let run = member::run(Arc::clone(&self.context), known.desired.subscribe());
            known.task = Some(self.tasks.spawn(run));
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(known) = self.members.remove(name) {
            if let Some(task) = known.task {
                task.abort();
            }
            self.context.identities.lock().release(name);
        }
    }

    fn on_secret(&mut self, event: watcher::Event<Secret>) {
        match event {
            watcher::Event::Init => self.listed_secrets.clear(),
            watcher::Event::InitApply(it) => {
                self.listed_secrets.insert(it.name_any());
                self.set_secret(it);
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed_secrets);
                let gone: Vec<String> =
                    self.secrets.keys().filter(|it| !listed.contains(*it)).cloned().collect();
                for name in gone {
                    self.drop_secret(&name);
                }
                self.secrets_synced = true;
                let names: Vec<String> = self.members.keys().cloned().collect();
                for name in names {
                    self.start(&name);
                }
            }
            watcher::Event::Apply(it) => self.set_secret(it),
            watcher::Event::Delete(it) => self.drop_secret(&it.name_any()),
        }
    }

    fn set_secret(&mut self, secret: Secret) {
        let name = secret.name_any();
        match secret.data.and_then(|mut it| it.remove(KEY)) {
            Some(kubeconfig) => {
                if self.secrets.get(&name).is_some_and(|it| **it == *kubeconfig.0) {
                    return;
                }
                self.secrets.insert(name.clone(), kubeconfig.0.into());
                self.tell(&name);
            }
            None => self.drop_secret(&name),
        }
    }

    fn drop_secret(&mut self, name: &str) {
        if self.secrets.remove(name).is_some() {
            self.tell(name);
        }
    }

    /// Credentials changed: whoever uses them is told.
    fn tell(&self, secret: &str) {
        for known in self.members.values() {
            known.desired.send_if_modified(|it| {
                let uses = it.secret().is_some_and(|it| it.name == secret);
                if uses {
                    it.kubeconfig = self.kubeconfig(&it.member);
                }
                uses
            });
        }
    }

    /// Credentials lie in the hub's own namespace and nowhere else: a MemberCluster must not reach into others.
    fn kubeconfig(&self, member: &MemberCluster) -> Option<Arc<[u8]>> {
        let reference = &member.spec.connection.kubeconfig.as_ref()?.secret_ref;
        if reference.namespace != SYSTEM_NAMESPACE {
            return None;
        }
        self.secrets.get(&reference.name).cloned()
    }
}

/// Our own writes come back as changes of the status, which are none.
fn is_news(old: &Desired, new: &Desired) -> bool {
    old.member.metadata.generation != new.member.metadata.generation
        || old.member.spec != new.member.spec
        || old.kubeconfig != new.kubeconfig
}

#[cfg(test)]
mod tests {
    use federation_types::cluster::{MemberClusterSpec, MemberClusterStatus};

    use super::*;

    fn desired(change: impl FnOnce(&mut MemberCluster)) -> Desired {
        let mut member = MemberCluster::new("a", MemberClusterSpec::default());
        change(&mut member);
        Desired { member: Arc::new(member), kubeconfig: None }
    }

    #[test]
    fn a_change_of_status_is_no_news_to_a_member() {
        let old = desired(|_| ());
        let status =
            desired(|it| it.status = Some(MemberClusterStatus { nodes: 3, ..Default::default() }));
        assert!(!is_news(&old, &status));
        assert!(is_news(&old, &desired(|it| it.spec.region = "eu-west-1".to_owned())));
        let kubeconfig = Desired { kubeconfig: Some(Arc::from(&b"x"[..])), ..old.clone() };
        assert!(is_news(&old, &kubeconfig));
    }
}
