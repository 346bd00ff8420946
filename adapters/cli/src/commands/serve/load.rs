//! The registry that serves a layout.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use oci_proto::layout::Root;
use oci_proto::server::{AddError, Policy, Server};
use oci_proto::{Descriptor, Digest, Repository, Tag};
use oci_proto_layout::{Layout, LayoutErrorKind};

use crate::args::layout_name::LayoutName;
use crate::output::{Failure, count};

/// The content of a layout, added to a server.
pub(super) struct Loaded {
    pub(super) server: Server,
    pub(super) roots: Vec<ServedRoot>,
    /// The content that the layout lacks.
    pub(super) missing: BTreeSet<Digest>,
}

/// A root, and the repository and tag it is served under.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServedRoot {
    pub(super) repository: Repository,
    pub(super) tag: Option<Tag>,
    pub(super) root: Descriptor,
}

/// Adds all roots of a layout, or one of them, to a new server.
pub(super) fn load(
    layout: &Layout,
    name: &LayoutName,
    repository: &Repository,
    policy: Policy,
) -> Result<Loaded, Failure> {
    let mut roots = served_roots(layout, name, repository)?;
    let mut by_repository: BTreeMap<&Repository, Vec<_>> = BTreeMap::new();
    for ServedRoot { repository, tag, root } in &roots {
        by_repository.entry(repository).or_default().push((tag.as_ref(), root));
    }
    // No upload begins, so nothing is derived from the seed.
    let mut server = Server::with_policy(policy, 0);
    let mut missing = BTreeSet::new();
    for (repository, roots) in by_repository {
        let skipped = server.add_sparse(repository, roots, layout).map_err(|error| {
            Failure::failed(error).with_hint(format!("run `ocip check {}` to list all problems", name.form()))
        })?;
        missing.extend(skipped.iter().map(AddError::digest).cloned());
    }
    roots.retain(|served| !missing.contains(&served.root.digest));
    Ok(Loaded { server, roots, missing })
}

/// A line about missing content.
pub(super) fn note(missing: &BTreeSet<Digest>, name: &LayoutName) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = missing.iter().take(SHOWN).map(Digest::to_string).collect();
    let more = match missing.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the layout lacks {}, which will be 404: {}{more}; `ocip check {}` lists where they belong",
        count(missing.len() as u64, "item"),
        shown.join(", "),
        name.form(),
    )
}

fn served_roots(
    layout: &Layout,
    name: &LayoutName,
    repository: &Repository,
) -> Result<Vec<ServedRoot>, Failure> {
    let (asked, form) = (name.root(), name.form());
    let roots = layout.roots().iter().zip(layout.names());
    let named: Vec<_> = roots.filter(|(entry, _)| asked.is_named_by(entry)).collect();
    if named.is_empty() && *asked != Root::Only {
        let root = layout.resolve(asked, None).map_err(|error| Failure::of_layout(&error))?;
        return Ok(vec![ServedRoot { repository: repository.clone(), tag: None, root }]);
    }
    let mut served: Vec<ServedRoot> = Vec::new();
    let mut tagged: BTreeMap<(Repository, Tag), Digest> = BTreeMap::new();
    for (entry, name) in &named {
        let root = match layout.resolve_entry(entry) {
            Ok(root) => root,
            // One of several may be missing, like any other content; one that was asked for may not.
            Err(error) if *asked == Root::Only && matches!(error.kind(), LayoutErrorKind::Missing) => {
                entry.descriptor().clone()
            }
            Err(error) => return Err(Failure::of_layout(&error)),
        };
        let (repository, tag) = match name {
            Some(name) => repository_and_tag(name, repository),
            None => (repository.clone(), (named.len() == 1).then(Tag::latest)),
        };
        if let Some(tag) = &tag {
            match tagged.entry((repository.clone(), tag.clone())) {
                Slot::Vacant(free) => _ = free.insert(root.digest.clone()),
                Slot::Occupied(same) if *same.get() == root.digest => continue,
                Slot::Occupied(_) => {
                    let error = format!("the layout gives the name {repository}:{tag} to several roots");
                    return Err(
                        Failure::failed(error).with_hint(format!("serve one of them with {form}@DIGEST"))
                    );
                }
            }
        }
        served.push(ServedRoot { repository, tag, root });
    }
    Ok(served)
}

/// The repository and tag for a name in a layout.
fn repository_and_tag(name: &str, repository: &Repository) -> (Repository, Option<Tag>) {
    if let Ok(tag) = name.parse() {
        return (repository.clone(), Some(tag));
    }
    let (longer, tag) = match name.rsplit_once(':') {
        Some((longer, tag)) => (longer.parse(), tag.parse().ok()),
        None => (name.parse(), Some(Tag::latest())),
    };
    match (longer, tag) {
        (Ok(longer), Some(tag)) => (longer, Some(tag)),
        // Not a valid name in a registry: the root is served by its digest.
        _ => (repository.clone(), None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use oci_proto::server::{Flavour, Memory};
    use oci_proto::{Algorithm, MediaType};
    use oci_proto_layout::{LayoutReference, LayoutWriter};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_gives_repository_and_tag_if_it_is_valid_in_a_registry() {
        let repository: Repository = "app".parse().unwrap();
        for (name, expected) in [
            ("1.0", "app:1.0"),
            ("team/app:1.0", "team/app:1.0"),
            ("team/other", "team/other:latest"),
            ("docker.io/library/ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("localhost:5000/x:1", "app@"),
            ("Team/app:1", "app@"),
            ("a@sha256:0", "app@"),
            ("\u{e9}", "app@"),
        ] {
            let (repository, tag) = repository_and_tag(name, &repository);
            let shown = tag.map_or_else(|| format!("{repository}@"), |tag| format!("{repository}:{tag}"));
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn missing_content_is_listed_with_the_check_for_the_form_of_the_layout() {
        let digests = [b"1", b"2", b"3", b"4"].map(|text| Digest::of(Algorithm::Sha256, text));
        let missing = BTreeSet::from(digests);
        for (name, expected) in [
            ("oci:a", " and 1 more; `ocip check oci:DIR` lists where they belong"),
            ("oci-archive:a.tar", " and 1 more; `ocip check oci-archive:FILE` lists where they belong"),
        ] {
            let note = note(&missing, &LayoutName::parse(name.as_ref()).unwrap());
            assert!(note.starts_with("the layout lacks 4 items") && note.ends_with(expected), "{note}");
        }
    }

    /// A layout with one image, of this many names.
    fn layout_of(tags: usize) -> (tempfile::TempDir, Layout) {
        let home = tempfile::tempdir().unwrap();
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
        let writer = LayoutWriter::open(home.path()).unwrap();
        for (digest, content) in memory.contents() {
            let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
            writer.put(&descriptor, content).unwrap();
        }
        drop(writer);
        let entries: Vec<_> = (0..tags)
            .map(|n| {
                json!({
                    "mediaType": image.media_type.as_str(),
                    "digest": image.digest.to_string(),
                    "size": image.size,
                    "annotations": { "org.opencontainers.image.ref.name": format!("t{n}") },
                })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
        std::fs::write(home.path().join("index.json"), index).unwrap();
        let layout = Layout::open(home.path()).unwrap();
        (home, layout)
    }

    #[test]
    fn loading_takes_time_in_proportion_to_the_number_of_tags() {
        let repository = "app".parse().unwrap();
        let time = |tags: usize| {
            let (_home, layout) = layout_of(tags);
            let name = LayoutName::Directory(LayoutReference::new(layout.path(), Root::Only));
            let once = |()| {
                let began = Instant::now();
                let loaded = load(&layout, &name, &repository, Policy::default()).unwrap();
                assert_eq!((loaded.roots.len(), loaded.missing.len()), (tags, 0));
                began.elapsed()
            };
            // The minimum is the least disturbed by other programs.
            [(); 5].map(once).into_iter().min().unwrap()
        };
        let (few, many) = (time(1000), time(16_000));
        // 16 times as many; 256 times if each were compared with each.
        assert!(many < few * 64, "{few:?} for 1,000 tags, {many:?} for 16,000");
    }
}
