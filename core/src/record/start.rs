//! The start of an operation as text.

use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::op::pull::PullOptions;
use crate::record::lines::{Lines, Words, read_text, shown};
use crate::record::options::{Line, descriptor, platform, push_options};
use crate::session::call::Start;
use crate::session::state::Session;
use crate::types::digest::Algorithm;
use crate::types::id::OpId;
use crate::types::reference::Reference;
use crate::walker::node::WalkOptions;

/// Returns the text of a start: the operation, its reference or registry, and its options. A document that is pushed
/// follows.
pub(super) fn write(number: u64, start: &Start) -> Lines {
    let mut line = Line::new(&format!("start [{number}]"));
    match start {
        Start::Resolve(reference, platform) => line.on("resolve", reference).platform(platform.as_ref()),
        Start::Manifest(reference, platform) => line.on("manifest", reference).platform(platform.as_ref()),
        Start::Walk(reference, WalkOptions { blobs, strict, platform }) => line
            .on("walk", reference)
            .flag("blobs", *blobs)
            .flag("strict", *strict)
            .platform(platform.as_ref()),
        Start::Pull(reference, PullOptions { platform, foreign, referrers }) => line
            .on("pull", reference)
            .flag("nondistributable", *foreign)
            .flag("referrers", *referrers)
            .platform(platform.as_ref()),
        Start::Check(reference, platform) => line.on("check", reference).platform(platform.as_ref()),
        Start::Blob(reference, size) => line.on("blob", reference).option("size", size.as_ref()),
        Start::DescribedBlob(reference, descriptor) => {
            line.on("described_blob", reference).descriptor(descriptor)
        }
        Start::Upload(reference, descriptor, mount) => {
            line.on("upload", reference).descriptor(descriptor).option("mount", mount.as_ref())
        }
        Start::UploadStream(reference, algorithm) => {
            line.on("upload_stream", reference).option("algorithm", Some(&algorithm.as_str()))
        }
        Start::Push(root, reference, options) => {
            line.on("push", reference).descriptor(root).push_options(options)
        }
        Start::Copy(from, to, options) => line.on("copy", from).option("to", Some(to)).push_options(options),
        Start::PushManifest(reference, manifest, tags) => {
            line.on("push_manifest", reference).option("type", Some(manifest.media_type())).all("tag", tags)
        }
        Start::Tag(reference, tags) => line.on("tag", reference).all("tag", tags),
        Start::Tags(reference, n) => line.on("tags", reference).option("n", n.as_ref()),
        Start::CheckAccess(registry) => line.on("check_access", registry),
        Start::Repositories(registry, n) => line.on("repositories", registry).option("n", n.as_ref()),
        Start::Referrers(reference, artifact_type) => {
            line.on("referrers", reference).option("artifact-type", artifact_type.as_ref())
        }
        Start::Delete(reference) => line.on("delete", reference),
        Start::DeleteBlob(reference) => line.on("delete-blob", reference),
        Start::Exists(reference) => line.on("exists", reference),
        Start::BlobExists(reference) => line.on("blob-exists", reference),
    };
    let mut lines = Lines::new(&line.into_text());
    if let Start::PushManifest(_, manifest, _) = start {
        lines.text(manifest.bytes());
    }
    lines
}

/// Reads the start of an operation: the line after its number, and the lines below.
pub(super) fn read(text: &str, details: &[String]) -> Result<Start, String> {
    let mut words = Words::new(text);
    let operation: String = words.first("an operation")?;
    let start = match operation.as_str() {
        "check_access" => Start::CheckAccess(words.first("a registry")?),
        "repositories" => Start::Repositories(words.first("a registry")?, words.option("n")?),
        operation => {
            let reference: Reference = words.first("a reference")?;
            of_reference(operation, reference, &mut words, details)?
        }
    };
    words.end()?;
    if !matches!(start, Start::PushManifest(..)) && !details.is_empty() {
        return Err("nothing is expected below this line".to_owned());
    }
    Ok(start)
}

fn of_reference(
    operation: &str,
    reference: Reference,
    words: &mut Words<'_>,
    details: &[String],
) -> Result<Start, String> {
    Ok(match operation {
        "resolve" => Start::Resolve(reference, platform(words)?),
        "manifest" => Start::Manifest(reference, platform(words)?),
        "walk" => {
            let (blobs, strict) = (words.has("blobs"), words.has("strict"));
            Start::Walk(reference, WalkOptions { blobs, strict, platform: platform(words)? })
        }
        "pull" => {
            let (foreign, referrers) = (words.has("nondistributable"), words.has("referrers"));
            Start::Pull(reference, PullOptions { platform: platform(words)?, foreign, referrers })
        }
        "check" => Start::Check(reference, platform(words)?),
        "blob" => Start::Blob(reference, words.option("size")?),
        "described_blob" => Start::DescribedBlob(reference, descriptor(words)?),
        "upload" => Start::Upload(reference, descriptor(words)?, words.option("mount")?),
        "upload_stream" => {
            let name: String = words.required("algorithm")?;
            let algorithm = Algorithm::named(&name).ok_or("`algorithm` is not the name of an algorithm")?;
            Start::UploadStream(reference, algorithm)
        }
        "push" => Start::Push(descriptor(words)?, reference, push_options(words)?),
        "copy" => Start::Copy(reference, words.required("to")?, push_options(words)?),
        "push_manifest" => {
            let media_type: String = words.required("type")?;
            let evidence = Evidence { content_type: Some(&media_type), expected: None };
            let manifest = Manifest::read(read_text(details)?, evidence);
            let manifest = manifest.map_err(|error| format!("the document is invalid: {error}"))?;
            Start::PushManifest(reference, manifest, words.all("tag")?)
        }
        "tag" => Start::Tag(reference, words.all("tag")?),
        "tags" => Start::Tags(reference, words.option("n")?),
        "referrers" => Start::Referrers(reference, words.option("artifact-type")?),
        "delete" => Start::Delete(reference),
        "delete-blob" => Start::DeleteBlob(reference),
        "exists" => Start::Exists(reference),
        "blob-exists" => Start::BlobExists(reference),
        other => return Err(format!("`{}` is not an operation", shown(other))),
    })
}

/// Starts the operation.
pub(super) fn start(session: &mut Session, start: Start) -> OpId {
    match start {
        Start::Resolve(reference, platform) => session.resolve(&reference, platform.as_ref()),
        Start::Manifest(reference, platform) => session.manifest(&reference, platform.as_ref()),
        Start::Walk(reference, options) => session.walk(&reference, options),
        Start::Pull(reference, options) => session.pull(&reference, options),
        Start::Check(reference, platform) => session.check(&reference, platform.as_ref()),
        Start::Blob(reference, size) => session.blob(&reference, size),
        Start::DescribedBlob(reference, descriptor) => session.described_blob(&reference, &descriptor),
        Start::Upload(reference, descriptor, mount) => {
            session.upload(&reference, &descriptor, mount.as_ref())
        }
        Start::UploadStream(reference, algorithm) => session.upload_stream(&reference, algorithm),
        Start::Push(root, reference, options) => session.push(&root, &reference, options),
        Start::Copy(from, to, options) => session.copy(&from, &to, options),
        Start::PushManifest(reference, manifest, tags) => session.push_manifest(&reference, manifest, tags),
        Start::Tag(reference, tags) => session.tag(&reference, tags),
        Start::Tags(reference, page_size) => session.tags(&reference, page_size),
        Start::CheckAccess(registry) => session.check_access(&registry),
        Start::Repositories(registry, page_size) => session.repositories(&registry, page_size),
        Start::Referrers(reference, artifact_type) => session.referrers(&reference, artifact_type.as_ref()),
        Start::Delete(reference) => session.delete(&reference),
        Start::DeleteBlob(reference) => session.delete_blob(&reference),
        Start::Exists(reference) => session.exists(&reference),
        Start::BlobExists(reference) => session.blob_exists(&reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_read_back() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [
            "resolve r.example/a:1 platform=windows(10.0.1)/amd64".to_owned(),
            "manifest r.example/a:1 platform=linux/ARM64/v8".to_owned(),
            "walk r.example/a:1 blobs strict platform=linux/arm64".to_owned(),
            "pull r.example/a:1 nondistributable referrers".to_owned(),
            format!("check r.example/a:1@{digest}"),
            format!("blob r.example/a@{digest} size=7"),
            format!(
                "described_blob r.example/a:1 type=a/b digest={digest} size=2 artifact-type=c/d data=e30="
            ),
            format!("upload r.example/a:1 type=a/b digest={digest} size=2 of-platform=linux/arm mount=b/c"),
            "upload_stream r.example/a:1 algorithm=sha512".to_owned(),
            format!("push r.example/a:1 type=a/b digest={digest} size=2 tag=2 tag=3 mount=b verify"),
            "copy r.example/a:1 to=s.example/b:2 platform=a/b nondistributable referrers".to_owned(),
            "tag r.example/a:1 tag=2".to_owned(),
            "tags r.example/a:1 n=5".to_owned(),
            "check_access r.example".to_owned(),
            "repositories r.example n=5".to_owned(),
            "referrers r.example/a:1 artifact-type=a/b".to_owned(),
            "delete r.example/a:1".to_owned(),
            format!("delete-blob r.example/a@{digest}"),
            "exists r.example/a:1".to_owned(),
            format!("blob-exists r.example/a@{digest}"),
        ] {
            let start = read(&text, &[]).unwrap();
            assert_eq!(write(3, &start).0, format!("start [3] {text}\n"));
        }
        let document = ["|{\"mediaType\":\"a/b\"}".to_owned()];
        let text = "push_manifest r.example/a:1 type=a/b tag=2";
        let start = read(text, &document).unwrap();
        assert_eq!(write(0, &start).0, format!("start [0] {text}\n  {}\n", document[0]));
        for text in
            ["", "pull", "pull :", "pull a:1 x", "fetch a:1", "push a:1", "check_access a/b", "tags a n=0"]
        {
            assert!(read(text, &[]).is_err(), "{text}");
        }
    }
}
