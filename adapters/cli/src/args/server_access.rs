//! The arguments of `ocip serve` about TLS, logins, space and connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::RangedI64ValueParser;
use clap::{Args, value_parser};
use oci_proto::Repository;
use oci_proto::header::Warning;
use oci_proto::server::User;

use crate::args::mistake::Mistake;
use crate::args::values::{bytes, warning};

/// How a server is reached, and who may write.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub(crate) struct ServerAccessArgs {
    /// Serve over TLS, with the certificate in this PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the private key of --tls-cert.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// With --writable, require a login of this file, as `htpasswd -B` writes it.
    #[arg(long, value_name = "FILE", requires = "writable")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// With --htpasswd, let everyone pull without a login.
    #[arg(long, requires = "htpasswd")]
    pub(crate) anonymous_reads: bool,
    /// With --htpasswd, let only these users push and delete, everywhere or in the repositories below PREFIX.
    #[arg(long = "writer", value_name = "[PREFIX=]USER", requires = "htpasswd")]
    pub(crate) writers: Vec<Writer>,
    /// With --htpasswd, accept logins without TLS also on an address that other machines can reach.
    #[arg(long, requires = "htpasswd")]
    pub(crate) plain_logins: bool,
    /// With --writable, let everyone push and delete, also on an address that other machines can reach.
    #[arg(long, requires = "writable", conflicts_with = "htpasswd")]
    pub(crate) anonymous_writes: bool,
    /// Without --htpasswd, answer requests for any host name also on a loopback address.
    ///
    /// Otherwise only those for IP addresses, localhost and names below it are answered, and web pages of other origins
    /// cannot write: the page of a host name that resolves to this address could do everything.
    #[arg(long, conflicts_with = "htpasswd")]
    pub(crate) any_host: bool,
    /// Send this message to users, such as that the registry will be moved.
    ///
    /// It is a header of every response except for those that refuse a login, a host name or a connection, and those
    /// that report a failure of the storage.
    #[arg(long, value_name = "TEXT", value_parser = warning)]
    pub(crate) warning: Option<Warning>,
    /// With --writable, refuse what would exceed this number of bytes in all blobs, manifests and uploads.
    #[arg(long, value_name = "BYTES", requires = "writable", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    /// With --writable, refuse what would leave less than this number of bytes free [default: 67108864].
    #[arg(long, value_name = "BYTES", requires = "writable", value_parser = bytes)]
    pub(crate) min_free: Option<u64>,
    /// Number of connections that are open at a time; further clients wait.
    #[arg(long, value_name = "N", default_value = "512", value_parser = connections())]
    pub(crate) max_connections: u16,
    /// Number of them from one address, by default half of all; further ones get status 429.
    ///
    /// Behind a reverse proxy all clients have its address: allow it all connections.
    #[arg(long, value_name = "N", value_parser = connections())]
    pub(crate) max_connections_per_address: Option<u16>,
}

fn connections() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..)
}

/// A user who may push.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) prefix: Option<Repository>,
    pub(crate) user: User,
}

impl ServerAccessArgs {
    /// Checks that other machines can write only as intended.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<(), Mistake> {
        if listen.ip().to_canonical().is_loopback() || self.anonymous_writes {
            return Ok(());
        }
        if self.htpasswd.is_none() {
            let error = format!(
                "--listen {listen}: other machines may reach this address, and could push and delete without a login"
            );
            return Err(Mistake::new(error).with_hint(
                "listen on 127.0.0.1, require logins with --htpasswd FILE, or add --anonymous-writes if all of \
                 them may do that",
            ));
        }
        if self.tls_cert.is_none() && !self.plain_logins {
            let error =
                format!("--listen {listen}: without TLS, others on the network could read the logins");
            return Err(Mistake::new(error).with_hint(
                "add --tls-cert FILE --tls-key FILE, or --plain-logins behind a proxy that has TLS",
            ));
        }
        Ok(())
    }
}

impl FromStr for Writer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, user) = match text.split_once('=') {
            Some((prefix, user)) => (Some(prefix.parse().map_err(|error| format!("{error}"))?), user),
            None => (None, text),
        };
        Ok(Self { prefix, user: user.parse().map_err(|error| format!("{error}"))? })
    }
}
