//! The one place where this crate reads the time, and how times are written down.

use jiff::{Timestamp, Unit};

/// Now, in RFC 3339 with seconds.
pub(crate) fn now_text() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// Now, in seconds since the epoch.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A stored time in seconds since the epoch; 0 for what is empty or not a time.
pub(crate) fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

/// Seconds since the epoch in RFC 3339; empty for 0.
pub(crate) fn text(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) if seconds != 0 => time.to_string(),
        Ok(_) | Err(_) => String::new(),
    }
}
