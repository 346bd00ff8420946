//! The arguments of `ocip serve`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use oci_proto::Repository;
use oci_proto::layout::{INDEX, MARKER};
use oci_proto_layout::{ArchiveReference, LayoutReference};

use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::reference::{is_archive, layout};
use crate::args::server_access::ServerAccessArgs;
use crate::args::values::listen;

/// Serve an image layout, or a writable directory of layouts, as a registry until Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Each root of the layout is served under its name. A name that is a tag is served in the repository \
that --repository names; a longer name, such as team/app:1.0, gives both repository and tag. A \
layout's only root is served as latest if it has no name. Other roots are served by their digests. \
Content that the layout lacks is not found; a line on stderr lists it. \
The first line on stdout has the address of the registry, and each further line a reference to \
pull. Nothing can be pushed.

With --writable, DIR is a directory of layouts instead, one for each repository: team/app is the \
layout DIR/team/app, which other commands read as oci:DIR/team/app. Everyone who can reach the \
registry may push to it and delete from it, unless --htpasswd requires logins. A change is on disk \
before it is acknowledged. DIR is created if it does not exist. Meanwhile, nothing else may write to it.

With -v, each request is a line on stderr, in the Common Log Format with the bytes received and the \
seconds it took at its end.

Examples:
  ocip serve mirror
  ocip serve --listen localhost:8080 mirror
  ocip serve --listen 0.0.0.0:80 --repository team/app oci:mirror:1.0
  ocip serve --writable registry
  ocip serve --writable --htpasswd users --writer ann --anonymous-reads registry
  ocip serve --tls-cert cert.pem --tls-key key.pem --listen 0.0.0.0:443 mirror")]
pub(crate) struct ServeArgs {
    /// Directory of the layout, or `oci:DIR:TAG` to serve only one of its roots, or `oci-archive:FILE[:TAG]`.
    // Parsed together with --writable.
    #[arg(value_name = "DIR")]
    name: OsString,
    /// IP address, or localhost, to listen on; port 0 selects a free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Repository to serve tags in [default: layout].
    #[arg(long, value_name = "NAME")]
    repository: Option<Repository>,
    /// Serve DIR as a directory of layouts, and permit pushes and deletions.
    #[arg(long)]
    writable: bool,
    #[command(flatten)]
    pub(crate) access: ServerAccessArgs,
}

/// What is served.
#[derive(Debug)]
pub(crate) enum Served {
    /// A layout, whose tags are in this repository.
    Layout(LayoutName, Repository),
    /// A directory of layouts, which takes pushes.
    Writable(PathBuf),
}

impl ServeArgs {
    pub(crate) fn served(&self) -> Result<Served, Mistake> {
        if self.writable {
            return self.writable_directory().map(Served::Writable);
        }
        let name = layout(self.name.clone())?;
        let repository = match &self.repository {
            Some(repository) => repository.clone(),
            None => "layout".parse().map_err(|_| Mistake::new("--repository NAME is missing"))?,
        };
        Ok(Served::Layout(name, repository))
    }

    fn writable_directory(&self) -> Result<PathBuf, Mistake> {
        let path = Path::new(&self.name);
        self.check_name()?;
        if let Some(repository) = &self.repository {
            let mistake = Mistake::new(
                "--repository applies to the tags of a layout; with --writable, each layout in DIR is a repository",
            );
            return Err(without_option(mistake, "--repository", repository.as_str()));
        }
        // Checked before the directory is opened, which would remove partial blobs from it.
        if [MARKER, INDEX].iter().any(|name| path.join(name).symlink_metadata().is_ok()) {
            let error = format!(
                "{} is an image layout itself, but --writable serves a directory of layouts",
                path.display()
            );
            return Err(Mistake::new(error).with_hint(
                "name the directory above it, or omit --writable to serve only this layout, read-only",
            ));
        }
        self.access.check(self.listen)?;
        Ok(path.to_owned())
    }

    /// Checks that the name is that of a directory of layouts, and not of one layout.
    fn check_name(&self) -> Result<(), Mistake> {
        let name = &self.name;
        let mistake = || {
            let error =
                format!("--writable serves a directory of layouts, but `{}` names one", name.display());
            Mistake::new(error)
        };
        if is_archive(name) {
            return Err(mistake()
                .without("--writable")
                .instead(name, prefixed(ArchiveReference::PREFIX, name)));
        }
        if LayoutName::has_prefix(name) {
            return Err(match LayoutName::parse(name) {
                // It is meant to be the directory, if it is not a layout.
                Ok(LayoutName::Directory(layout)) if !layout.directory().join(MARKER).exists() => {
                    mistake().instead(name, layout.directory())
                }
                Ok(_) => mistake().without("--writable"),
                Err(_) => mistake(),
            });
        }
        if Path::new(name).exists() {
            return Ok(());
        }
        // `oci:DIR/team/app` must name a layout in it.
        let named = LayoutReference::parse(&prefixed(LayoutReference::PREFIX, name));
        if named.as_ref().is_ok_and(|layout| layout.directory() == Path::new(name)) {
            return Ok(());
        }
        let is_url = name.to_str().is_some_and(|name| name.contains("://"));
        let mistake = Mistake::new("the name of the directory must not contain a colon");
        Err(match named {
            Ok(layout) if !is_url => mistake.instead(name, layout.directory()),
            _ => mistake,
        })
    }
}

fn prefixed(prefix: &str, name: &OsStr) -> OsString {
    let mut prefixed = OsString::from(prefix);
    prefixed.push(name);
    prefixed
}

/// Suggests to omit an option, whether its value is an argument of its own or not.
fn without_option(mistake: Mistake, option: &str, value: &str) -> Mistake {
    let whole = format!("{option}={value}");
    if env::args_os().any(|argument| *argument == *whole) {
        mistake.without(whole)
    } else {
        mistake.without(option).without(value)
    }
}
