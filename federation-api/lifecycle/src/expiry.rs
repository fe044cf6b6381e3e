//! Events live for an hour after they were last written.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::graph::Uid;

/// How long an event lives.
pub(crate) const EVENT_LIFE: Duration = Duration::from_secs(3600);

/// Where an event is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Expired {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
}

/// The events that there are, by when they end.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    due: BTreeMap<(SystemTime, Uid), Expired>,
    by_uid: HashMap<Uid, SystemTime>,
}

impl Expiry {
    /// An event was written. One that is read back after a start is taken to be as old as its creation: a later write
    /// of it is not known any more, and it goes a little early.
    pub(crate) fn apply(&mut self, meta: &ObjectMeta, listed: bool, now: SystemTime) {
        let (Some(uid), Some(name)) = (&meta.uid, &meta.name) else { return };
        let created = meta
            .creation_timestamp
            .as_ref()
            .and_then(|time| u64::try_from(time.0.as_second()).ok())
            .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let written = if listed { created.unwrap_or(now).min(now) } else { now };
        let key = Uid::new(uid);
        if listed && self.by_uid.contains_key(&key) {
            return;
        }
        self.remove(meta);
        let due = written + EVENT_LIFE;
        self.by_uid.insert(key, due);
        let expired = Expired {
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: name.as_str().into(),
            uid: uid.as_str().into(),
        };
        self.due.insert((due, key), expired);
    }

    /// An event is gone.
    pub(crate) fn remove(&mut self, meta: &ObjectMeta) {
        let Some(uid) = meta.uid.as_deref().map(Uid::new) else { return };
        if let Some(due) = self.by_uid.remove(&uid) {
            self.due.remove(&(due, uid));
        }
    }

    /// Takes an event whose time is over.
    pub(crate) fn take(&mut self, now: SystemTime) -> Option<Expired> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let uid = entry.key().1;
        self.by_uid.remove(&uid);
        Some(entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn event(uid: &str, created: i64) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.to_owned()),
            name: Some(uid.to_owned()),
            creation_timestamp: Some(Time(Timestamp::from_second(created).unwrap())),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn an_event_ends_an_hour_after_it_was_last_written() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut expiry = Expiry::default();
        expiry.apply(&event("a", 1_000), true, at(2_000));
        expiry.apply(&event("b", 1_000), true, at(2_000));
        expiry.apply(&event("c", 1_000), true, at(2_000));
        expiry.apply(&event("b", 1_000), false, at(3_000));
        // A list that is read again changes nothing.
        expiry.apply(&event("b", 1_000), true, at(3_500));
        expiry.remove(&event("c", 1_000));
        assert_eq!(expiry.take(at(4_599)), None);
        assert_eq!(expiry.take(at(4_600)).map(|event| event.name), Some("a".into()));
        assert_eq!(expiry.take(at(6_599)), None);
        assert_eq!(expiry.take(at(6_600)).map(|event| event.name), Some("b".into()));
        assert_eq!(expiry.take(at(99_999)), None);
    }
}
