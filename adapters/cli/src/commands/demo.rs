//! `ocip demo`.

use std::io::Write;

use oci_proto::{Reference, WalkOptions};
use oci_proto_credentials::Store;

use crate::args::{Adapter, CommonArgs, DemoArgs};
use crate::client::Client;
use crate::commands::{resolve, tree};
use crate::embedded_registry::EmbeddedRegistry;
use crate::output::Failure;

pub(crate) fn run(command: &DemoArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let registry = EmbeddedRegistry::sample()?;
    let address = registry.address;
    let name: Reference = format!("{address}/demo").parse().map_err(Failure::failed)?;
    writeln!(out, "A registry in this process, at {address}, serves a sample as demo:latest.\n")?;

    let mut seen: Option<(String, Vec<String>)> = None;
    let mut spent = Vec::new();
    for adapter in Adapter::ALL {
        let client = Client::new(adapter, common, Store::none())?;
        let resolved = resolve::text(&client.resolve(&name, None)?);
        if seen.is_none() {
            writeln!(out, "$ ocip resolve {address}/demo\n{resolved}\n\n$ ocip tree {address}/demo")?;
        }
        let mut path = tree::Path::new(false);
        let mut lines = Vec::new();
        for node in client.walk(&name, WalkOptions::default()) {
            let node = node?;
            path.enter(&node);
            if seen.is_none() {
                // As on a terminal, wherever it goes.
                writeln!(out, "{}", tree::line(&node, &path, true))?;
            }
            lines.push(tree::json(&node, path.kind())?);
        }
        spent.push(format!("{:<6} {}", adapter.as_str(), client.spent()));
        match &seen {
            None => seen = Some((resolved, lines)),
            Some(first) if *first == (resolved, lines) => {}
            Some(_) => return Err(Failure::failed("the adapters saw different trees")),
        }
    }
    let nodes = seen.map_or(0, |(_, lines)| lines.len());
    writeln!(out, "\n{}\nBoth adapters saw the same {nodes} nodes.\n", spent.join("\n"))?;

    if command.keep {
        writeln!(out, "The registry runs until Ctrl-C. In another terminal, try:")?;
        writeln!(out, "  ocip tree --blobs {address}/demo")?;
        writeln!(out, "  ocip resolve --platform linux/arm64 {address}/demo")?;
        out.flush()?;
        return registry.wait();
    }
    writeln!(out, "Try next:")?;
    writeln!(out, "  ocip tree docker.io/library/alpine")?;
    writeln!(out, "  ocip demo --keep       (keeps this registry running for other commands)")?;
    Ok(())
}
