//! Digests: parsing, formatting and computing.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// A digest as the image specification defines it: an algorithm and its encoded value.
///
/// A `Digest` is always well formed. The encoded part of a sha256, sha384 or sha512 digest is
/// lower-case hexadecimal of exactly the algorithm's length. For any other algorithm, the encoded part
/// is kept as text and cannot be verified (see [`Digest::algorithm`]).
///
/// Source: image-spec, descriptor.md, "Digests".
///
/// ```
/// use oci_proto::{Algorithm, Digest};
///
/// let digest: Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?;
/// assert_eq!(digest, Digest::of(Algorithm::Sha256, b""));
/// assert!("sha256:E3B0".parse::<Digest>().is_err());
/// # Ok::<(), oci_proto::InvalidDigest>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Sha256(Aligned),
    // Boxed: longer values are rare and would make every digest as large.
    Sha384(Box<[u8; 48]>),
    Sha512(Box<[u8; 64]>),
    /// Well-formed text of an algorithm that this crate does not compute.
    Other(Box<str>),
}

/// Aligned to the width of a vector register: a load that spans two stores stalls until both complete.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(16))]
struct Aligned([u8; 32]);

impl Digest {
    /// The maximum length of a digest's text, in bytes. A sha512 digest has 135.
    pub const MAX_LEN: usize = 255;

    /// Computes the digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the algorithm, or `None` if this crate cannot verify it.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self.0 {
            Repr::Sha256(_) => Some(Algorithm::Sha256),
            Repr::Sha384(_) => Some(Algorithm::Sha384),
            Repr::Sha512(_) => Some(Algorithm::Sha512),
            Repr::Other(_) => None,
        }
    }

    /// Returns the digest, or `redacted:redacted` if `change` changes its text. The name of a known algorithm
    /// is not passed to it.
    pub(crate) fn map_text(&self, change: &mut impl FnMut(&str) -> String) -> Self {
        let text = if self.algorithm().is_some() { self.encoded() } else { self.to_string() };
        if change(&text) == text { self.clone() } else { Self(Repr::Other("redacted:redacted".into())) }
    }

    /// Returns the text before the colon.
    pub fn algorithm_name(&self) -> &str {
        match &self.0 {
            Repr::Other(text) => text.split_once(':').map_or("", |(name, _)| name),
            Repr::Sha256(_) => Algorithm::Sha256.as_str(),
            Repr::Sha384(_) => Algorithm::Sha384.as_str(),
            Repr::Sha512(_) => Algorithm::Sha512.as_str(),
        }
    }

    /// Returns the text after the colon.
    pub fn encoded(&self) -> String {
        match &self.0 {
            Repr::Sha256(bytes) => hex(&bytes.0),
            Repr::Sha384(bytes) => hex(bytes.as_slice()),
            Repr::Sha512(bytes) => hex(bytes.as_slice()),
            Repr::Other(text) => text.split_once(':').map_or("", |(_, e)| e).to_owned(),
        }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    #[inline]
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        // Fast path: nearly all digests are sha256, and an index may have thousands.
        if let Some(bytes) = text.strip_prefix("sha256:").and_then(unhex) {
            return Ok(Self(Repr::Sha256(Aligned(bytes))));
        }
        Self::parse_slow(text)
    }
}

impl Digest {
    /// Parses text that is not a valid sha256 digest.
    #[cold]
    fn parse_slow(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = |problem| InvalidDigest { text: excerpt(text), problem };
        if text.len() > Self::MAX_LEN {
            return Err(invalid("it is longer than 255 bytes"));
        }
        let Some((name, encoded)) = text.split_once(':') else {
            return Err(invalid("it has no colon between algorithm and value"));
        };
        let well_named = || {
            name.split(['+', '.', '_', '-']).all(|component| {
                !component.is_empty()
                    && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            })
        };
        let wrong_hex = || invalid("its value must be lower-case hexadecimal of the algorithm's length");
        let repr = match name {
            "sha256" => return Err(wrong_hex()),
            "sha384" => Repr::Sha384(unhex(encoded).ok_or_else(wrong_hex)?.into()),
            "sha512" => Repr::Sha512(unhex(encoded).ok_or_else(wrong_hex)?.into()),
            _ if !well_named() => {
                return Err(invalid(
                    "its algorithm may contain only lower-case letters and digits, separated by single `+`, `.`, `_` or `-`",
                ));
            }
            _ => {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-');
                if encoded.is_empty() || !encoded.bytes().all(allowed) {
                    return Err(invalid(
                        "its value is empty or has a character other than A-Z a-z 0-9 = _ -",
                    ));
                }
                Repr::Other(text.into())
            }
        };
        Ok(Self(repr))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm_name())?;
        f.write_str(":")?;
        f.write_str(&self.encoded())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest algorithm that this crate computes and verifies.
///
/// Source: image-spec, descriptor.md, "Registered algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a new algorithm is a new promise to every caller")]
pub enum Algorithm {
    /// SHA-256: the default, and the only algorithm that every registry must support.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the algorithm with this registered name, or `None` if this crate does not compute it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Returns the registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// Computes a digest incrementally.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(Box<sha2::Sha384>),
    Sha512(Box<sha2::Sha512>),
    /// The digest of bytes that were not hashed here. `None` after more bytes, which cannot be added to it.
    Assumed(Option<Digest>),
}

impl Hasher {
    /// Creates a hasher that has processed no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Box::default()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Creates a placeholder for the hasher over content whose bytes a recording omits. It returns `digest`
    /// without hashing them.
    ///
    /// Use it for [`Held::Part`](crate::Held::Part) in a session [for replay](crate::Session::for_replay). Any
    /// other session treats a part with such a hasher as [`Held::Nothing`](crate::Held::Nothing). Once it is
    /// updated with any bytes, its digest matches no content.
    pub fn assumed(digest: Digest) -> Self {
        Self(State::Assumed(Some(digest)))
    }

    /// Returns whether this is such a placeholder.
    pub(crate) fn is_assumed(&self) -> bool {
        matches!(self.0, State::Assumed(_))
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Assumed(_) if bytes.is_empty() => {}
            State::Assumed(digest) => *digest = None,
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes hashed so far.
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(state) => Repr::Sha256(Aligned(state.finalize().into())),
            State::Sha384(state) => Repr::Sha384(Box::new(state.finalize().into())),
            State::Sha512(state) => Repr::Sha512(Box::new(state.finalize().into())),
            State::Assumed(Some(digest)) => return digest,
            // No text parses as this digest, so it equals no expected one.
            State::Assumed(None) => Repr::Other("unknown:".into()),
        })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The error returned when a digest fails to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: {problem}")]
pub struct InvalidDigest {
    text: String,
    problem: &'static str,
}

/// Returns the start of a rejected text, escaped for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    let pairs: Vec<_> = bytes.iter().map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
    String::from_utf8(pairs.into_flattened()).expect("digits are ASCII")
}

/// Decodes hexadecimal without a branch in the loop: digest digits are random, so branches on them
/// mispredict.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    const INVALID: u8 = 0xff;
    let nibble = |digit: u8| {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        if number < 10 {
            number
        } else if letter < 6 {
            letter + 10
        } else {
            INVALID
        }
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut combined = 0;
    let bytes = pairs.map(|[high, low]| {
        let (high, low) = (nibble(high), nibble(low));
        combined |= high | low;
        high << 4 | low
    });
    (combined != INVALID).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_the_name_of_its_digests() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"");
            assert_eq!(Algorithm::named(digest.algorithm_name()), digest.algorithm());
        }
        for name in ["", "sha1", "SHA256", "sha256:"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }

    #[test]
    fn computes_the_published_test_vectors() {
        // FIPS 180-4 example vectors, message "abc".
        for (algorithm, expected) in [
            (Algorithm::Sha256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                Algorithm::Sha384,
                "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Algorithm::Sha512,
                "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"");
            hasher.update(b"bc");
            assert_eq!(hasher.finish().to_string(), expected);
            assert_eq!(expected.parse::<Digest>().unwrap().algorithm(), Some(algorithm));
        }
    }

    #[test]
    fn an_assumed_hasher_that_takes_bytes_gives_a_digest_that_no_content_has() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let mut hasher = Hasher::assumed(digest.clone());
        hasher.update(b"");
        assert_eq!(hasher.clone().finish(), digest);
        hasher.update(b"d");
        let unknown = hasher.finish();
        assert_eq!(unknown.algorithm(), None);
        assert!(unknown.to_string().parse::<Digest>().is_err());
    }

    #[test]
    fn rejects_malformed_text() {
        let long = format!("sha256+b64:{}", "a".repeat(300));
        let short = format!("sha256:{}", "a".repeat(63));
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:zz",
            ":abc",
            "Sha256:abc",
            "a++b:abc",
            "-a:abc",
            "x:",
            "x:a/b",
            "x:..",
            "x:a:b",
            &long,
            &short,
            &upper,
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_single_non_hex_character_is_rejected() {
        let right = "0123456789abcdef".repeat(4);
        assert!(format!("sha256:{right}").parse::<Digest>().is_ok());
        // The neighbours of the digit and letter ranges in ASCII, and others.
        for wrong in ["/", ":", "`", "g", "A", "F", "\0", "\x7f"] {
            for at in [0, 1, 32, 63] {
                let mut text = format!("sha256:{right}");
                text.replace_range(7 + at..8 + at, wrong);
                assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
            }
        }
    }

    #[test]
    fn the_maximum_length_is_255_bytes() {
        let of_length = |length: usize| format!("x:{}", "a".repeat(length - 2)).parse::<Digest>();
        assert_eq!(of_length(255).unwrap().to_string().len(), 255);
        assert!(of_length(256).is_err());
    }

    #[test]
    fn debug_output_is_the_digest_and_hides_hasher_state() {
        let digest = Digest::of(Algorithm::Sha384, b"");
        assert_eq!(format!("{digest:?}"), digest.to_string());
        assert_eq!(format!("{:?}", Hasher::new(Algorithm::Sha256)), "Hasher");
    }

    #[test]
    fn other_algorithms_parse_but_cannot_be_verified() {
        let digest: Digest =
            "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8".parse().unwrap();
        assert_eq!(digest.algorithm(), None);
        assert_eq!(digest.algorithm_name(), "multihash+base58");
        assert_eq!(digest.encoded(), "QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8");
    }
}
