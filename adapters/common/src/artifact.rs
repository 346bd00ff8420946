//! Artifacts: files with a type, as trees to push.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use oci_proto::build::{Annotations, BuildError, Child, Document};
use oci_proto::{Algorithm, Descriptor, Digest, Error, MediaType};

use crate::source::{BlobSource, FileSource, TreeSource};

/// The annotation of a file's name.
///
/// Source: image-spec, annotations.md, "Pre-Defined Annotation Keys".
const TITLE: &str = "org.opencontainers.image.title";

/// An artifact: files, with a type and annotations.
///
/// Each file becomes a layer, annotated with its name as `org.opencontainers.image.title`, from which other tools
/// restore the files. The same files make the same artifact: it contains neither times nor paths.
///
/// A client's `attach` pushes it with a subject. Without a subject, [`build`](Self::build) returns what a client's
/// `push` takes:
///
/// ```
/// use oci_proto_common::Artifact;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("sbom.spdx.json");
/// # std::fs::write(&path, "{}")?;
/// let mut artifact = Artifact::new("application/spdx+json".parse()?);
/// artifact.add_file(&path, "application/spdx+json".parse()?)?;
/// let (root, tree) = artifact.build(None)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: image-spec, manifest.md, "Guidelines for Artifact Usage".
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The type, unless it is that of the config.
    explicit_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Vec<Child>,
    /// The names of the layers' files.
    names: Vec<String>,
    annotations: Annotations,
    files: BTreeMap<Digest, FileSource>,
}

impl Artifact {
    /// Starts an artifact of this type, without files.
    pub fn new(artifact_type: MediaType) -> Self {
        Self { explicit_type: Some(artifact_type), ..Self::without_type() }
    }

    /// Starts an artifact whose type is the media type of its config. The file is read, to compute its digest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_config(path: impl AsRef<Path>, media_type: MediaType) -> io::Result<Self> {
        let mut artifact = Self::without_type();
        artifact.set_config(path, media_type)?;
        Ok(artifact)
    }

    /// Sets the config, which is empty by default. The file is read, to compute its digest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn set_config(&mut self, path: impl AsRef<Path>, media_type: MediaType) -> io::Result<()> {
        self.config = Some(self.describe(path.as_ref(), media_type)?);
        Ok(())
    }

    /// Adds a file. It is read, to compute its digest, and read again while it is sent.
    ///
    /// # Errors
    /// The file cannot be read, its name is not Unicode, or another file of the artifact has the same name.
    pub fn add_file(&mut self, path: impl AsRef<Path>, media_type: MediaType) -> io::Result<()> {
        let path = path.as_ref();
        let invalid =
            |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()));
        let name = path.file_name().ok_or_else(|| invalid("the path does not end in the name of a file"))?;
        let name = name.to_str().ok_or_else(|| invalid("the name is not Unicode"))?;
        if self.names.iter().any(|other| other == name) {
            return Err(invalid("the artifact has another file of this name"));
        }
        let descriptor = self.describe(path, media_type)?;
        let mut annotations = Annotations::new();
        annotations.insert(TITLE, name).map_err(|error| invalid(&error.to_string()))?;
        self.layers.push(Child::from(descriptor).annotations(annotations));
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Sets the annotations of the artifact itself.
    #[must_use]
    pub fn annotations(mut self, annotations: Annotations) -> Self {
        self.annotations = annotations;
        self
    }

    /// Builds the manifest, with or without a subject. Returns its descriptor, and the tree to push.
    ///
    /// # Errors
    /// The manifest would be larger than [`Document::MAX_LEN`].
    pub fn build(self, subject: Option<&Descriptor>) -> Result<(Descriptor, ArtifactTree), Box<BuildError>> {
        let mut document = Document::image(self.config.unwrap_or_else(Descriptor::empty));
        if let Some(artifact_type) = self.explicit_type {
            document = document.artifact_type(artifact_type);
        }
        if let Some(Descriptor { media_type, digest, size, .. }) = subject {
            // What else is known of it, such as its platform, is not part of a reference to it.
            document = document.subject(Descriptor::new(media_type.clone(), digest.clone(), *size));
        }
        document = self.layers.into_iter().fold(document, Document::entry).annotations(self.annotations);
        let (root, manifest) = document.build()?;
        let document = manifest.bytes().clone();
        Ok((root.clone(), ArtifactTree { root: root.digest, document, files: self.files }))
    }

    fn without_type() -> Self {
        Self {
            explicit_type: None,
            config: None,
            layers: Vec::new(),
            names: Vec::new(),
            annotations: Annotations::new(),
            files: BTreeMap::new(),
        }
    }

    fn describe(&mut self, path: &Path, media_type: MediaType) -> io::Result<Descriptor> {
        let file = FileSource::open(path)?;
        let descriptor = file.describe(media_type, Algorithm::Sha256)?;
        self.files.insert(descriptor.digest.clone(), file);
        Ok(descriptor)
    }
}

/// The manifest and the files of an [`Artifact`].
#[derive(Clone, Debug)]
pub struct ArtifactTree {
    root: Digest,
    document: Bytes,
    files: BTreeMap<Digest, FileSource>,
}

impl TreeSource for ArtifactTree {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        if descriptor.digest == self.root { Ok(self.document.clone()) } else { Err(missing(descriptor)) }
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        if let Some(file) = self.files.get(&descriptor.digest) {
            return Ok(Box::new(file.clone()));
        }
        let empty = Descriptor::empty();
        match empty.data.filter(|_| descriptor.digest == empty.digest) {
            Some(data) => Ok(Box::new(data)),
            None => Err(missing(descriptor)),
        }
    }
}

fn missing(descriptor: &Descriptor) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not in the artifact", descriptor.digest))
}

/// Why an artifact was not attached.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The manifest cannot be built.
    #[error(transparent)]
    Build(#[from] Box<BuildError>),
    /// An error of the registry, the network or the files.
    #[error(transparent)]
    Registry(#[from] Error),
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use oci_proto::Manifest;

    use super::*;

    fn media_type(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    #[test]
    fn files_become_layers_with_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let mut artifact = Artifact::new(media_type("a/b"));
        artifact.add_file(path("x:y", "first"), media_type("text/plain")).unwrap();
        artifact.add_file(path("empty", ""), media_type("text/x")).unwrap();
        let mut annotations = Annotations::new();
        annotations.insert("k", "v").unwrap();
        let mut subject = Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(Algorithm::Sha256, b"s"), 1);
        subject.platform = Some("linux/arm64".parse().unwrap());
        let (root, tree) = artifact.annotations(annotations).build(Some(&subject)).unwrap();

        let document = tree.document(&root).unwrap();
        let text = String::from_utf8(document.to_vec()).unwrap();
        for expected in [
            r#""artifactType":"a/b""#,
            r#""org.opencontainers.image.title":"x:y""#,
            r#""annotations":{"k":"v"}}"#,
            &format!(r#""digest":"{}","size":1}},"#, subject.digest),
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        let manifest = Manifest::verified(document, &root, None).unwrap();
        let mut contents = Vec::new();
        for (_, child) in manifest.children() {
            let child = child.to_owned();
            if child.digest == subject.digest {
                continue;
            }
            let mut content = String::new();
            let blob = tree.blob(&child).unwrap();
            blob.open(0..child.size).unwrap().read_to_string(&mut content).unwrap();
            contents.push(content);
        }
        assert_eq!(contents, ["{}", "first", ""]);
        assert!(tree.blob(&subject).is_err() && tree.document(&subject).is_err());
    }

    #[test]
    fn two_files_of_one_name_are_an_error() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut artifact = Artifact::new(media_type("a/b"));
        let added = directories.each_ref().map(|directory| {
            let path = directory.path().join("same");
            std::fs::write(&path, "content").unwrap();
            artifact.add_file(path, media_type("text/plain")).map_err(|error| error.to_string())
        });
        assert_eq!(added[0], Ok(()));
        assert!(added[1].as_ref().unwrap_err().contains("another file of this name"), "{added:?}");
        assert!(artifact.add_file("/", media_type("text/plain")).is_err());
    }
}
