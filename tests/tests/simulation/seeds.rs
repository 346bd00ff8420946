//! From a number to the bytes that decide a world.

use oorandom::Rand64;

/// The most bytes that decide one.
const MAX_BYTES: u64 = 1200;

/// The bytes of a seed: the same ones for ever, so that a number says all.
pub(crate) fn bytes(seed: u64) -> Vec<u8> {
    let mut random = Rand64::new(seed.into());
    // Short ones too: where the choices end, so does the trouble.
    let len = 100 + random.rand_range(0..MAX_BYTES);
    (0..len.div_ceil(8)).flat_map(|_| random.rand_u64().to_le_bytes()).collect()
}
