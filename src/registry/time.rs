//! Times as the index stores them: whole seconds since 1970-01-01 UTC, in 32 bits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the current time, in seconds since 1970.
pub(super) fn now() -> u32 {
    seconds(SystemTime::now())
}

/// Returns a time in seconds since 1970: 0 for earlier times, and the largest number for times
/// after February 2106.
pub fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Returns the time that is this many seconds after 1970.
pub fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
}
