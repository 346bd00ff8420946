//! The settings and operations of a transcript.

use std::fmt::Display;
use std::num::NonZeroUsize;

use http::uri::InvalidUri;
use oci_proto::{
    Algorithm, Config, Descriptor, MediaType, Mirror, MirrorPulls, OpId, PlainHttp, PullOptions, PushOptions,
    Reference, RegistryEntry, Repository, Session, WalkOptions,
};

use crate::transcript::parse::{Transcript, parse_duration};

/// A `start` step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// The operation.
    pub operation: Operation,
    /// Its reference.
    pub reference: Reference,
    /// The options of a walk; other operations use the platform only.
    pub walk: WalkOptions,
    /// Whether a pull fetches nondistributable layers.
    pub nondistributable: bool,
    /// Whether a pull fetches referrers.
    pub referrers: bool,
    /// The size of a blob, if known.
    pub size: Option<u64>,
    /// The descriptor of a blob, with embedded data.
    pub descriptor: Option<Descriptor>,
    /// The repository to mount uploaded blobs from.
    pub mount: Option<Repository>,
    /// The destination of a copy.
    pub to: Option<Reference>,
    /// The tags to set, and other options of a push or a copy.
    pub push: PushOptions,
    /// The algorithm of a stream's digest.
    pub algorithm: Algorithm,
    /// The size of a list's pages.
    pub page_size: Option<NonZeroUsize>,
    /// The artifact type of the referrers to list.
    pub artifact_type: Option<MediaType>,
}

/// The operations of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// `resolve`.
    Resolve,
    /// `manifest`.
    Manifest,
    /// `walk`.
    Walk,
    /// `pull`.
    Pull,
    /// `check`.
    Check,
    /// `blob`.
    Blob,
    /// `upload`.
    Upload,
    /// `upload_stream`.
    UploadStream,
    /// `push`.
    Push,
    /// `copy`.
    Copy,
    /// `tag`.
    Tag,
    /// `tags`.
    Tags,
    /// `repositories`, of the reference's registry.
    Repositories,
    /// `referrers`.
    Referrers,
    /// `delete`.
    Delete,
    /// `delete-blob`.
    DeleteBlob,
    /// `check_access`, of the reference's registry.
    CheckAccess,
    /// `exists`.
    Exists,
    /// `blob-exists`.
    BlobExists,
}

impl Start {
    /// Parses the rest of a `start` line.
    ///
    /// # Errors
    ///
    /// A word is invalid.
    pub fn parse(rest: &str) -> Result<Self, String> {
        let words: Vec<&str> = rest.split(' ').collect();
        let [verb, reference, options @ ..] = words.as_slice() else {
            return Err("start OPERATION REFERENCE".to_owned());
        };
        let operation = match *verb {
            "resolve" => Operation::Resolve,
            "manifest" => Operation::Manifest,
            "walk" => Operation::Walk,
            "pull" => Operation::Pull,
            "check" => Operation::Check,
            "blob" => Operation::Blob,
            "upload" => Operation::Upload,
            "upload_stream" => Operation::UploadStream,
            "push" => Operation::Push,
            "copy" => Operation::Copy,
            "tag" => Operation::Tag,
            "tags" => Operation::Tags,
            "repositories" => Operation::Repositories,
            "referrers" => Operation::Referrers,
            "delete" => Operation::Delete,
            "delete-blob" => Operation::DeleteBlob,
            "check_access" => Operation::CheckAccess,
            "exists" => Operation::Exists,
            "blob-exists" => Operation::BlobExists,
            other => return Err(format!("`{other}` is not an operation")),
        };
        let reference: Reference = reference.parse().map_err(|e| format!("{e}"))?;
        let mut walk = WalkOptions::default();
        let mut size = None;
        let mut nondistributable = false;
        let (mut data, mut mount, mut algorithm) = (None, None, Algorithm::Sha256);
        let (mut to, mut push) = (None, PushOptions::default());
        let (mut page_size, mut artifact_type) = (None, None);
        let (mut root, mut media_type, mut referrers) = (None, None, false);
        for option in options {
            match option.split_once('=').unwrap_or((option, "")) {
                ("blobs", _) => walk.blobs = true,
                ("nondistributable", _) => nondistributable = true,
                ("strict", _) => walk.strict = true,
                ("platform", value) => walk.platform = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("size", value) => size = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("mount", value) => mount = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("to", value) => to = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("tag", value) => push.tags.push(value.parse().map_err(|e| format!("{e}"))?),
                ("verify", _) => push.verify = true,
                ("referrers", _) => referrers = true,
                ("sha512", _) => algorithm = Algorithm::Sha512,
                ("n", value) => page_size = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("artifact-type", value) => {
                    artifact_type = Some(value.parse().map_err(|e| format!("{e}"))?);
                }
                ("root", value) => root = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("type", value) => media_type = Some(value.parse().map_err(|e| format!("{e}"))?),
                ("data", value) => data = Some(value.to_owned()),
                (other, _) => return Err(format!("`{other}` is not an option")),
            }
        }
        push.referrers = referrers;
        if operation == Operation::Copy && to.is_none() {
            return Err("a copy requires to=REFERENCE".to_owned());
        }
        let descriptor = match operation {
            Operation::Upload => Some(described(&reference, size)?),
            Operation::Push => {
                let digest = root.ok_or("root=DIGEST is required")?;
                let media_type = media_type.unwrap_or(MediaType::OCI_MANIFEST);
                Some(Descriptor::new(media_type, digest, size.ok_or("size=N is required")?))
            }
            _ => data.map(|data| embedding(&reference, size, data)).transpose()?,
        };
        Ok(Self {
            operation,
            reference,
            walk,
            nondistributable,
            referrers,
            size,
            descriptor,
            mount,
            to,
            push,
            algorithm,
            page_size,
            artifact_type,
        })
    }

    /// Starts the operation.
    pub fn begin(self, session: &mut Session) -> OpId {
        let platform = self.walk.platform.as_ref();
        match (self.operation, &self.descriptor) {
            (Operation::Resolve, _) => session.resolve(&self.reference, platform),
            (Operation::Manifest, _) => session.manifest(&self.reference, platform),
            (Operation::Walk, _) => session.walk(&self.reference, self.walk),
            (Operation::Check, _) => session.check(&self.reference, platform),
            (Operation::Pull, _) => {
                let mut options = PullOptions::default();
                options.platform = self.walk.platform;
                options.foreign = self.nondistributable;
                options.referrers = self.referrers;
                session.pull(&self.reference, options)
            }
            (Operation::Push, Some(root)) => session.push(root, &self.reference, self.push_options()),
            (Operation::Push | Operation::Copy, _) => {
                let to = self.to.as_ref().unwrap_or(&self.reference);
                session.copy(&self.reference, to, self.push_options())
            }
            (Operation::Upload, Some(descriptor)) => {
                session.upload(&self.reference, descriptor, self.mount.as_ref())
            }
            (Operation::Upload | Operation::UploadStream, _) => {
                session.upload_stream(&self.reference, self.algorithm)
            }
            (Operation::Tag, _) => session.tag(&self.reference, self.push.tags),
            (Operation::Blob, None) => session.blob(&self.reference, self.size),
            (Operation::Blob, Some(descriptor)) => session.described_blob(&self.reference, descriptor),
            (Operation::Tags, _) => session.tags(&self.reference, self.page_size),
            (Operation::Repositories, _) => session.repositories(self.reference.registry(), self.page_size),
            (Operation::Referrers, _) => session.referrers(&self.reference, self.artifact_type.as_ref()),
            (Operation::Delete, _) => session.delete(&self.reference),
            (Operation::DeleteBlob, _) => session.delete_blob(&self.reference),
            (Operation::CheckAccess, _) => session.check_access(self.reference.registry()),
            (Operation::Exists, _) => session.exists(&self.reference),
            (Operation::BlobExists, _) => session.blob_exists(&self.reference),
        }
    }
}

impl Start {
    /// The options of a push or a copy.
    pub fn push_options(&self) -> PushOptions {
        let mut options = self.push.clone();
        options.platform.clone_from(&self.walk.platform);
        options.foreign = self.nondistributable;
        options.mount.clone_from(&self.mount);
        options
    }
}

/// The descriptor of a blob.
fn described(reference: &Reference, size: Option<u64>) -> Result<Descriptor, String> {
    let digest = reference.digest().ok_or("a digest is required")?.clone();
    let media_type = "application/octet-stream".parse().map_err(|e| format!("{e}"))?;
    Ok(Descriptor::new(media_type, digest, size.ok_or("size=N is required")?))
}

/// The descriptor of a blob with embedded data.
fn embedding(reference: &Reference, size: Option<u64>, data: String) -> Result<Descriptor, String> {
    let mut descriptor = described(reference, Some(size.unwrap_or(data.len() as u64)))?;
    descriptor.data = Some(data.into());
    Ok(descriptor)
}

/// The settings of the `config` steps.
pub(super) fn config(transcript: &Transcript) -> Result<Config, String> {
    let mut config = Config::default();
    for step in transcript.steps.iter().filter(|step| step.verb == "config") {
        let (key, value) = step.rest.split_once(' ').ok_or("config KEY VALUE")?;
        let number = || value.parse::<u32>().map_err(|e| format!("{value}: {e}"));
        let limits = &mut config.limits;
        match key {
            "in_flight" => limits.in_flight = number()? as usize,
            "in_flight_per_origin" => limits.in_flight_per_origin = number()? as usize,
            "manifest_bytes" => limits.manifest_bytes = number()?.into(),
            "chunk_bytes" => limits.chunk_bytes = number()?.into(),
            "blob_bytes" => limits.blob_bytes = number()?.into(),
            "walk_depth" => limits.walk_depth = number()?,
            "walk_nodes" => limits.walk_nodes = number()?.into(),
            "walk_bytes" => limits.walk_bytes = number()?.into(),
            "walk_ahead_bytes" => limits.walk_ahead_bytes = number()?.into(),
            "list_pages" => limits.list_pages = number()?,
            "list_entries" => limits.list_entries = number()?.into(),
            "list_bytes" => limits.list_bytes = number()?.into(),
            "error_bytes" => limits.error_bytes = number()?.into(),
            "error_entries" => limits.error_entries = number()? as usize,
            "backoff_first" => limits.backoff_first = parse_duration(value)?,
            "tokens" => limits.tokens = number()? as usize,
            "max_attempts" => limits.max_attempts = number()?,
            "token_bytes" => limits.token_bytes = number()?.into(),
            "challenges" => limits.challenges = number()?,
            "redirects" => limits.redirects = number()?,
            "warnings" => limits.warnings = number()? as usize,
            "plain_http" => config.plain_http = plain_http(value)?,
            "allow_private_addresses" => config.allow_private_addresses = value == "true",
            "token_servers" => {
                let servers = value.split_ascii_whitespace().map(str::parse);
                let servers = servers.collect::<Result<_, InvalidUri>>();
                config.token_servers = Some(servers.map_err(|e| e.to_string())?);
            }
            "registry" => config.registries.set(registry_entry(value)?),
            "user_agent" => {
                config.user_agent =
                    Some(value.parse().map_err(|_| format!("`{value}` is not a header value"))?);
            }
            "header" => {
                let [registry, name, value] = value.split(' ').collect::<Vec<_>>()[..] else {
                    return Err("header REGISTRY NAME VALUE".to_owned());
                };
                let registry = registry.parse().map_err(|error| format!("{registry}: {error}"))?;
                let name = name.parse().map_err(|error| format!("{name}: {error}"))?;
                let value = value.parse().map_err(|error| format!("{value}: {error}"))?;
                config.headers.insert(registry, name, value).map_err(|error| error.to_string())?;
            }
            other => return Err(format!("`{other}` is not a setting")),
        }
    }
    Ok(config)
}

/// `PREFIX [location=NAMESPACE] [insecure] [blocked] [mirror=NAMESPACE,PULLS[,insecure]]...`
fn registry_entry(value: &str) -> Result<RegistryEntry, String> {
    let invalid = |text: &str, why: &dyn Display| format!("`{text}`: {why}");
    let mut words = value.split(' ');
    let prefix = words.next().unwrap_or_default();
    let mut entry = RegistryEntry::new(prefix.parse().map_err(|e| invalid(prefix, &e))?);
    for word in words {
        entry = match word.split_once('=') {
            None if word == "insecure" => entry.insecure(true),
            None if word == "blocked" => entry.blocked(true),
            Some(("location", at)) => entry.location(at.parse().map_err(|e| invalid(at, &e))?),
            Some(("mirror", text)) => {
                let mut parts = text.split(',');
                let at = parts.next().unwrap_or_default();
                let pulls = parts.next().and_then(MirrorPulls::named);
                let pulls = pulls.ok_or_else(|| invalid(text, &"mirror=NAMESPACE,PULLS"))?;
                let mirror = Mirror::new(at.parse().map_err(|e| invalid(at, &e))?, pulls);
                entry.mirror(mirror.insecure(parts.next() == Some("insecure")))
            }
            _ => return Err(invalid(word, &"not an option of a registry")),
        };
    }
    Ok(entry)
}

fn plain_http(value: &str) -> Result<PlainHttp, String> {
    match value {
        "never" => Ok(PlainHttp::Never),
        "loopback" => Ok(PlainHttp::Loopback),
        "always" => Ok(PlainHttp::Always),
        other => Err(format!("`{other}` is not `never`, `loopback` or `always`")),
    }
}
