//! `ocip demo`.

use std::io::{self, Write};
use std::{env, fs};

use oci_proto::{Descriptor, MediaType, PushOptions, Reference, WalkOptions};
use oci_proto_common::Artifact;
use oci_proto_credentials::Store;

use crate::args::{Adapter, CommonArgs, DemoArgs};
use crate::client::Client;
use crate::commands::{referrers, resolve, tree};
use crate::embedded_registry::EmbeddedRegistry;
use crate::interrupt::Interrupt;
use crate::output::Failure;
use crate::temporary;

pub(crate) fn run(command: &DemoArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (registry, other) = (EmbeddedRegistry::sample()?, EmbeddedRegistry::empty()?);
    let (address, empty) = (registry.address, other.address);
    let name: Reference = format!("{address}/demo").parse().map_err(Failure::failed)?;
    let copy: Reference = format!("{empty}/copy:1.0").parse().map_err(Failure::failed)?;
    writeln!(out, "A registry in this process, at {address}, serves a sample as demo:latest.")?;
    writeln!(out, "Another one, at {empty}, is empty.\n")?;

    let mut seen: Option<(Descriptor, Vec<String>)> = None;
    let (mut clients, mut spent) = (Vec::new(), Vec::new());
    for adapter in Adapter::ALL {
        let client = Client::new(adapter, None, common, Store::none())?;
        let root = client.resolve(&name, None)?;
        if seen.is_none() {
            writeln!(out, "$ ocip resolve {address}/demo\n{}\n", resolve::text(&root))?;
            writeln!(out, "$ ocip tree {address}/demo")?;
        }
        let lines = walk(&client, &name, |line| {
            if seen.is_none() {
                writeln!(out, "{line}")?;
            }
            Ok(())
        })?;
        spent.push(format!("{:<6} {}", adapter.as_str(), client.spent()));
        clients.push(client);
        match &seen {
            None => seen = Some((root, lines)),
            Some(first) if *first == (root, lines) => {}
            Some(_) => return Err(Failure::failed("the adapters saw different trees")),
        }
    }
    let nodes = seen.as_ref().map_or(0, |(_, lines)| lines.len());
    writeln!(out, "\n{}\nBoth adapters saw the same {nodes} nodes.\n", spent.join("\n"))?;

    // One of them writes each, and both read.
    if let (Some(first), Some(last)) = (clients.first(), clients.last()) {
        send(first, &name, &copy, out)?;
        attach(last, &copy, out)?;
    }
    let mut listed: Option<Vec<String>> = None;
    for client in &clients {
        let tree = (client.resolve(&copy, None)?, walk(client, &copy, |_| Ok(()))?);
        let referrers = referrers_of(client, &copy)?;
        if Some(&tree) != seen.as_ref() || listed.as_ref().is_some_and(|listed| *listed != referrers) {
            return Err(Failure::failed("the adapters saw different copies"));
        }
        if listed.is_none() {
            writeln!(out, "$ ocip referrers {copy} | cut -c 8-19,72-\n{}\n", referrers.join("\n"))?;
            listed = Some(referrers);
        }
    }
    writeln!(out, "Both adapters saw the same copy and its referrer.\n")?;

    if command.keep {
        writeln!(out, "The registries run until Ctrl-C. In another terminal, try:")?;
        writeln!(out, "  ocip tree --blobs {address}/demo")?;
        writeln!(out, "  ocip resolve --platform linux/arm64 {address}/demo")?;
        writeln!(out, "  ocip tag {copy} latest")?;
        out.flush()?;
        return registry.wait();
    }
    writeln!(out, "Try next:")?;
    writeln!(out, "  ocip tree docker.io/library/alpine")?;
    writeln!(out, "  ocip demo --keep       (keeps these registries running for other commands)")?;
    Ok(())
}

/// Walks a tree, and passes each line to `print`, as on a terminal, wherever it goes. Returns the lines of `--json`.
fn walk(
    client: &Client,
    name: &Reference,
    mut print: impl FnMut(String) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let mut path = tree::Path::new(false);
    let mut lines = Vec::new();
    for node in client.walk(name, WalkOptions::default()) {
        let node = node?;
        path.enter(&node);
        print(tree::line(&node, &path, true))?;
        lines.push(tree::json(&node, path.kind())?);
    }
    Ok(lines)
}

/// Copies the sample to the other registry.
fn send(client: &Client, from: &Reference, to: &Reference, out: &mut impl Write) -> Result<(), Failure> {
    let root = client.copy(from, to, PushOptions::default().into(), &Interrupt::new()?)?;
    let (registry, repository) = (from.registry(), from.repository());
    writeln!(out, "$ ocip copy {registry}/{repository} \\\n            {to} | grep digest")?;
    writeln!(out, "digest     {}\n", root.digest)?;
    Ok(())
}

/// Attaches a small file.
fn attach(client: &Client, subject: &Reference, out: &mut impl Write) -> Result<(), Failure> {
    const NAME: &str = "note.txt";
    let no_file =
        |error: io::Error| Failure::failed(format_args!("could not write a temporary file: {error}"));
    let artifact_type = "text/plain".parse::<MediaType>().map_err(Failure::failed)?;
    let directory = temporary::directory_in(&env::temp_dir()).map_err(no_file)?;
    let path = directory.path().join(NAME);
    fs::write(&path, "hello\n").map_err(no_file)?;
    let mut artifact = Artifact::new(artifact_type.clone());
    artifact.add_file(&path, MediaType::OCTET_STREAM).map_err(no_file)?;
    let attached = client.attach(subject, artifact, PushOptions::default().into(), &Interrupt::new()?)?;
    writeln!(out, "$ ocip attach {subject} {NAME} --artifact-type {artifact_type}")?;
    writeln!(out, "{}\n", resolve::text(&attached))?;
    Ok(())
}

/// The lines about referrers, with digests shortened.
fn referrers_of(client: &Client, name: &Reference) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    client.referrers(name, None, &mut |referrer| {
        let digest = &referrer.descriptor.digest;
        lines.push(referrers::line(&referrer).replace(&digest.to_string(), &tree::short(digest)));
        Ok(())
    })?;
    Ok(lines)
}
