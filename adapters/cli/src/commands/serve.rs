//! `ocip serve`.

use std::io::{self, Write};
use std::sync::Arc;

use oci_proto::layout::Root;
use oci_proto::server::Server;
use oci_proto::{Descriptor, Repository, Tag};
use oci_proto_layout::Layout;
use oci_proto_tokio::server::Options;
use tokio::net::TcpListener;
use tokio::runtime;

use crate::args::{CommonArgs, ServeArgs};
use crate::output::Failure;
use crate::stderr::print_line;

pub(crate) fn run(command: &ServeArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let layout = Layout::open_for(command.layout.directory(), command.layout.root())
        .map_err(|error| Failure::of_layout(&error))?;
    let roots = served_roots(&layout, command.layout.root(), &command.repository)?;
    let mut server = Server::new();
    for ServedRoot { repository, tag, root } in &roots {
        server
            .add(repository, tag.as_ref(), root, &layout)
            .map_err(|error| Failure::failed(error).with_hint("run `ocip check DIR` to list all problems"))?;
    }

    let no_listener = |error: io::Error| {
        let failure = Failure::failed(format_args!("could not serve on {}: {error}", command.listen));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.with_hint("--listen 127.0.0.1:0 selects a free port"),
            _ => failure,
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_listener)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(command.listen).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;
        // Before the address is printed: its reader may send a signal at once.
        let stop = Stop::new().map_err(no_listener)?;
        writeln!(out, "http://{address} serves {} until Ctrl-C:", command.layout.directory().display())?;
        for ServedRoot { repository, tag, root } in &roots {
            match tag {
                Some(tag) => writeln!(out, "  {address}/{repository}:{tag}")?,
                None => writeln!(out, "  {address}/{repository}@{}", root.digest)?,
            }
        }
        out.flush()?;
        Options::default()
            .on_blob_error(|error| print_line(format_args!("error: {error}")))
            .serve(listener, Arc::new(server), layout, stop.wait())
            .await
            .map_err(|error| Failure::failed(format_args!("the registry stopped: {error}")))?;
        common.note(format_args!("stopped"));
        Ok(())
    })
}

/// A root, and the repository and tag it is served under.
#[derive(Debug, PartialEq, Eq)]
struct ServedRoot {
    repository: Repository,
    tag: Option<Tag>,
    root: Descriptor,
}

fn served_roots(layout: &Layout, asked: &Root, repository: &Repository) -> Result<Vec<ServedRoot>, Failure> {
    let resolve = |root: &Root| layout.resolve(root, None).map_err(|error| Failure::of_layout(&error));
    let roots = layout.roots().iter().zip(layout.names());
    let named: Vec<_> = roots.filter(|(entry, _)| asked.is_named_by(entry)).collect();
    if named.is_empty() {
        let (repository, root) = (repository.clone(), resolve(asked)?);
        return Ok(vec![ServedRoot { repository, tag: None, root }]);
    }
    let mut served: Vec<ServedRoot> = Vec::new();
    for (entry, name) in &named {
        let root = resolve(&Root::Digest(entry.descriptor().digest.clone()))?;
        let (repository, tag) = match name {
            Some(name) => repository_and_tag(name, repository),
            None => (repository.clone(), (named.len() == 1).then(Tag::latest)),
        };
        let taken =
            served.iter().find(|other| tag.is_some() && other.tag == tag && other.repository == repository);
        match (taken, &tag) {
            (Some(same), _) if same.root.digest == root.digest => {}
            (Some(_), Some(tag)) => {
                let error = format!("the layout gives the name {repository}:{tag} to several roots");
                return Err(Failure::failed(error).with_hint("serve one of them with oci:DIR@DIGEST"));
            }
            _ => served.push(ServedRoot { repository, tag, root }),
        }
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

/// The signals that stop the registry: Ctrl-C and SIGTERM.
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
        // Without a signal handler, only killing the process ends it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
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
}
