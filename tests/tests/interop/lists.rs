//! Both adapters list and delete content of docker-registry.

use oci_proto::{Reference, Registry};
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{Pusher, Sample};

use crate::support::{REPOSITORY, filled, root};

#[test]
fn content_is_listed_and_deleted() {
    let sample = Sample::nested();
    for adapter in adapters() {
        let Some(registry) = filled(&sample) else { return };
        let address = registry.address();
        let name = adapter.name();
        let mut pusher = Pusher::new(address, REPOSITORY, &sample.memory);
        for tag in ["1.0", "1.1", "2"] {
            pusher.push(tag, &sample.root).unwrap();
        }
        let tag = |tag: &str| -> Reference { format!("{address}/{REPOSITORY}:{tag}").parse().unwrap() };
        let root = root(address).at(sample.root.digest.clone());
        let blob = root.at(sample.blobs[0].digest.clone());

        for page_size in [None, 2.try_into().ok(), 4.try_into().ok()] {
            let mut tags = Vec::new();
            let left_out = adapter.tags(&root, page_size, &mut |tag| tags.push(tag.to_string())).unwrap();
            // Some versions do not sort them.
            tags.sort();
            assert_eq!(
                (&tags[..], left_out),
                (&["1.0", "1.1", "2", "latest"].map(str::to_owned)[..], 0),
                "{name}"
            );
        }
        let at: Registry = address.to_string().parse().unwrap();
        let mut repositories = Vec::new();
        adapter.repositories(&at, None, &mut |found| repositories.push(found.to_string())).unwrap();
        assert_eq!(repositories, [REPOSITORY], "{name}");
        let mut referrers = Vec::new();
        adapter.referrers(&tag("2"), None, &mut |found| referrers.push(found)).unwrap();
        assert_eq!(referrers, [], "{name}");

        for (reference, is_blob, expected) in
            [(&tag("2"), false, true), (&tag("3"), false, false), (&root, false, true), (&blob, true, true)]
        {
            assert_eq!(adapter.exists(reference, is_blob).unwrap(), expected, "{name}: {reference}");
        }

        // It deletes no tags, and is left as it was.
        let error = adapter.delete(&tag("2"), false).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("deletes no single tags"), "{name}: {error}; {hint}");
        assert!(adapter.exists(&root, false).unwrap(), "{name}");

        adapter.delete(&root, false).unwrap();
        assert!(!adapter.exists(&tag("2"), false).unwrap(), "{name}: a tag outlives its manifest");
        assert!(adapter.delete(&root, false).unwrap_err().is_not_found(), "{name}");
        adapter.delete(&blob, true).unwrap();
        assert!(!adapter.exists(&blob, true).unwrap(), "{name}");
        assert!(adapter.delete(&blob, true).unwrap_err().is_not_found(), "{name}");
    }
}
