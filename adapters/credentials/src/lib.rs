//! Finds logins for container registries in the files and credential helpers of Docker and Podman.
//!
//! An `oci_proto` session asks for credentials when a registry requires a login. A [`Store`] looks them up in
//! the files that `docker login` and `podman login` write, and in the credential helpers that those files
//! name. It blocks while it reads files and runs helpers. Both `oci-proto-tokio` and `oci-proto-ureq` use it.
//!
//! ```no_run
//! use oci_proto::CredentialsQuery;
//! use oci_proto_credentials::Store;
//!
//! let store = Store::from_env();
//! let query = CredentialsQuery::new("ghcr.io".parse()?, "team/app".parse()?);
//! match store.look_up(&query)? {
//!     Some(login) => println!("{login:?}"),
//!     None => println!("no login"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! The variable `DOCKER_AUTH_CONFIG` has the content of a file, and precedes all files. Files are read at each lookup, in
//! this order. The first login found is used.
//!
//! 1. `$REGISTRY_AUTH_FILE`. If it is set, no other file is read.
//! 2. `$DOCKER_CONFIG/config.json`. If it is set, `~/.docker/config.json` is not read.
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`; without that variable, on Linux,
//!    `/run/containers/UID/auth.json`.
//! 4. `$XDG_CONFIG_HOME/containers/auth.json`; without that variable, `~/.config/containers/auth.json`.
//! 5. `~/.docker/config.json`.
//!
//! So the logins of either program are found, and files named by variables precede the defaults. A file that
//! does not exist or is empty has no logins. A file that cannot be read or parsed is an error, since it may
//! have the login.
//!
//! # Logins in a file
//!
//! 1. The helper that `credHelpers` names for the registry. If there is one, the rest of the file is not
//!    used.
//! 2. The helper that `credsStore` names.
//! 3. The entries of `auths`, the longest path first, such as `quay.io/team/app` before
//!    `quay.io/team` before `quay.io`. In an entry, `registrytoken` precedes `identitytoken`, `auth`,
//!    and `username` with `password`.
//!
//! A key is the name of a registry, optionally with a path that is a prefix of repositories. The name
//! includes the port. It may have the scheme `http` or `https`, and end in `/`, `/v1/` or `/v2/`; after a
//! scheme, the path is ignored. Docker Hub is known as `https://index.docker.io/v1/`, `docker.io`,
//! `index.docker.io` and `registry-1.docker.io`. Helpers receive the key from `credHelpers`, or for
//! `credsStore` the name of the registry, which for Docker Hub is the URL above.
//!
//! # Helpers
//!
//! A helper is a program `docker-credential-NAME` in a directory of `PATH`. Relative entries of `PATH` are
//! skipped, and so are empty ones, which mean the working directory. A helper has its own process group, which
//! is killed at the time limit, and with [`Store::kill_helpers`]; it cannot read from the terminal. Its output
//! is not quoted in errors, since it may contain the login.
//!
//! Source: `containers-auth.json(5)`; Docker's documentation of `docker login`.

mod edit;
mod entry;
mod file;
mod helper;
mod key;
mod locations;
mod process;
mod store;

pub use store::Store;
