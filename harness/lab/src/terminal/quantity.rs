//! Ages, sizes and keys as the whole harness writes them.

use std::time::SystemTime;

pub(crate) use sanlab_report::number::{count, seconds as took, short, size};

/// How long ago that was; a moment in the future, of a clock that was set back, is now.
pub(crate) fn age_of(then: SystemTime, now: SystemTime) -> String {
    took(now.duration_since(then).unwrap_or_default().as_secs_f64())
}

/// `forked from 3f2a91c04d5e of 12 min 05 s ago`, with `cloned` likewise.
pub(crate) fn taken_from(how: &str, key: &str, age_seconds: f64) -> String {
    format!("{how} from {} of {} ago", short(key), took(age_seconds))
}
