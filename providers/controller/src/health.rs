//! From probes to the condition Ready: one miss is no news, two are. Pure.

use federation_types::reason::cluster as reason;
use providers_core::ConnectError;

/// So many misses in a row, and the cluster counts as unreachable.
const MISSES: u32 = 2;

/// What the condition Ready says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) ready: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn ready() -> Self {
        Self {
            ready: true,
            reason: reason::READY.to_owned(),
            message: "the cluster answers".to_owned(),
        }
    }

    pub(crate) fn held(reason: &str, message: impl Into<String>) -> Self {
        Self { ready: false, reason: reason.to_owned(), message: message.into() }
    }

    /// Whether it says the same; messages of one reason differ from try to try, which is no news.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.ready == other.ready && self.reason == other.reason
    }
}

impl From<&ConnectError> for Verdict {
    fn from(error: &ConnectError) -> Self {
        Self::held(error.reason(), error.to_string())
    }
}

/// How a member has answered of late.
#[derive(Debug, Default)]
pub(crate) struct Health {
    misses: u32,
}

impl Health {
    /// Takes a probe's result; `None` while there is nothing to say. `known` is whether anything was said before.
    pub(crate) fn observe(&mut self, probe: Result<(), Verdict>, known: bool) -> Option<Verdict> {
        match probe {
            Ok(()) => {
                self.misses = 0;
                Some(Verdict::ready())
            }
            Err(verdict) => {
                self.misses = self.misses.saturating_add(1);
                let passing =
                    [reason::UNREACHABLE, reason::UNHEALTHY].contains(&verdict.reason.as_str());
                (!passing || !known || self.misses >= MISSES).then_some(verdict)
            }
        }
    }

    pub(crate) fn misses(&self) -> u32 {
        self.misses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss() -> Result<(), Verdict> {
        Err(Verdict::held(reason::UNREACHABLE, "no answer"))
    }

    #[test]
    fn one_miss_is_no_news_and_two_are() {
        let mut health = Health::default();
        assert_eq!(health.observe(Ok(()), true), Some(Verdict::ready()));
        assert_eq!(health.observe(miss(), true), None);
        assert_eq!(health.observe(Ok(()), true), Some(Verdict::ready()));
        assert_eq!(health.observe(miss(), true), None);
        assert_eq!(
            health.observe(miss(), true).map(|it| it.reason),
            Some("Unreachable".to_owned())
        );
        assert_eq!(health.misses(), 2);
    }

    #[test]
    fn a_member_that_never_answered_and_a_refusal_are_said_at_once() {
        assert!(Health::default().observe(miss(), false).is_some());
        let refused = Err(Verdict::held(reason::UNAUTHORIZED, "401"));
        assert!(Health::default().observe(refused, true).is_some());
    }
}
