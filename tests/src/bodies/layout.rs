//! The bodies of the fuzz targets for image layouts.

use std::collections::BTreeMap;
use std::ffi::OsString;

use bytes::Bytes;
use oci_proto::layout::{Index, RefName, Root, check_marker};
use oci_proto::{Algorithm, Checker, Descriptor, Digest, Limits, MediaType};
use oci_proto_layout::{ArchiveReference, LayoutReference};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bodies::round_trip::read_back;

/// An index that parses is written as the same value, and identically each time; a root that is set is found;
/// and a check of it requests no content twice.
pub fn layout_index(data: &[u8]) {
    let index = match Index::read(Bytes::copy_from_slice(data)) {
        Ok(index) => index,
        Err(error) => {
            // The document may be long, but errors are meant for people.
            assert!(error.to_string().len() < 4096);
            return;
        }
    };
    let written = index.to_bytes();
    let read_again =
        |bytes: &[u8]| Index::read(Bytes::copy_from_slice(bytes)).expect("a written index parses");
    assert_eq!(read_again(&written).to_bytes(), written);
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert_eq!(serde_json::from_slice::<Value>(&written).expect("it is JSON"), value);
    }

    let name: RefName = "set-by-the-test".parse().expect("the constant is a valid name");
    let digest = Digest::of(Algorithm::Sha256, data);
    let root = Descriptor::new(MediaType::OCI_INDEX, digest, data.len() as u64);
    let mut changed = index.clone();
    changed.set(&root, Some(&name));
    let changed = read_again(&changed.to_bytes());
    let found = changed.find(&Root::Named(name.clone())).expect("the root was set");
    assert_eq!(found.descriptor().digest, root.digest);
    let others = |of: &Index| -> Vec<_> {
        let others = of.entries().iter().filter(|entry| entry.ref_name() != Some(name.as_str()));
        others.map(|entry| entry.descriptor().clone()).collect()
    };
    assert_eq!(others(&changed), others(&index), "other entries are unchanged");

    let mut audit = Checker::new(&Limits::default());
    for (n, entry) in index.entries().iter().enumerate() {
        audit.add_layout_entry(n, entry);
    }
    let mut asked = Vec::new();
    while let Some(item) = audit.next_item() {
        let key = (item.descriptor.digest, item.descriptor.media_type, item.role);
        assert!(!asked.contains(&key), "{key:?} is requested twice");
        asked.push(key);
    }
}

/// A layout marker that parses has the supported version for other JSON parsers too.
pub fn layout_marker(data: &[u8]) {
    match check_marker(data) {
        Ok(()) => {
            // Not a `Value`, which cannot represent unbounded numbers and lone surrogates.
            let object: BTreeMap<String, &RawValue> =
                serde_json::from_slice(data).expect("a marker is a JSON object");
            let version: String =
                serde_json::from_str(object["imageLayoutVersion"].get()).expect("a version is a string");
            assert_eq!(version, "1.0.0");
        }
        Err(error) => assert!(error.to_string().len() < 4096),
    }
}

/// A layout reference prints as text that parses to the same value, and its path is a prefix of that text. So
/// does an archive reference.
pub fn layout_reference(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let _: Option<RefName> = read_back(text);
    }
    let Some(text) = os_text(data) else { return };
    let Ok(reference) = LayoutReference::parse(&text) else { return };
    let rest = data.strip_prefix(b"oci:").expect("every layout reference begins with it");
    let folder = reference.directory().as_os_str().as_encoded_bytes();
    assert!(!folder.is_empty() && rest.starts_with(folder), "{reference}");
    if str::from_utf8(data).is_ok() {
        assert_eq!(reference.to_string().as_bytes(), data);
    }
    match (reference.root(), &rest[folder.len()..]) {
        (Root::Only, []) => {}
        (Root::Named(name), [b':', named @ ..]) => assert_eq!(name.as_str().as_bytes(), named),
        (Root::Digest(digest), [b'@', named @ ..]) => assert_eq!(digest.to_string().as_bytes(), named),
        (root, named) => panic!("{root:?} of {named:?}"),
    }
    let text = os_text(&[b"oci-archive:", rest].concat()).expect("its parts are valid");
    let archive = ArchiveReference::parse(&text).expect("the same text follows the prefix");
    assert_eq!((archive.file(), archive.root()), (reference.directory(), reference.root()));
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "on other systems not all bytes are valid in paths")]
fn os_text(bytes: &[u8]) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
}

#[cfg(not(unix))]
fn os_text(bytes: &[u8]) -> Option<OsString> {
    str::from_utf8(bytes).ok().map(Into::into)
}
