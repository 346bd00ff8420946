//! Expands a seed to the input of a world.

use oorandom::Rand64;

/// The maximum length of an input.
const MAX_BYTES: u64 = 1200;

/// The input for a seed, the same on every machine and in every version.
pub(crate) fn bytes(seed: u64) -> Vec<u8> {
    let mut random = Rand64::new(seed.into());
    // Short inputs too: failures stop when the input is used up.
    let len = 100 + random.rand_range(0..MAX_BYTES);
    (0..len.div_ceil(8)).flat_map(|_| random.rand_u64().to_le_bytes()).collect()
}
