//! Waiting for conditions: polls at a bounded interval, and says at the end what was last seen.

use std::fmt::{self, Debug};
use std::time::Duration;

use tokio::time::Instant;

const FIRST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_millis(200);

/// A condition did not come true in time.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: not within {} s; last observed: {last}", .timeout.as_secs_f64())]
pub struct TimedOut {
    what: String,
    timeout: Duration,
    last: String,
}

// Tests unwrap: what they then print is for people.
impl Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Polls until `probe` answers `Ok`; its `Err` is what was observed instead.
pub async fn try_until<T, O: Debug>(
    what: &str,
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, O>,
) -> Result<T, TimedOut> {
    let deadline = Instant::now() + timeout;
    let mut interval = FIRST_INTERVAL;
    let mut last = "nothing: no attempt was answered".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(observed)) => last = format!("{observed:?}"),
            Err(_) => return Err(TimedOut { what: what.to_owned(), timeout, last }),
        }
        if Instant::now() >= deadline {
            return Err(TimedOut { what: what.to_owned(), timeout, last });
        }
        // Never past the deadline: the last look is taken just then.
        tokio::time::sleep_until((Instant::now() + interval).min(deadline)).await;
        interval = (interval * 3 / 2).min(LONGEST_INTERVAL);
    }
}

/// Like [`try_until`], for tests: fails the test when the time is over.
///
/// # Panics
/// When the condition does not come true in time.
pub async fn until<T, O: Debug>(
    what: &str,
    timeout: Duration,
    probe: impl AsyncFnMut() -> Result<T, O>,
) -> T {
    match try_until(what, timeout, probe).await {
        Ok(value) => value,
        Err(timed_out) => panic!("{timed_out}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_value_is_returned_once_the_probe_succeeds() {
        let mut calls = 0;
        let value = until("third call", Duration::from_secs(5), async || {
            calls += 1;
            if calls == 3 { Ok("there") } else { Err(calls) }
        })
        .await;
        assert_eq!((value, calls), ("there", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_observation_is_in_the_error() {
        let mut calls = 0;
        let error = try_until::<(), _>("never", Duration::from_secs(2), async || {
            calls += 1;
            Err(format!("call {}", calls.min(4)))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "never: not within 2 s; last observed: \"call 4\"");
        assert!((10..30).contains(&calls), "{calls} calls in 2 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_given_up() {
        let error = try_until::<(), ()>("hangs", Duration::from_secs(1), async || {
            std::future::pending().await
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("no attempt was answered"), "{error}");
    }
}
