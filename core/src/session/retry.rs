//! Whether and when a failed request is retried. `wire/status.rs` decides which statuses are transient.

use std::time::Duration;

use http::StatusCode;

use crate::error::fault::FaultKind;
use crate::error::{Cause, Misbehaviour};
use crate::limits::Limits;
use crate::wire::status::RequestKind;

/// Returns whether a request that failed without a usable response may succeed if it is retried.
///
/// A request that must not be repeated is retried only if it was never sent.
pub(crate) fn is_retryable(kind: RequestKind, cause: &Cause) -> bool {
    match cause {
        Cause::Transport(fault) => match fault.kind() {
            FaultKind::Connect | FaultKind::NotSent => true,
            FaultKind::Timeout | FaultKind::Reset => kind.may_repeat(),
            FaultKind::Proxy
            | FaultKind::Tls
            | FaultKind::Storage
            | FaultKind::Credentials
            | FaultKind::OutOfReach
            | FaultKind::Unsupported => false,
        },
        Cause::Misbehaved(Misbehaviour::TooShort { .. } | Misbehaviour::Early { .. }) => true,
        _ => false,
    }
}

/// Returns whether the server may have acted on a request that failed like this.
pub(crate) fn may_have_effect(cause: &Cause) -> bool {
    match cause {
        Cause::Transport(fault) => {
            !matches!(fault.kind(), FaultKind::Connect | FaultKind::Proxy | FaultKind::NotSent)
        }
        Cause::Answered(refusal) => refusal.status != StatusCode::TOO_MANY_REQUESTS,
        _ => true,
    }
}

/// Returns the delay before the next attempt, after `failed` failed ones. `asked` is the delay that the
/// server asked for. Returns `None` if the server asked for more than the limit.
pub(crate) fn delay(
    limits: &Limits,
    failed: u32,
    asked: Option<Duration>,
    jitter: &mut Jitter,
) -> Option<Duration> {
    if asked.is_some_and(|asked| asked > limits.retry_after_max) {
        return None;
    }
    let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    let backoff = limits.backoff_first.saturating_mul(factor).min(limits.backoff_max);
    Some((backoff / 2 + jitter.part_of(backoff / 2)).max(asked.unwrap_or_default()))
}

/// Returns whether `progress` bytes, out of `left` missing ones, reset the count of failed attempts. A
/// download that receives only a few bytes per attempt must eventually fail, and so must one that receives only a
/// few more than it skips.
pub(crate) fn is_progress(progress: u64, left: Option<u64>, skipped: u64) -> bool {
    /// A connection that delivers this many bytes works.
    const ENOUGH: u64 = 64 << 10;
    /// The part of the skipped bytes that bounds the traffic to a small multiple of the blob.
    const SKIPPED: u64 = 8;
    progress >= left.map_or(ENOUGH, |left| left.div_ceil(2).clamp(1, ENOUGH)) && progress >= skipped / SKIPPED
}

/// Spreads the retries of many clients that failed at the same time. The values depend only on the seed
/// and the number of calls.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a uniformly distributed part of the duration.
    fn part_of(&mut self, duration: Duration) -> Duration {
        // SplitMix64 (Steele, Lea, Flood, 2014): small, and good enough to spread retries.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % millis.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_limit_and_half_of_it_is_jitter() {
        let (limits, mut jitter) = (Limits::default(), Jitter::new(7));
        for (failed, full) in [(1, 200), (2, 400), (3, 800), (9, 30_000), (40, 30_000)] {
            let delays = [(); 200].map(|()| delay(&limits, failed, None, &mut jitter).unwrap().as_millis());
            let (shortest, longest) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
            // So many delays come close to both ends.
            assert!((full / 2..=full * 21 / 40).contains(&shortest), "{failed}: {shortest}");
            assert!((full * 39 / 40..=full).contains(&longest), "{failed}: {longest}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_limit() {
        let (limits, mut jitter) = (Limits::default(), Jitter::new(7));
        let mut asked = |seconds| delay(&limits, 1, Some(Duration::from_secs(seconds)), &mut jitter);
        assert_eq!(asked(100), Some(Duration::from_secs(100)));
        assert_eq!(asked(120), Some(Duration::from_secs(120)));
        assert_eq!(asked(121), None);
        assert!(asked(0) > Some(Duration::from_millis(99)));
    }

    /// The numbers are those that the generator's authors publish for this seed.
    #[test]
    fn jitter_matches_the_published_values() {
        let mut jitter = Jitter::new(1_234_567);
        let drawn = [(); 3].map(|()| jitter.part_of(Duration::from_millis(u64::MAX)));
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(drawn, expected.map(Duration::from_millis));
        // Every part occurs, the whole included.
        let parts: BTreeSet<Duration> = (0..1000).map(|_| jitter.part_of(Duration::from_millis(9))).collect();
        assert_eq!(parts, (0..=9).map(Duration::from_millis).collect());
        assert_eq!(jitter.part_of(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_few_bytes_do_not_count_as_progress() {
        for (progress, left, skipped, expected) in [
            (1, None, 0, false),
            (64 << 10, None, 0, true),
            (1, Some(1 << 30), 0, false),
            (64 << 10, Some(1 << 30), 0, true),
            (64 << 10, Some(1 << 30), 1 << 19, true),
            (64 << 10, Some(1 << 30), 1 << 20, false),
            (50, Some(100), 0, true),
            (49, Some(100), 0, false),
            (1, Some(1), 0, true),
            (0, Some(0), 0, false),
        ] {
            assert_eq!(
                is_progress(progress, left, skipped),
                expected,
                "{progress} of {left:?} after {skipped}"
            );
        }
    }
}
