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

impl<'de> Pass<'de> {
    /// Keeps the text of a document's own `annotations`. Anything but an object counts as absent.
    pub(super) fn own_annotations(&mut self, text: &'de str) {
        if text.starts_with('{') {
            self.document.table.annotations = Some(self.span(Property::Annotations, text.into()));
        }
    }

    /// Keeps the text of a descriptor's `annotations`, and two of them by themselves, too.
    pub(super) fn annotations<E: Error>(&mut self, text: &'de str) -> Result<(), E> {
        if text.starts_with('{') {
            self.note(Property::Annotations, text.into());
        }
        serde_json::Deserializer::from_str(text).deserialize_any(InAnnotations(self)).map_err(|error| {
            // Its place in that part misleads.
            let why = error.to_string();
            E::custom(why.rsplit_once(" at line ").map_or(&*why, |(why, _)| why))
        })
    }
}

/// The members of a descriptor's `annotations`.
struct InAnnotations<'p, 'de>(&'p mut Pass<'de>);

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
            return check_annotations(pass, map);
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

/// Checks all annotations. Each must be a string, or null, which counts as absent.
fn check_annotations<'de, A: MapAccess<'de>>(pass: &mut Pass<'de>, mut map: A) -> Result<(), A::Error> {
    let mut keys = BTreeSet::new();
    // A key is never null.
    while let Some(Some(key)) = map.next_key_seed(Text)? {
        if keys.contains(&key) {
            return Err(pass.refuse(Violation::Duplicate(key.into())));
        }
        map.next_value_seed(Text)?;
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
    InUrls => (),
}
