//! Registries that are mirrors of each other, for one repository.

use oci_proto::{Config, Mirror, MirrorPulls, RegistryEntry};

use crate::simulation::choices::Choices;
use crate::simulation::world::REGISTRIES;

/// The repository that may have mirrors. They have the same content, and fail and lie on their own.
pub(super) const MIRRORED: &str = "team/other";

/// The maximum number of mirrors of a registry.
pub(super) const MOST: usize = 2;

/// The mirrors of each registry.
#[derive(Debug)]
pub(super) struct Mirrors {
    of: [Vec<usize>; REGISTRIES.len()],
    pulls: MirrorPulls,
}

impl Mirrors {
    /// Draws mirrors; none if the input is used up.
    pub(super) fn draw(choices: &mut Choices<'_>) -> Self {
        let drawn = usize::from(choices.byte());
        let count = drawn % 4;
        let of = std::array::from_fn(|registry| {
            let is_mirrored = (drawn >> 2) & (1 << (registry % 3)) != 0;
            let others = (1..REGISTRIES.len()).map(|further| (registry + further) % REGISTRIES.len());
            others.take(if is_mirrored { count.min(MOST) } else { 0 }).collect()
        });
        let pulls = [MirrorPulls::DigestOnly, MirrorPulls::All, MirrorPulls::TagOnly];
        Self { of, pulls: pulls[drawn / 32 % 3] }
    }

    /// Adds the mirrors to a configuration.
    pub(super) fn configure(&self, config: &mut Config) {
        for (registry, mirrors) in self.of.iter().enumerate().filter(|(_, mirrors)| !mirrors.is_empty()) {
            let place = |registry: usize| format!("{}/{MIRRORED}", REGISTRIES[registry]);
            let mut entry = RegistryEntry::new(place(registry).parse().expect("the prefix is valid"));
            for mirror in mirrors {
                let location = place(*mirror).parse().expect("the location is valid");
                entry = entry.mirror(Mirror::new(location, self.pulls));
            }
            config.registries.set(entry);
        }
    }

    /// The registries that may be asked for the content of one: itself, and its mirrors.
    pub(super) fn sources(&self, registry: usize) -> Vec<usize> {
        [registry].into_iter().chain(self.of[registry].iter().copied()).collect()
    }

    /// Whether what they say about tags is not trusted, so that their lies cannot change a result.
    pub(super) fn may_lie(&self) -> bool {
        self.pulls == MirrorPulls::DigestOnly
    }
}
