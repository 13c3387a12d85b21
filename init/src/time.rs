//! Times as plain numbers.

use std::time::Duration;

/// Whole milliseconds. [`Duration::as_millis`] counts them in 128 bits, which the processor cannot divide or print by itself.
pub fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())
}
