//! Printed values parse to the same value.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use oci_proto::header::InvalidHeader;

/// Parses a value, if `text` is valid, and compares it with its own text parsed again.
pub(super) fn read_back<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Debug + Display + PartialEq> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse().as_ref(), Ok(&value));
            Some(value)
        }
        Err(error) => {
            // The text may be long, but errors are meant for people.
            assert!(error.to_string().len() < 4096);
            None
        }
    }
}

/// Compares the elements of a list with their own text parsed again, one by one and together.
pub(super) fn read_list_back<T>(elements: &[T], parse: impl Fn(&[u8]) -> Result<Vec<T>, InvalidHeader>)
where
    T: Clone + Debug + Display + PartialEq,
{
    for element in elements {
        assert_eq!(parse(element.to_string().as_bytes()), Ok(vec![element.clone()]));
    }
    let together = elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(parse(together.as_bytes()).as_deref(), Ok(elements));
}
