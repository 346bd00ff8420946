//! Lists of tags, repositories and referrers: their pages, and the way from one page to the next.
//!
//! Source: distribution-spec, "Listing Tags" (end-8a, end-8b) and "Listing Referrers" (end-12a, end-12b).

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::manifest::error::shortened;
use crate::types::reference::name::{Repository, Tag};

pub(crate) mod pages;
pub(crate) mod referrers;
pub(crate) mod referrers_index;
#[cfg(test)]
mod tests;

/// A name that registries list.
pub(crate) trait Listed: FromStr {
    /// The key of the list in the response, and what an error calls the entries.
    const KEY: &'static str;

    fn as_str(&self) -> &str;
}

impl Listed for Tag {
    const KEY: &'static str = "tags";

    fn as_str(&self) -> &str {
        self.as_str()
    }
}

impl Listed for Repository {
    const KEY: &'static str = "repositories";

    fn as_str(&self) -> &str {
        self.as_str()
    }
}

/// One page of a list of names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamesPage<T> {
    /// The valid names, in document order.
    pub(crate) names: Vec<T>,
    /// The number of entries that are not valid names.
    pub(crate) left_out: u64,
}

impl<T: Listed> NamesPage<T> {
    /// Parses a response body.
    ///
    /// A list that is missing or null is empty: registries written in Go send null for one without entries. If the
    /// key occurs twice, the last list counts.
    ///
    /// # Errors
    /// Fails if the body is not a JSON object, if the list is of another JSON type, or if the body has more than
    /// `max_entries` entries.
    pub(crate) fn parse(body: &[u8], max_entries: u64) -> Result<Self, Cause> {
        let mut reading = Reading { page: Self::empty(), room: max_entries, is_exceeded: false };
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = json.deserialize_map(Top(&mut reading)).and_then(|()| json.end());
        let Err(error) = read else { return Ok(reading.page) };
        if reading.is_exceeded {
            return Err(LimitExceeded::ListEntries(max_entries).into());
        }
        let problem = if body.trim_ascii_start().starts_with(b"<") {
            "the registry returned a web page instead: a proxy or login page may have intercepted the request, \
             or the host is not a registry"
                .to_owned()
        } else if error.is_data() {
            shortened(&error.to_string())
        } else {
            format!("it is not valid JSON: {}", shortened(&error.to_string()))
        };
        Err(Misbehaviour::List { of: T::KEY, problem }.into())
    }

    fn empty() -> Self {
        Self { names: Vec::new(), left_out: 0 }
    }
}

struct Reading<T> {
    page: NamesPage<T>,
    /// The number of further entries that the body may have, including those of a list that a later one replaces.
    room: u64,
    is_exceeded: bool,
}

/// The response.
struct Top<'p, T>(&'p mut Reading<T>);

impl<'de, T: Listed> Visitor<'de> for Top<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_list) = map.next_key_seed(IsKey(T::KEY))? {
            if is_list {
                self.0.page = NamesPage::empty();
                map.next_value_seed(List(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Whether a key is this one.
struct IsKey(&'static str);

impl<'de> DeserializeSeed<'de> for IsKey {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

/// The list.
struct List<'p, T>(&'p mut Reading<T>);

impl<'de, T: Listed> DeserializeSeed<'de> for List<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Listed> Visitor<'de> for List<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {}", T::KEY)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(Reading { page, room, is_exceeded }) = self;
        while let Some(name) = list.next_element_seed(Entry(PhantomData))? {
            if *room == 0 {
                *is_exceeded = true;
                return Err(A::Error::custom("too many entries"));
            }
            *room -= 1;
            match name {
                Some(name) => page.names.push(name),
                None => page.left_out += 1,
            }
        }
        Ok(())
    }
}

/// An entry of the list: any JSON value. The value is `None` if it is not a valid name.
struct Entry<T>(PhantomData<T>);

impl<'de, T: Listed> DeserializeSeed<'de> for Entry<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Listed> Visitor<'de> for Entry<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        Ok(text.parse().ok())
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
