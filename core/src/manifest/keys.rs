//! The known keys at each level of a document, and the strict handling of all others.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::manifest::error::Violation;
use crate::manifest::pass::Pass;

/// The known keys at one level.
pub(super) trait Key: Copy + 'static {
    const ALL: &'static [Self];
    fn of(text: &str) -> Option<Self>;
    fn name(self) -> &'static str;
    fn bit(self) -> u8;
}

macro_rules! keys {
    ($(#[$doc:meta])* $level:ident { $($key:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        // As wide as the load that follows: a narrower store would stall it.
        #[derive(Clone, Copy)]
        #[repr(usize)]
        pub(super) enum $level { $($key),+ }

        impl Key for $level {
            const ALL: &'static [Self] = &[$(Self::$key),+];

            fn of(text: &str) -> Option<Self> {
                match text {
                    $($name => Some(Self::$key),)+
                    _ => None,
                }
            }

            fn name(self) -> &'static str {
                match self { $(Self::$key => $name),+ }
            }

            fn bit(self) -> u8 {
                1 << self as usize
            }
        }
    };
}

keys! {
    /// Keys of the document.
    TopKey {
        SchemaVersion = "schemaVersion",
        MediaType = "mediaType",
        ArtifactType = "artifactType",
        Config = "config",
        Layers = "layers",
        Manifests = "manifests",
        Subject = "subject",
        Annotations = "annotations",
    }
}

keys! {
    /// Keys of a descriptor.
    DescriptorKey {
        MediaType = "mediaType",
        Digest = "digest",
        Size = "size",
        Platform = "platform",
        Annotations = "annotations",
        ArtifactType = "artifactType",
        Data = "data",
        Urls = "urls",
    }
}

keys! {
    /// Keys of a platform.
    PlatformKey {
        Architecture = "architecture",
        Os = "os",
        Variant = "variant",
        OsVersion = "os.version",
    }
}

keys! {
    /// Keys of annotations. They form a map, whose keys parsers treat as case-sensitive.
    AnnotationKey {
        RefName = "org.opencontainers.image.ref.name",
        ImageName = "io.containerd.image.name",
    }
}

/// The keys of one object seen so far.
pub(super) struct Seen<'de> {
    known: u8,
    /// `None` until the first unknown key, which most objects lack.
    unknown: Option<BTreeSet<Cow<'de, str>>>,
}

impl<'de> Seen<'de> {
    pub(super) fn new() -> Self {
        Self { known: 0, unknown: None }
    }

    pub(super) fn has(&self, key: impl Key) -> bool {
        self.known & key.bit() != 0
    }

    /// Returns the next known key, skipping unknown keys and their values.
    ///
    /// Rejects duplicate keys, and keys that differ only in case from a known one.
    pub(super) fn next<K: Key, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        pass: &mut Pass<'de>,
    ) -> Result<Option<K>, A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed::<K>(PhantomData))? {
            match key {
                Ok(key) => {
                    self.record(key, pass)?;
                    return Ok(Some(key));
                }
                Err(text) => {
                    if let Some(known) = K::ALL.iter().find(|key| eq_ignore_case(&text, key.name())) {
                        return Err(pass.refuse(Violation::Case { key: text.into(), known: known.name() }));
                    }
                    if let Some(text) = self.unknown.get_or_insert_default().replace(text) {
                        return Err(pass.refuse(Violation::Duplicate(text.into())));
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(None)
    }

    /// Returns the next known key of a map. Unknown keys are not checked.
    pub(super) fn next_of_map<K: Key, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        pass: &mut Pass<'de>,
    ) -> Result<Option<K>, A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed::<K>(PhantomData))? {
            if let Ok(key) = key {
                self.record(key, pass)?;
                return Ok(Some(key));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn record<E: Error>(&mut self, key: impl Key, pass: &mut Pass<'de>) -> Result<(), E> {
        if self.has(key) {
            return Err(pass.refuse(Violation::Duplicate(key.name().into())));
        }
        self.known |= key.bit();
        Ok(())
    }
}

struct KeySeed<K>(PhantomData<K>);

impl<'de, K: Key> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Result<K, Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: Key> Visitor<'de> for KeySeed<K> {
    type Value = Result<K, Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(K::of(text).ok_or(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(K::of(text).ok_or_else(|| Cow::Owned(text.to_owned())))
    }
}

/// Returns whether a case-insensitive parser treats the two as equal. Some non-ASCII letters have an
/// ASCII letter as their other case.
pub(crate) fn eq_ignore_case(text: &str, known: &str) -> bool {
    let folded = text.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        c => c.to_ascii_lowercase(),
    });
    known.chars().map(|c| c.to_ascii_lowercase()).eq(folded)
}
