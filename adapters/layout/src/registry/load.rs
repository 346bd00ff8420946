//! Reads everything in a registry's directory, at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread;

use oci_proto::layout::{BLOBS, Entry, INDEX, MARKER, blob_path};
use oci_proto::{Descriptor, Digest, Kind, Manifest, Part, Repository, Tag};

use crate::directory::Directory;
use crate::directory::kind::FileKind;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::layout::Layout;
use crate::registry::contents::{Loaded, RegistryContents};
use crate::registry::folder::RESERVED;
use crate::registry::holdings::{Held, Holdings, Listing};
use crate::writer::is_begun;

/// The maximum number of threads that read manifests, and the number of manifests for which one more is started.
const THREADS: usize = 8;
const PART: usize = 256;

/// Refuses a directory that is a layout itself. Its partial blobs are not those of a registry.
pub(super) fn refuse_layout(root: &Directory) -> Result<(), LayoutError> {
    let is_layout = [MARKER, INDEX].iter().any(|name| root.found(*name).is_ok());
    if is_layout { Err(LayoutError::new(root.path(), LayoutErrorKind::IsALayout)) } else { Ok(()) }
}

/// Finds all repositories in a directory, and what they have.
///
/// A process that was killed may have left names that would not survive a power failure. They are made durable, since
/// what is found is acknowledged from now on.
pub(super) fn load(root: &Directory) -> Result<(RegistryContents, Holdings), LayoutError> {
    let (mut contents, mut holdings) = (RegistryContents::default(), Holdings::new());
    let mut warnings = Vec::new();
    root.sync()?;
    visit(root, &mut warnings, |repository, directory, warnings| {
        directory.sync()?;
        if is_layout(directory)? {
            let (loaded, held) = Loading::of(directory.clone(), warnings)?.load()?;
            holdings.insert(repository.clone(), held);
            contents.repositories.insert(repository.clone(), loaded);
        }
        Ok(())
    })?;
    contents.warnings = warnings;
    Ok((contents, holdings))
}

/// Visits all directories whose path can be the name of a repository, parents first. Adds links and other directories
/// to the warnings.
pub(super) fn visit(
    root: &Directory,
    warnings: &mut Vec<LayoutError>,
    mut each: impl FnMut(&Repository, &Directory, &mut Vec<LayoutError>) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    // A directory is opened when it is visited: there may be more of them than a process can open.
    let mut pending = vec![None::<(Directory, String, Repository)>];
    while let Some(next) = pending.pop() {
        let (directory, repository) = match next {
            None => (root.clone(), None),
            Some((parent, name, repository)) => {
                let directory = parent.directory(&name)?;
                each(&repository, &directory, warnings)?;
                (directory, Some(repository))
            }
        };
        let mut names = directory.names()?;
        // The last one is visited first.
        names.sort_unstable_by(|a, b| b.cmp(a));
        for found in names {
            let name = found.to_string_lossy();
            // These are the layout's, the storage's, or of no concern.
            if RESERVED.contains(&&*name) || name.starts_with('.') {
                continue;
            }
            let path = match &repository {
                Some(repository) => format!("{repository}/{name}"),
                None => name.to_string(),
            };
            match (directory.found(&found)?.0, path.parse()) {
                (FileKind::Directory, Ok(inner)) => {
                    pending.push(Some((directory.clone(), name.into_owned(), inner)));
                }
                (kind @ (FileKind::Directory | FileKind::Link), _) => {
                    let kind = LayoutErrorKind::NotADirectory(match kind {
                        FileKind::Link => kind.describe(),
                        _ => "one whose name no repository can have",
                    });
                    warnings.push(directory.wrong(&found, kind));
                }
                (FileKind::File | FileKind::Other, _) => {}
            }
        }
    }
    Ok(())
}

/// Whether a directory is a layout. One that was only begun before a crash is none, and the next push completes it.
pub(super) fn is_layout(directory: &Directory) -> Result<bool, LayoutError> {
    let missing = match directory.found(MARKER) {
        Ok(_) => return Ok(true),
        Err(error) if error.is_missing() => error,
        Err(error) => return Err(error),
    };
    let is_begun = |name: &&str| directory.found(*name).is_err() || is_begun(directory, name);
    if [BLOBS, INDEX].iter().all(is_begun) { Ok(false) } else { Err(missing) }
}

/// The loading of one layout.
struct Loading<'a> {
    directory: Directory,
    layout: Layout,
    loaded: Loaded,
    held: BTreeMap<Digest, Held>,
    /// The directories of blobs, by algorithm: opening them for each manifest would take longer than reading it.
    algorithms: BTreeMap<String, Directory>,
    /// Configs and layers, which are blobs even if they are manifests, too.
    parts: BTreeSet<Digest>,
    missing: BTreeSet<Digest>,
    /// The roots that were read before they are visited.
    read: BTreeMap<Digest, Manifest>,
    warnings: &'a mut Vec<LayoutError>,
}

impl<'a> Loading<'a> {
    fn of(directory: Directory, warnings: &'a mut Vec<LayoutError>) -> Result<Self, LayoutError> {
        let layout = Layout::of(directory.clone().into())?;
        let algorithms = algorithms(&directory)?;
        if !algorithms.is_empty() {
            directory.directory(BLOBS)?.sync()?;
        }
        algorithms.values().try_for_each(Directory::sync)?;
        let held = blobs(&algorithms)?;
        let loaded = Loaded::default();
        let (parts, missing, read) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { directory, layout, loaded, held, algorithms, parts, missing, read, warnings })
    }

    fn load(mut self) -> Result<(Loaded, BTreeMap<Digest, Held>), LayoutError> {
        let layout = self.layout.clone();
        self.read = self.read_roots()?;
        let mut tags: BTreeMap<Tag, BTreeSet<Digest>> = BTreeMap::new();
        for entry in layout.roots() {
            let is_present = self.root(entry)?;
            let Some(name) = entry.ref_name().filter(|_| is_present) else { continue };
            match name.parse() {
                Ok(tag) => _ = tags.entry(tag).or_default().insert(entry.descriptor().digest.clone()),
                Err(_) => self.warn(format!("`{}` is no tag", name.escape_debug())),
            }
        }
        self.children()?;
        for digest in std::mem::take(&mut self.missing) {
            self.warnings.push(self.directory.wrong(blob_path(&digest), LayoutErrorKind::Missing));
        }
        for (tag, digests) in tags {
            match digests.first() {
                Some(digest) if digests.len() == 1 => {
                    self.loaded.tags.entry(digest.clone()).or_default().push(tag);
                }
                _ => self.warn(format!("`{tag}` is the name of several roots, and so no tag")),
            }
        }
        for (digest, held) in &mut self.held {
            let listing = held.manifest.as_ref();
            held.is_blob = listing.is_none() || self.parts.contains(digest);
            // A child of another manifest may have been pushed as a blob.
            if held.is_blob || listing.is_some_and(|listing| !listing.is_listed) {
                self.loaded.blobs.push((digest.clone(), held.size));
            }
        }
        Ok((self.loaded, self.held))
    }

    /// Warns about `index.json`.
    fn warn(&mut self, problem: String) {
        self.warnings.push(self.directory.wrong(INDEX, std::io::Error::other(problem)));
    }

    /// Reads all roots whose entries say that they are manifests, on several threads if there are many.
    fn read_roots(&self) -> Result<BTreeMap<Digest, Manifest>, LayoutError> {
        let roots = self.layout.roots().iter().map(Entry::descriptor);
        let is_manifest = |root: &&Descriptor| {
            let is_whole = self.held.get(&root.digest).is_some_and(|held| held.size == root.size);
            is_whole && root.media_type.kind() != Kind::Other
        };
        let mut seen = BTreeSet::new();
        let roots: Vec<_> = roots.filter(is_manifest).filter(|root| seen.insert(&root.digest)).collect();
        let read = |part: &[&Descriptor]| -> Result<Vec<_>, LayoutError> {
            part.iter().map(|root| Ok((root.digest.clone(), self.manifest(root)?))).collect()
        };
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS);
        let (own, others) = roots.split_at(roots.len().div_ceil(threads).max(PART).min(roots.len()));
        thread::scope(|scope| {
            let mut started = Vec::new();
            for part in others.chunks(own.len().max(1)) {
                started.push((part, thread::Builder::new().spawn_scoped(scope, || read(part))));
            }
            let mut all: BTreeMap<_, _> = read(own)?.into_iter().collect();
            for (part, thread) in started {
                all.extend(match thread {
                    Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic))?,
                    // The system has no more threads.
                    Err(_) => read(part)?,
                });
            }
            Ok(all)
        })
    }

    /// Reads a root. Returns whether it exists.
    fn root(&mut self, entry: &Entry) -> Result<bool, LayoutError> {
        let root = entry.descriptor();
        let held = self.held.get(&root.digest).filter(|held| held.size == root.size);
        if held.is_some_and(|held| held.manifest.is_some()) {
            return Ok(true);
        }
        let root = if held.is_some() && !root.media_type.is_generic() {
            root.clone()
        } else {
            match self.layout.resolve_entry(entry) {
                Ok(root) => root,
                Err(error) if error.is_missing() => {
                    self.missing.insert(root.digest.clone());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        };
        if root.media_type.kind() == Kind::Other {
            self.parts.insert(root.digest.clone());
            self.list(&root, true);
            self.loaded.others.push(root);
        } else {
            let manifest = self.read.remove(&root.digest).map_or_else(|| self.manifest(&root), Ok)?;
            self.list(&root, true);
            self.loaded.manifests.push((root.digest, manifest));
        }
        Ok(true)
    }

    /// Visits what the manifests refer to, and reads the manifests among that which are no roots.
    fn children(&mut self) -> Result<(), LayoutError> {
        let mut next = 0;
        while let Some((_, manifest)) = self.loaded.manifests.get(next) {
            let manifest = manifest.clone();
            next += 1;
            for (part, child) in manifest.children() {
                let Some(held) = self.held.get(child.digest()) else {
                    if !child.media_type().is_nondistributable() {
                        self.missing.insert(child.digest().clone());
                    }
                    continue;
                };
                match part {
                    Part::Config | Part::Layer(_) => _ = self.parts.insert(child.digest().clone()),
                    Part::Entry(_)
                        if child.media_type().kind() != Kind::Other
                            && held.manifest.is_none()
                            && held.size == child.size() =>
                    {
                        self.child(&child.to_owned())?;
                    }
                    Part::Entry(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Reads a manifest that is no root. A client may have pushed an index with an entry that is wrong, so anything but
    /// damaged content is a blob.
    fn child(&mut self, child: &Descriptor) -> Result<(), LayoutError> {
        let manifest: Manifest = match self.manifest(child) {
            Ok(manifest) => manifest,
            Err(error) if matches!(error.kind(), LayoutErrorKind::Content(_) | LayoutErrorKind::Io(_)) => {
                return Err(error);
            }
            Err(_) => return Ok(()),
        };
        self.list(child, false);
        self.loaded.manifests.push((child.digest.clone(), manifest));
        Ok(())
    }

    fn manifest(&self, root: &Descriptor) -> Result<Manifest, LayoutError> {
        let digest = &root.digest;
        let wrong = |kind| self.layout.wrong(digest, kind);
        let directory = self.algorithms.get(digest.algorithm_name());
        let directory = directory.ok_or_else(|| wrong(LayoutErrorKind::Missing))?;
        let bytes = directory.read(&digest.encoded(), self.layout.limits().manifest_bytes)?;
        Manifest::verified(bytes, root, None).map_err(|error| wrong(error.into()))
    }

    fn list(&mut self, root: &Descriptor, is_listed: bool) {
        let Descriptor { media_type, digest, size, .. } = root.clone();
        let held = self.held.entry(digest).or_insert(Held { size, is_blob: false, manifest: None });
        held.manifest = Some(Listing { media_type, is_listed });
    }
}

/// The directories of blobs in a layout, by algorithm. Anything else in their place is ignored.
pub(super) fn algorithms(layout: &Directory) -> Result<BTreeMap<String, Directory>, LayoutError> {
    let mut found = BTreeMap::new();
    let blobs = match layout.directory(BLOBS) {
        Ok(blobs) => blobs,
        Err(error) if error.is_missing() => return Ok(found),
        Err(error) => return Err(error),
    };
    for name in blobs.names()? {
        if let Some(name) = name.to_str()
            && let Ok(directory) = blobs.directory(name)
        {
            found.insert(name.to_owned(), directory);
        }
    }
    Ok(found)
}

/// The files of blobs and manifests. Anything else in their place is ignored.
pub(super) fn blobs(algorithms: &BTreeMap<String, Directory>) -> Result<BTreeMap<Digest, Held>, LayoutError> {
    let mut found = BTreeMap::new();
    for (algorithm, directory) in algorithms {
        for name in directory.names()? {
            if let Some(digest) = name.to_str().and_then(|name| format!("{algorithm}:{name}").parse().ok())
                && let Ok((FileKind::File, size)) = directory.found(&name)
            {
                found.insert(digest, Held { size, is_blob: true, manifest: None });
            }
        }
    }
    Ok(found)
}
