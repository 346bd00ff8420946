//! The TLS of a server, and who may write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::Repository;
use oci_proto::header::Warning;
use oci_proto::server::{Policy, Rule, User, Who};
use oci_proto_layout::RegistryOptions;
use oci_proto_tokio::server::{Htpasswd, Identity, Options};

use crate::args::CommonArgs;
use crate::args::server_access::{ServerAccessArgs, Writer};
use crate::output::Failure;
use crate::stderr::{print_line, print_whole};

/// The space that stays free unless the arguments say otherwise, in bytes.
const MIN_FREE: u64 = 64 << 20;

/// What the arguments and their files say.
pub(super) struct Access {
    pub(super) space: RegistryOptions,
    pub(super) connections: usize,
    connections_per_address: Option<usize>,
    identity: Option<Identity>,
    users: Option<(PathBuf, Arc<Htpasswd>)>,
    any_host: bool,
    anonymous_reads: bool,
    writers: Vec<Writer>,
    warning: Option<Warning>,
}

impl Access {
    /// Reads the files.
    pub(super) fn open(arguments: &ServerAccessArgs) -> Result<Self, Failure> {
        let identity = match (&arguments.tls_cert, &arguments.tls_key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem(&read(certificate)?, &read(key)?);
                Some(identity.map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    Failure::failed(format_args!("{certificate}, {key}: {error}"))
                })?)
            }
            _ => None,
        };
        let users = arguments.htpasswd.as_ref().map(|path| {
            let users = Htpasswd::open(path).map_err(Failure::failed)?;
            let unknown =
                arguments.writers.iter().find(|writer| !users.users().any(|user| *user == writer.user));
            match unknown {
                Some(Writer { user, .. }) => {
                    let error = format!("--writer {user}: {} has no such user", path.display());
                    Err(Failure::failed(error)
                        .with_hint(format!("add it with `htpasswd -B {} {user}`", path.display())))
                }
                None => Ok((path.clone(), Arc::new(users))),
            }
        });
        let mut space = RegistryOptions::default();
        (space.min_free, space.quota) = (arguments.min_free.unwrap_or(MIN_FREE), arguments.quota);
        Ok(Self {
            space,
            connections: arguments.max_connections.into(),
            connections_per_address: arguments.max_connections_per_address.map(usize::from),
            identity,
            users: users.transpose()?,
            any_host: arguments.any_host,
            anonymous_reads: arguments.anonymous_reads,
            writers: arguments.writers.clone(),
            warning: arguments.warning.clone(),
        })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.identity.is_some() { "https" } else { "http" }
    }

    /// Returns the options of a server: connections, TLS, logins, the check of host names, and what is printed.
    pub(super) fn options(&self, listen: SocketAddr, common: &CommonArgs) -> Options {
        let mut options = Options::default()
            .connections(self.connections)
            .on_blob_error(|error| print_line(format_args!("error: {error}")));
        if let Some(connections) = self.connections_per_address {
            options = options.connections_per_address(connections);
        }
        if common.verbose {
            options = options.on_access(|record| print_whole(format_args!("{record}")));
        }
        if listen.ip().to_canonical().is_loopback() && self.users.is_none() && !self.any_host {
            options = options.local_hosts_only();
        }
        if let Some(identity) = &self.identity {
            options = options.tls(identity.clone());
        }
        if let Some((_, users)) = &self.users {
            let users = users.clone();
            options = options.authenticate(move |header| users.check(header));
        }
        options
    }

    /// Returns the policy of a server that is read-only.
    pub(super) fn read_only_policy(&self) -> Policy {
        let mut policy = Policy::default();
        policy.warning.clone_from(&self.warning);
        policy
    }

    /// Returns the policy of a server that takes pushes.
    pub(super) fn policy(&self) -> Policy {
        let mut policy = Policy::open();
        policy.warning.clone_from(&self.warning);
        if self.users.is_none() {
            return policy;
        }
        let mut allowed: BTreeMap<Option<Repository>, BTreeSet<User>> = BTreeMap::new();
        for Writer { prefix, user } in &self.writers {
            allowed.entry(prefix.clone()).or_default().insert(user.clone());
        }
        // Who may write everywhere may do so below each prefix.
        let everywhere = allowed.get(&None).cloned().unwrap_or_default();
        let rule = |prefix: Option<Repository>, writers: Who| {
            let mut rule = Rule::open();
            rule.prefix = prefix;
            rule.reads = if self.anonymous_reads { Who::Everyone } else { Who::AnyUser };
            (rule.writes, rule.deletes) = (writers.clone(), writers);
            rule
        };
        let others = match (self.writers.is_empty(), everywhere.is_empty()) {
            (true, _) => Who::AnyUser,
            (false, true) => Who::Nobody,
            (false, false) => Who::Users(everywhere.clone()),
        };
        let below = allowed.into_iter().filter_map(|(prefix, users)| Some((prefix?, users)));
        let below = below.map(|(prefix, mut users)| {
            users.extend(everywhere.iter().cloned());
            rule(Some(prefix), Who::Users(users))
        });
        policy.rules = below.chain([rule(None, others)]).collect();
        policy
    }

    /// Says who may do what.
    pub(super) fn words(&self) -> String {
        let Some((path, _)) = &self.users else {
            return "everyone who can reach it may push and delete".to_owned();
        };
        let file = path.display();
        let writers = if self.writers.is_empty() {
            format!("the users in {file}")
        } else {
            let names = self.writers.iter().map(|Writer { prefix, user }| match prefix {
                Some(prefix) => format!("{user} (in {prefix})"),
                None => user.to_string(),
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let readers = match (self.anonymous_reads, self.writers.is_empty()) {
            (true, _) => "; everyone may pull".to_owned(),
            (false, true) => String::new(),
            (false, false) => format!("; the users in {file} may pull"),
        };
        format!("{writers} may push and delete{readers}")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::failed(format_args!("could not read {}: {error}", path.display())))
}
