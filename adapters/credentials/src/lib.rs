//! Finds logins for container registries where Docker and Podman keep them.
//!
//! A registry that wants a login makes an `oci_proto` session ask for credentials. A [`Store`] answers from
//! the files that `docker login` and `podman login` write, and from the credential helpers that those files
//! name. It blocks while it reads files and runs helpers. The adapters `oci-proto-tokio` and
//! `oci-proto-ureq` both use it.
//!
//! ```no_run
//! use oci_proto::CredentialsQuery;
//! use oci_proto_credentials::Store;
//!
//! let store = Store::from_env();
//! let query = CredentialsQuery::new("ghcr.io".parse()?, "team/app".parse()?);
//! match store.look_up(&query)? {
//!     Some(login) => println!("{login:?}"),
//!     None => println!("nobody has logged in"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which files
//!
//! Files are read anew at each look-up, in this order; the first login found counts.
//!
//! 1. `$REGISTRY_AUTH_FILE`. Where it is set, no other file is read.
//! 2. `$DOCKER_CONFIG/config.json`. Where it is set, the last line does not apply.
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`; on Linux without that variable, `/run/containers/UID/auth.json`.
//! 4. `$XDG_CONFIG_HOME/containers/auth.json`; without that variable, `~/.config/containers/auth.json`.
//! 5. `~/.docker/config.json`.
//!
//! So whoever uses one of the two programs finds that program's logins, and what a variable names comes
//! before what is found by default. A file that is not there, or that is empty, holds no login. One that
//! cannot be read or understood is an error: it may hold the login that is wanted.
//!
//! # Which login of a file
//!
//! 1. The helper that `credHelpers` names for the registry, and then no other line of this list.
//! 2. The helper that `credsStore` names.
//! 3. The entries of `auths`: that with the longest path first, such as `quay.io/team/app` before
//!    `quay.io/team` before `quay.io`. Of an entry, `registrytoken` counts first, then `identitytoken`, `auth`,
//!    and last `username` with `password`.
//!
//! A key is a registry's name, or a name and the path above some of its repositories. The name may have
//! the scheme `http` or `https` and end in `/`, `/v1/` or `/v2/`; behind a scheme a path means nothing. Docker
//! Hub goes by `https://index.docker.io/v1/`, `docker.io`, `index.docker.io` and `registry-1.docker.io`. A port
//! is part of the name. Helpers are given the key that stands in `credHelpers`, and for `credsStore` the
//! registry's name, which for Docker Hub is the URL above.
//!
//! Source: `containers-auth.json(5)`; Docker's documentation of `docker login`.

mod entry;
mod file;
mod helper;
mod key;
mod places;
mod process;
mod store;

pub use store::Store;
