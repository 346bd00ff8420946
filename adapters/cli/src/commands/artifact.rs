//! `ocip attach` and `ocip artifact`.

use std::io::{self, Write};

use oci_proto::build::Annotations;
use oci_proto::{MediaType, PushOptions};
use oci_proto_common::Artifact;

use crate::args::CommonArgs;
use crate::args::file::FileArg;
use crate::args::writing::{ArtifactArgs, ArtifactCommandArgs, AttachArgs};
use crate::commands::copy::transfer;
use crate::commands::resolve;
use crate::output::Failure;

pub(crate) fn attach(command: &AttachArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    if command.files.is_empty() && command.options.annotations.is_empty() {
        return Err(Failure::usage("nothing to attach: FILE[:TYPE] or --annotation KEY=VALUE is missing"));
    }
    let artifact = filled(Artifact::new(command.artifact_type.clone()), &command.files, &command.options)?;
    let name = &command.name;
    let mut options = PushOptions::default();
    options.platform.clone_from(&command.platform);
    let attached = transfer(name.registry(), None, options, common, |client, options, interrupt| {
        client.attach(name, artifact, options, interrupt)
    })?;
    writeln!(out, "{}", resolve::line(&attached, command.options.format.json)?)?;
    Ok(())
}

pub(crate) fn run(
    command: &ArtifactCommandArgs,
    common: &CommonArgs,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let name = &command.name;
    let config = command.config.as_ref().map(|file| (&file.path, media_type(file)));
    let artifact = match (command.artifact_type.clone(), config) {
        (None, None) => return Err(Failure::usage("--artifact-type TYPE is missing")),
        (None, Some((path, media_type))) => Artifact::with_config(path, media_type).map_err(unreadable)?,
        (Some(artifact_type), None) => Artifact::new(artifact_type),
        (Some(artifact_type), Some((path, media_type))) => {
            let mut artifact = Artifact::new(artifact_type);
            artifact.set_config(path, media_type).map_err(unreadable)?;
            artifact
        }
    };
    let artifact = filled(artifact, &command.files, &command.options)?;
    let (root, tree) = artifact.build(None).map_err(Failure::usage)?;
    transfer(name.registry(), None, PushOptions::default(), common, |client, options, interrupt| {
        client.push(&root, name, tree, options, interrupt)
    })?;
    writeln!(out, "{}", resolve::line(&root, command.options.format.json)?)?;
    Ok(())
}

/// Adds files and annotations.
fn filled(mut artifact: Artifact, files: &[FileArg], options: &ArtifactArgs) -> Result<Artifact, Failure> {
    for file in files {
        artifact.add_file(&file.path, media_type(file)).map_err(unreadable)?;
    }
    let mut annotations = Annotations::new();
    for (key, value) in &options.annotations {
        annotations.insert(key, value).map_err(Failure::usage)?;
    }
    Ok(artifact.annotations(annotations))
}

fn media_type(file: &FileArg) -> MediaType {
    file.media_type.clone().unwrap_or(MediaType::OCTET_STREAM)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::usage(error)
}
