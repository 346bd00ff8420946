//! The optional properties of a descriptor.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::manifest::error::{PathSegment, Violation};
use crate::manifest::keys::{AnnotationKey, Key as _, PlatformKey, Seen};
use crate::manifest::pass::{Pass, Purpose};
use crate::manifest::read::values::Text;
use crate::manifest::table::Property;

/// A descriptor's `platform`.
pub(super) struct InPlatform<'p, 'de>(pub(super) &'p mut Pass<'de>);

impl<'de> Visitor<'de> for InPlatform<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform: an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(pass) = self;
        let mut seen = Seen::new();
        while let Some(key) = seen.next::<PlatformKey, A>(&mut map, pass)? {
            let text = map.next_value_seed(Text);
            if let Some(text) = pass.within(PathSegment::Key(key.name()), text)? {
                let property = match key {
                    PlatformKey::Os => Property::Os,
                    PlatformKey::Architecture => Property::Architecture,
                    PlatformKey::Variant => Property::Variant,
                    PlatformKey::OsVersion => Property::OsVersion,
                };
                pass.note(property, text);
            }
        }
        Ok(())
    }
}

/// A descriptor's `annotations`, of which two are kept, or all those of a referrer.
pub(super) struct InAnnotations<'p, 'de>(pub(super) &'p mut Pass<'de>);

impl<'de> Visitor<'de> for InAnnotations<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations: an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(pass) = self;
        if pass.purpose == Purpose::Referrers {
            return all_annotations(pass, map);
        }
        let mut seen = Seen::new();
        while let Some(key) = seen.next_of_map::<AnnotationKey, A>(&mut map, pass)? {
            let text = map.next_value_seed(Text);
            if let Some(text) = pass.within(PathSegment::Key(key.name()), text)? {
                pass.note(property_of(key), text);
            }
        }
        Ok(())
    }
}

fn property_of(key: AnnotationKey) -> Property {
    match key {
        AnnotationKey::RefName => Property::RefName,
        AnnotationKey::ImageName => Property::ImageName,
    }
}

/// Keeps all annotations. Each must be a string, or null, which counts as absent.
fn all_annotations<'de, A: MapAccess<'de>>(pass: &mut Pass<'de>, mut map: A) -> Result<(), A::Error> {
    let mut keys = BTreeSet::new();
    // A key is never null.
    while let Some(Some(key)) = map.next_key_seed(Text)? {
        if keys.contains(&key) {
            return Err(pass.refuse(Violation::Duplicate(key.into())));
        }
        if let Some(value) = map.next_value_seed(Text)? {
            let known = AnnotationKey::of(&key);
            if known.is_none() {
                pass.note(Property::AnnotationKey, key.clone());
            }
            pass.note(known.map_or(Property::AnnotationValue, property_of), value);
        }
        keys.insert(key);
    }
    Ok(())
}

/// A descriptor's `urls`.
pub(super) struct InUrls<'p, 'de>(pub(super) &'p mut Pass<'de>);

impl<'de> Visitor<'de> for InUrls<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(pass) = self;
        for index in 0.. {
            let read = list.next_element_seed(Text);
            match pass.within(PathSegment::Index(index), read)? {
                None => break,
                Some(Some(text)) => pass.note(Property::Url, text),
                Some(None) => {
                    let null = Err(pass.refuse(Violation::Value("null is not a URL".into())));
                    return pass.within(PathSegment::Index(index), null);
                }
            }
        }
        Ok(())
    }
}

any_value! {
    InPlatform => (),
    InAnnotations => (),
    InUrls => (),
}
