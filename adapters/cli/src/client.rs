//! The two adapters behind one blocking interface.

use std::future::poll_fn;
use std::io::{self, Read};
use std::iter;
use std::pin::Pin;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use oci_proto::{
    Cause, Descriptor, Error, Finding, Manifest, MediaType, Node, Platform, PullOptions, Reference, Referrer,
    Registry, Responder, Scope, Tag, WalkOptions,
};
use oci_proto_common::{Artifact, AttachError, BuildError, ImageConfigError, TransferOptions, TreeSource};
use oci_proto_credentials::Store;
use oci_proto_layout::{LayoutDestination, PullError};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::{self, Runtime};

use crate::args::{Adapter, CommonArgs};
use crate::copy_end::CopyEnd;
use crate::interrupt::Interrupt;
use crate::output::{Failure, count};
use crate::settings::settings;

/// The longest time for which a transfer that failed waits until its uploads are cancelled.
const CANCELLING: Duration = Duration::from_secs(2);

/// A client on either adapter.
pub(crate) struct Client {
    driver: Driver,
    logins: Store,
    since: Instant,
}

enum Driver {
    Tokio(Runtime, oci_proto_tokio::Client),
    Ureq(oci_proto_ureq::Client),
}

/// Runs a command with a client for a registry. If --verbose is given, prints the number of requests and the time, and
/// where logins came from, whether the command succeeds or fails.
pub(crate) fn with_client<T>(
    registry: &Registry,
    common: &CommonArgs,
    command: impl FnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let client = Client::for_registry(registry, common)?;
    let result = command(&client);
    client.tell_details(common);
    client.close();
    result
}

impl Client {
    /// Creates a client with the adapter and the logins that the options select for a registry.
    pub(crate) fn for_registry(registry: &Registry, common: &CommonArgs) -> Result<Self, Failure> {
        Self::new(common.adapter, Some(registry), common, common.login.store(registry)?)
    }

    /// Creates a client that presents the client certificate of the options to `registry`.
    pub(crate) fn new(
        adapter: Adapter,
        registry: Option<&Registry>,
        common: &CommonArgs,
        logins: Store,
    ) -> Result<Self, Failure> {
        let settings = settings(registry, common, logins.clone())?;
        let driver = match adapter {
            Adapter::Tokio => {
                let runtime = runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| Failure::failed(format_args!("could not start tokio: {error}")))?;
                let client = oci_proto_tokio::Client::with_settings(settings).map_err(not_built)?;
                Driver::Tokio(runtime, client)
            }
            Adapter::Ureq => {
                Driver::Ureq(oci_proto_ureq::Client::with_settings(settings).map_err(not_built)?)
            }
        };
        Ok(Self { driver, logins, since: Instant::now() })
    }

    pub(crate) fn resolve(
        &self,
        name: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Descriptor, Failure> {
        let resolved = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.resolve(name, platform)),
            Driver::Ureq(client) => client.resolve(name, platform),
        };
        resolved.map_err(|error| self.failure(&error, name))
    }

    pub(crate) fn manifest(
        &self,
        name: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Failure> {
        let manifest = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.manifest(name, platform)),
            Driver::Ureq(client) => client.manifest(name, platform),
        };
        manifest.map_err(|error| self.failure(&error, name))
    }

    pub(crate) fn walk(
        &self,
        name: &Reference,
        options: WalkOptions,
    ) -> impl Iterator<Item = Result<Node, Failure>> {
        let nodes: Box<dyn Iterator<Item = Result<Node, Error>>> = match &self.driver {
            Driver::Tokio(runtime, client) => {
                let mut walk = client.walk(name, options);
                Box::new(iter::from_fn(move || next(runtime, &mut walk)))
            }
            Driver::Ureq(client) => Box::new(client.walk(name, options)),
        };
        nodes.map(|node| node.map_err(|error| self.failure(&error, name)))
    }

    /// Verifies everything under a reference, and passes each finding to `found`.
    pub(crate) fn check(
        &self,
        name: &Reference,
        platform: Option<&Platform>,
        found: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Failure> {
        let checked = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.check(name, platform, found)),
            Driver::Ureq(client) => client.check(name, platform, found),
        };
        checked.map_err(|error| self.failure(&error, name))
    }

    /// Copies everything under a reference into a layout.
    pub(crate) fn pull(
        &self,
        name: &Reference,
        destination: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, Failure> {
        let pulled = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.pull(name, destination, options)),
            Driver::Ureq(client) => client.pull(name, destination, options),
        };
        pulled.map_err(|error| match error {
            PullError::Registry(error) => self.failure(&error, name),
            PullError::Layout(error) => Failure::of_writing(&error),
            error => Failure::failed(error),
        })
    }

    /// Finds out whether a registry accepts this client. Returns whether it has checked a login.
    pub(crate) fn check_access(&self, registry: &Registry) -> Result<bool, Failure> {
        let accepted = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.check_access(registry)),
            Driver::Ureq(client) => client.check_access(registry),
        };
        accepted.map_err(|error| Failure::of_login(&error))
    }

    /// Lists the tags of a repository, and passes each to `take`. Returns the number of entries that were left out.
    pub(crate) fn tags(
        &self,
        name: &Reference,
        take: &mut dyn FnMut(Tag) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        match &self.driver {
            Driver::Tokio(runtime, client) => {
                let mut tags = client.tags(name, None);
                self.each(name, || next(runtime, &mut tags), take)?;
                Ok(tags.left_out())
            }
            Driver::Ureq(client) => {
                let mut tags = client.tags(name, None);
                self.each(name, || tags.next(), take)?;
                Ok(tags.left_out())
            }
        }
    }

    /// Lists the referrers of a manifest, and passes each to `take`.
    pub(crate) fn referrers(
        &self,
        name: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match &self.driver {
            Driver::Tokio(runtime, client) => {
                let mut referrers = client.referrers(name, artifact_type);
                self.each(name, || next(runtime, &mut referrers), take)
            }
            Driver::Ureq(client) => {
                let mut referrers = client.referrers(name, artifact_type);
                self.each(name, || referrers.next(), take)
            }
        }
    }

    fn each<T>(
        &self,
        name: &Reference,
        next: impl FnMut() -> Option<Result<T, Error>>,
        take: &mut dyn FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        iter::from_fn(next).try_for_each(|entry| take(entry.map_err(|error| self.failure(&error, name))?))
    }

    /// Deletes a tag, a manifest or a blob.
    pub(crate) fn delete(&self, name: &Reference, is_blob: bool) -> Result<(), Failure> {
        let deleted = match &self.driver {
            Driver::Tokio(runtime, client) if is_blob => runtime.block_on(client.delete_blob(name)),
            Driver::Tokio(runtime, client) => runtime.block_on(client.delete(name)),
            Driver::Ureq(client) if is_blob => client.delete_blob(name),
            Driver::Ureq(client) => client.delete(name),
        };
        deleted.map_err(|error| self.failure(&error, name))
    }

    /// Sends a tree to a repository.
    pub(crate) fn push(
        &self,
        root: &Descriptor,
        to: &Reference,
        tree: impl TreeSource + 'static,
        options: TransferOptions,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let pushed = match &self.driver {
            Driver::Tokio(runtime, client) => {
                until_interrupt(runtime, interrupt, client.push(root, to, tree, options))
            }
            Driver::Ureq(client) => interrupt.run(|| client.push(root, to, &tree, options)),
        };
        self.ended(pushed, |error| self.write_failure(&error, to))
    }

    /// Copies a tree from one repository to another.
    pub(crate) fn copy(
        &self,
        from: &Reference,
        to: &Reference,
        options: TransferOptions,
        interrupt: &Interrupt,
    ) -> Result<Descriptor, Failure> {
        let copied = match &self.driver {
            Driver::Tokio(runtime, client) => {
                until_interrupt(runtime, interrupt, client.copy(from, to, options))
            }
            Driver::Ureq(client) => interrupt.run(|| client.copy(from, to, options)),
        };
        self.ended(copied, |error| match CopyEnd::of(&error, from, to) {
            Some(CopyEnd::Destination) => self.write_failure(&error, to),
            Some(CopyEnd::Source) => self.failure(&error, from),
            // The login is the same for both ends of one registry.
            None if from.registry() == to.registry() => self.failure(&error, from),
            None => Failure::of(&error, from),
        })
    }

    /// Attaches an artifact to what `subject` names.
    pub(crate) fn attach(
        &self,
        subject: &Reference,
        artifact: Artifact,
        options: TransferOptions,
        interrupt: &Interrupt,
    ) -> Result<Descriptor, Failure> {
        let attached = match &self.driver {
            Driver::Tokio(runtime, client) => {
                until_interrupt(runtime, interrupt, client.attach(subject, artifact, options))
            }
            Driver::Ureq(client) => interrupt.run(|| client.attach(subject, artifact, options)),
        };
        self.ended(attached, |error| match error {
            AttachError::Registry(error) => self.write_failure(&error, subject),
            error => Failure::failed(error),
        })
    }

    /// Sets tags for what `name` names.
    pub(crate) fn tag(&self, name: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Failure> {
        let tagged = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.tag(name, tags)),
            Driver::Ureq(client) => client.tag(name, tags),
        };
        tagged.map_err(|error| self.write_failure(&error, name))
    }

    /// Fetches the config of an image.
    pub(crate) fn image_config(
        &self,
        name: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Bytes, Failure> {
        let config = match &self.driver {
            Driver::Tokio(runtime, client) => runtime.block_on(client.image_config(name, platform)),
            Driver::Ureq(client) => client.image_config(name, platform),
        };
        config.map(|(_, bytes)| bytes).map_err(|error| match error {
            ImageConfigError::Registry(error) => self.failure(&error, name),
            error => Failure::of_config(&error),
        })
    }

    /// Converts the end of a transfer. If it did not succeed, its uploads are cancelled in the background.
    fn ended<T, E>(
        &self,
        ended: Option<Result<T, E>>,
        convert: impl FnOnce(E) -> Failure,
    ) -> Result<T, Failure> {
        let failure = match ended {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => convert(error),
            None => Failure::failed("interrupted"),
        };
        let until = Instant::now() + CANCELLING;
        while !self.is_idle() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        Err(failure)
    }

    fn is_idle(&self) -> bool {
        match &self.driver {
            Driver::Tokio(_, client) => client.is_idle(),
            Driver::Ureq(client) => client.is_idle(),
        }
    }

    /// Reads a blob as it arrives. The end of file is reached only after verification.
    pub(crate) fn blob(&self, name: &Reference, size: Option<u64>) -> Box<dyn Read + '_> {
        match &self.driver {
            Driver::Tokio(runtime, client) => Box::new(Blocking { runtime, reader: client.blob(name, size) }),
            Driver::Ureq(client) => Box::new(client.blob(name, size)),
        }
    }

    /// Converts the error of an operation on `name`. Says where a login that was refused comes from.
    pub(crate) fn failure(&self, error: &Error, name: &Reference) -> Failure {
        let failure = Failure::of(error, name);
        match self.refused_login(error, name) {
            Some(source) => failure.with_hint(format!(
                "the login from {source} is wrong, or you lack permission, or it does not exist"
            )),
            None => failure,
        }
    }

    /// Converts the error of an operation that sends content to `name`. Says which permission it needs.
    fn write_failure(&self, error: &Error, name: &Reference) -> Failure {
        let failure = Failure::of(error, name);
        if !is_permission(error) {
            return failure;
        }
        let scope = Scope::push(name.repository());
        failure.with_hint(if is_with_login(error) {
            let source = self.refused_login(error, name);
            let source = source.map_or_else(String::new, |source| format!(" from {source}"));
            format!("the login{source} is wrong, or lacks permission to push, which is {scope}")
        } else {
            format!(
                "log in with `ocip login`, `docker login` or `podman login`, or use --username NAME with \
                 --password-stdin; to push, the login needs the permission {scope}"
            )
        })
    }

    /// The source of a login that the registry refuses.
    fn refused_login(&self, error: &Error, name: &Reference) -> Option<String> {
        let is_refused = is_with_login(error) && is_permission(error);
        self.logins.source(name.registry()).filter(|_| is_refused)
    }

    /// Shuts down without waiting for abandoned work, such as a DNS lookup.
    pub(crate) fn close(self) {
        match self.driver {
            Driver::Tokio(runtime, client) => {
                drop(client);
                runtime.shutdown_background();
            }
            Driver::Ureq(client) => drop(client),
        }
    }

    /// Prints the number of requests, the time, and where logins came from, if --verbose is given.
    pub(crate) fn tell_details(&self, common: &CommonArgs) {
        common.detail(format_args!("{}: {}", common.adapter.as_str(), self.spent()));
        for (registry, source) in self.logins.sources() {
            common.detail(format_args!("the login for {registry} came from {source}"));
        }
    }

    /// The number of requests and the time spent so far.
    pub(crate) fn spent(&self) -> String {
        let requests = match &self.driver {
            Driver::Tokio(_, client) => client.metrics().requests,
            Driver::Ureq(client) => client.metrics().requests,
        };
        format!("{}, {} ms", count(requests, "request"), self.since.elapsed().as_millis())
    }
}

/// Waits for the next item of a stream.
fn next<S: Stream + Unpin>(runtime: &Runtime, stream: &mut S) -> Option<S::Item> {
    runtime.block_on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}

/// Converts the error of building a client. Only options name a client certificate that was checked so late.
fn not_built(error: BuildError) -> Failure {
    match error {
        BuildError::ClientCertificate(_) => Failure::usage(format_args!("--cert and --key: {error}")),
        BuildError::Registries { .. } => Failure::usage(error)
            .with_hint("--registries-conf FILE names another file, --no-registries-conf none"),
        error => Failure::failed(error),
    }
}

/// Whether a registry or its token server refuses permission.
fn is_permission(error: &Error) -> bool {
    let by_registry = matches!(error.cause(), Cause::Answered(refusal) if refusal.by != Responder::Elsewhere);
    by_registry && error.is_unauthorized()
}

/// Whether a request was refused although there is a login.
fn is_with_login(error: &Error) -> bool {
    matches!(error.cause(), Cause::Answered(refusal) if refusal.with_login)
}

/// Runs a transfer until a signal comes. Returns `None` if it was interrupted.
fn until_interrupt<T>(
    runtime: &Runtime,
    interrupt: &Interrupt,
    transfer: impl Future<Output = T>,
) -> Option<T> {
    let transfer = async {
        tokio::select! {
            ended = transfer => Some(ended),
            () = interrupt.requested() => None,
        }
    };
    // It unwinds if it reports progress before it is dropped.
    interrupt.run(|| runtime.block_on(transfer)).flatten()
}

struct Blocking<'a, R> {
    runtime: &'a Runtime,
    reader: R,
}

impl<R: tokio::io::AsyncRead + Unpin> Read for Blocking<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.reader.read(buffer))
    }
}
