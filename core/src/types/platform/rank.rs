//! Platform matching: choosing the best of several offered platforms.

use std::borrow::Borrow;

use crate::types::platform::{Normalized, Platform};

impl Platform {
    /// Ranks how well `offered` satisfies a request for `self`; smaller is better. Returns `None` if it
    /// does not match.
    ///
    /// Operating system and architecture must be equal. An equal variant ranks best; otherwise:
    /// - arm: the nearest lower of v8, v7, v6 and v5, then no variant. A request without a variant
    ///   means v7.
    /// - amd64: the nearest lower level; no variant means v1.
    /// - arm64: the nearest lower variant; no variant means v8. v9.n includes v8.(n+5).
    /// - any other variant, of any architecture, must be equal.
    ///
    /// The operating system's version matters only if `self` has one. An equal version ranks best,
    /// then, for Windows, one of the same build (equal first three numbers), then no version. Any other
    /// version does not match.
    ///
    /// A 32-bit architecture never satisfies a request for a 64-bit one.
    ///
    /// Source: image-spec, image-index.md, "platform". The order is that of containerd's default
    /// matcher, with one exception: an arm entry without a variant does not state its requirements, so
    /// it ranks last instead of counting as v7.
    pub fn rank(&self, offered: &Self) -> Option<Rank> {
        let (wanted, given) = (Normalized::of(self), Normalized::of(offered));
        if wanted.os != given.os || wanted.architecture != given.architecture {
            return None;
        }
        let version = match (self.os_version(), offered.os_version()) {
            (None, _) => 0,
            (Some(wanted), Some(given)) if wanted == given => 0,
            (Some(wanted), Some(given)) if self.is_windows() && same_build(wanted, given) => 1,
            (Some(_), None) => 2,
            (Some(_), Some(_)) => return None,
        };
        // At most 80 * 3 + 2, which is below the last resort.
        Some(Rank(variants_below(&wanted, &given)? * 3 + version))
    }

    /// Returns the entry that matches `self` best: the first one with the smallest rank. An entry
    /// without a platform is the last resort.
    pub fn best<P: Borrow<Self>, T>(&self, entries: impl IntoIterator<Item = (Option<P>, T)>) -> Option<T> {
        entries
            .into_iter()
            .filter_map(|(platform, entry)| match platform {
                Some(platform) => Some((self.rank(platform.borrow())?, entry)),
                None => Some((Rank::LAST_RESORT, entry)),
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
    }

    fn is_windows(&self) -> bool {
        self.os.eq_ignore_ascii_case("windows")
    }
}

/// How well a platform matches; smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// The rank of an entry without a platform.
    pub const LAST_RESORT: Self = Self(u8::MAX);
    /// The rank of an exact match.
    pub const EXACT: Self = Self(0);
}

/// Returns how many variants `given` lies below `wanted`, or `None` if it does not match.
fn variants_below(wanted: &Normalized, given: &Normalized) -> Option<u8> {
    if wanted.variant == given.variant {
        return Some(0);
    }
    let (wanted_variant, given_variant) = (wanted.variant.as_deref(), given.variant.as_deref());
    match wanted.architecture.as_str() {
        "arm" => {
            let wanted = arm_version(wanted_variant.unwrap_or("v7"))?;
            match given_variant {
                None => Some(80),
                Some(given) => wanted.checked_sub(arm_version(given)?),
            }
        }
        "amd64" => {
            let level = |variant: Option<&str>| match variant {
                None | Some("v1") => Some(1_u8),
                Some("v2") => Some(2),
                Some("v3") => Some(3),
                Some("v4") => Some(4),
                Some(_) => None,
            };
            level(wanted_variant)?.checked_sub(level(given_variant)?)
        }
        "arm64" => {
            let (wanted_major, wanted_minor) = arm64_version(wanted_variant.unwrap_or("v8"))?;
            let (given_major, given_minor) = arm64_version(given_variant.unwrap_or("v8"))?;
            match (wanted_major, given_major) {
                (8, 8) | (9, 9) => wanted_minor.checked_sub(given_minor),
                // v8 ranks below every minor version of v9.
                (9, 8) => Some(wanted_minor + 1 + (wanted_minor + 5).checked_sub(given_minor)?),
                _ => None,
            }
        }
        _ => None,
    }
}

fn arm_version(variant: &str) -> Option<u8> {
    match variant {
        "v5" => Some(5),
        "v6" => Some(6),
        "v7" => Some(7),
        "v8" => Some(8),
        _ => None,
    }
}

/// Parses the major and minor version of an arm64 variant; the minor version has one digit.
fn arm64_version(variant: &str) -> Option<(u8, u8)> {
    match *variant.as_bytes() {
        [b'v', major @ (b'8' | b'9')] => Some((major - b'0', 0)),
        [b'v', major @ (b'8' | b'9'), b'.', minor @ b'0'..=b'9'] => Some((major - b'0', minor - b'0')),
        _ => None,
    }
}

/// Returns whether two Windows versions share their first three numbers, which decide whether a
/// container runs on a host.
fn same_build(one: &str, other: &str) -> bool {
    let build = |version: &str| {
        let mut numbers = version.splitn(4, '.').map(str::to_owned);
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    };
    build(one).is_some_and(|one| build(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Returns the platforms of `offered` that match `asked`, best first.
    fn order<'a>(asked: &str, offered: &[&'a str]) -> Vec<&'a str> {
        let asked = platform(asked);
        let mut left = offered.to_vec();
        let mut order = Vec::new();
        while let Some(best) = asked.best(left.iter().map(|text| (Some(platform(text)), *text))) {
            order.push(best);
            left.retain(|text| *text != best);
        }
        order
    }

    #[test]
    fn arm_selects_the_nearest_lower_variant_and_never_a_higher() {
        let all = ["linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"];
        for (asked, expected) in [
            ("linux/arm/v8", &["v8", "v7", "v6", "v5", "linux/arm"][..]),
            ("linux/arm/v7", &["v7", "v6", "v5", "linux/arm"]),
            ("linux/arm/v6", &["v6", "v5", "linux/arm"]),
            ("linux/arm/v5", &["v5", "linux/arm"]),
            // No variant means v7, but an offered platform without one is equal and ranks first.
            ("linux/arm", &["linux/arm", "v7", "v6", "v5"]),
        ] {
            let order = order(asked, &all);
            assert_eq!(order.len(), expected.len(), "{asked}: {order:?}");
            assert!(order.iter().zip(expected).all(|(got, end)| got.ends_with(end)), "{asked}: {order:?}");
        }
        assert_eq!(order("linux/arm", &["linux/arm/v6", "linux/arm/v7"])[0], "linux/arm/v7");
        assert!(order("linux/arm/v7", &["linux/arm/v7hf", "linux/arm64"]).is_empty());
    }

    #[test]
    fn amd64_selects_the_nearest_lower_level() {
        let all = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"];
        assert_eq!(order("linux/amd64", &all), ["linux/amd64"]);
        assert_eq!(order("linux/amd64/v3", &all), ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]);
        assert_eq!(platform("linux/amd64/v1").rank(&platform("linux/amd64")), Some(Rank::EXACT));
        assert_eq!(platform("linux/amd64").rank(&platform("linux/amd64/v1")), Some(Rank::EXACT));
        assert!(order("linux/amd64", &["linux/386", "linux/amd64/x", "darwin/amd64"]).is_empty());
    }

    #[test]
    fn arm64_without_variant_is_v8() {
        let all =
            ["linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6", "linux/arm64/v8.1", "linux/arm64"];
        assert_eq!(order("linux/arm64", &all), ["linux/arm64"]);
        assert_eq!(order("linux/arm64/v8", &all), ["linux/arm64"]);
        assert_eq!(platform("linux/arm64").rank(&platform("linux/arm64/v8")), Some(Rank::EXACT));
        assert_eq!(order("linux/arm64/v8.2", &all), ["linux/arm64/v8.1", "linux/arm64"]);
        assert_eq!(order("linux/arm64/v9.1", &all), all);
        assert_eq!(order("linux/arm64/v9", &all), ["linux/arm64/v9", "linux/arm64/v8.1", "linux/arm64"]);
        // Every v9 ranks before every v8, whatever the distance.
        let offered = ["linux/arm64/v8.7", "linux/arm64/v9"];
        assert_eq!(order("linux/arm64/v9.2", &offered), ["linux/arm64/v9", "linux/arm64/v8.7"]);
    }

    #[test]
    fn other_variants_must_be_equal() {
        let all = ["linux/ppc64le", "linux/ppc64le/power8"];
        assert_eq!(order("linux/ppc64le", &all), ["linux/ppc64le"]);
        assert_eq!(order("linux/ppc64le/power8", &all), ["linux/ppc64le/power8"]);
        assert_eq!(order("linux/arm/odd", &["linux/arm/odd", "linux/arm/v7"]), ["linux/arm/odd"]);
    }

    #[test]
    fn a_version_matters_only_if_requested() {
        let all = [
            "windows/amd64",
            "windows(10.0.20348.1)/amd64",
            "windows(10.0.17763.9)/amd64",
            "windows(10.0.17763.1)/amd64",
        ];
        assert_eq!(order("windows/amd64", &all), all);
        assert_eq!(order("windows(10.0.17763.1)/amd64", &all), [all[3], all[2], all[0]]);
        assert_eq!(order("windows(10.0.17763)/amd64", &all), [all[2], all[3], all[0]]);
        assert!(order("windows(10)/amd64", &["windows(11)/amd64"]).is_empty());
        assert_eq!(order("linux(6.1.0.1)/amd64", &["linux(6.1.0.2)/amd64", "linux/amd64"]), ["linux/amd64"]);
    }

    #[test]
    fn unknown_matches_only_itself() {
        let texts = ["unknown/unknown", "linux/unknown", "unknown/amd64", "linux/amd64"];
        for text in texts {
            assert_eq!(order(text, &texts), [text]);
        }
    }

    #[test]
    fn the_first_among_equals_wins_and_no_platform_is_the_last_resort() {
        let asked = platform("linux/arm/v8");
        let some = |text: &str| Some(platform(text));
        assert_eq!(asked.best([(None, 0), (some("linux/arm"), 1), (some("linux/arm"), 2)]), Some(1));
        assert_eq!(asked.best([(some("linux/amd64"), 0), (None, 1), (None, 2)]), Some(1));
        assert_eq!(asked.best([(some("linux/amd64"), 0), (some("unknown/unknown"), 1)]), None);
        assert_eq!(asked.best::<Platform, u8>([]), None);
    }
}
