//! `ocip serve`.

use std::io::{self, Write};
use std::sync::Arc;

use oci_proto::layout::{Entry, Root};
use oci_proto::server::Server;
use oci_proto::{Descriptor, Repository, Tag};
use oci_proto_layout::Layout;
use tokio::net::TcpListener;
use tokio::runtime;

use crate::args::{Common, Serve};
use crate::output::Failure;

pub(crate) fn run(command: &Serve, common: &Common, out: &mut impl Write) -> Result<(), Failure> {
    let layout = Layout::open(command.layout.folder()).map_err(|error| Failure::of_layout(&error))?;
    let places = places(&layout, command.layout.root(), &command.repository)?;
    let mut server = Server::new();
    for Place { repository, tag, root } in &places {
        server.add(repository, tag.as_ref(), root, &layout).map_err(|error| {
            Failure::failed(error).with_hint("`ocip check DIR` tells all that is wrong with a layout")
        })?;
    }

    let no_listener = |error: io::Error| {
        let failure = Failure::failed(format_args!("no registry on {}: {error}", command.listen));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.with_hint("listen elsewhere: --listen 127.0.0.1:0"),
            _ => failure,
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_listener)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(command.listen).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;
        // Whoever reads the address may end this at once.
        let stop = Stop::new().map_err(no_listener)?;
        writeln!(out, "http://{address} serves {} until Ctrl-C:", command.layout.folder().display())?;
        for Place { repository, tag, root } in &places {
            match tag {
                Some(tag) => writeln!(out, "  {address}/{repository}:{tag}")?,
                None => writeln!(out, "  {address}/{repository}@{}", root.digest)?,
            }
        }
        out.flush()?;
        oci_proto_tokio::server::serve(listener, Arc::new(server), layout, stop.wait())
            .await
            .map_err(|error| Failure::failed(format_args!("the registry ended: {error}")))?;
        common.note(format_args!("stopped"));
        Ok(())
    })
}

/// A root, and where it is served.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    repository: Repository,
    tag: Option<Tag>,
    root: Descriptor,
}

fn places(layout: &Layout, asked: &Root, repository: &Repository) -> Result<Vec<Place>, Failure> {
    let resolve = |root: &Root| layout.resolve(root, None).map_err(|error| Failure::of_layout(&error));
    let named: Vec<&Entry> = layout.roots().iter().filter(|entry| asked.is_named_by(entry)).collect();
    if named.is_empty() {
        let (repository, root) = (repository.clone(), resolve(asked)?);
        return Ok(vec![Place { repository, tag: None, root }]);
    }
    let mut places: Vec<Place> = Vec::new();
    for entry in &named {
        let root = resolve(&Root::Digest(entry.descriptor().digest.clone()))?;
        let (repository, tag) = match entry.ref_name() {
            Some(name) => place(name, repository),
            None => (repository.clone(), (named.len() == 1).then(Tag::latest)),
        };
        let taken = places.iter().find(|p| tag.is_some() && p.tag == tag && p.repository == repository);
        match (taken, &tag) {
            (Some(place), _) if place.root.digest == root.digest => {}
            (Some(_), Some(tag)) => {
                let error = format!("the layout gives the name {repository}:{tag} to several roots");
                return Err(Failure::failed(error).with_hint("serve one of them: oci:DIR@DIGEST"));
            }
            _ => places.push(Place { repository, tag, root }),
        }
    }
    Ok(places)
}

/// Where a registry has what a layout gives this name.
fn place(name: &str, repository: &Repository) -> (Repository, Option<Tag>) {
    if let Ok(tag) = name.parse() {
        return (repository.clone(), Some(tag));
    }
    let (longer, tag) = match name.rsplit_once(':') {
        Some((longer, tag)) => (longer.parse(), tag.parse().ok()),
        None => (name.parse(), Some(Tag::latest())),
    };
    match (longer, tag) {
        (Ok(longer), Some(tag)) => (longer, Some(tag)),
        // A name that no registry can have: it is there by its digest.
        _ => (repository.clone(), None),
    }
}

/// What ends the registry: Ctrl-C, or being told to end.
struct Stop {
    #[cfg(unix)]
    terminated: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupted: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminated: signal(SignalKind::terminate())?,
            interrupted: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn wait(self) {
        // Without the signal there is only the harder way to end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_repository_and_tag_as_far_as_it_can() {
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
            let (repository, tag) = place(name, &repository);
            let shown = tag.map_or_else(|| format!("{repository}@"), |tag| format!("{repository}:{tag}"));
            assert_eq!(shown, expected, "{name}");
        }
    }
}
