//! The methods of the client that list, look for and delete content.

use std::num::NonZeroUsize;

use oci_proto::{Error, Event, MediaType, Reference, Referrer, Registry, Repository, Session, Tag};

use crate::call::Call;
use crate::client::Client;
use crate::list::List;

impl Client {
    /// Lists the tags of the repository of `reference`. Returns a stream of tags, in the registry's order.
    ///
    /// `page_size` is the maximum number of tags per request; `None` leaves it to the registry. Entries that are not
    /// valid tags are left out, and counted by [`List::left_out`].
    ///
    /// # Errors
    /// The last item is an error if the registry does not have the repository, refuses a request, violates the
    /// protocol, or cannot be reached, or if the list exceeds a limit or leads nowhere.
    ///
    /// # Examples
    /// ```no_run
    /// use futures_util::TryStreamExt as _;
    ///
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let tags: Vec<_> = client.tags(&"registry.example/team/app".parse()?, None).try_collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tags(&self, reference: &Reference, page_size: Option<NonZeroUsize>) -> List<Tag> {
        let reference = reference.clone();
        List::of_tags(Call::later(self.shared.clone(), "tags", move |session| {
            session.tags(&reference, page_size)
        }))
    }

    /// Lists the repositories of a registry. Returns a stream of repositories, in the registry's order. Many
    /// registries do not offer this, or only to administrators.
    ///
    /// # Errors
    /// See [`tags`](Self::tags).
    pub fn repositories(&self, registry: &Registry, page_size: Option<NonZeroUsize>) -> List<Repository> {
        let registry = registry.clone();
        List::of_repositories(Call::later(self.shared.clone(), "repositories", move |session| {
            session.repositories(&registry, page_size)
        }))
    }

    /// Lists the manifests whose subject is the manifest of `reference`, such as signatures, all of them or those of
    /// one artifact type. Returns a stream of referrers.
    ///
    /// On a registry that does not list referrers, reads the index under the fallback tag. A manifest without
    /// referrers has an empty list, and so does a digest that the registry does not have.
    ///
    /// # Errors
    /// See [`tags`](Self::tags). Also returns an error if a tag cannot be resolved.
    pub fn referrers(&self, reference: &Reference, artifact_type: Option<&MediaType>) -> List<Referrer> {
        let (reference, artifact_type) = (reference.clone(), artifact_type.cloned());
        let start = move |session: &mut Session| session.referrers(&reference, artifact_type.as_ref());
        List::of_referrers(Call::later(self.shared.clone(), "referrers", start))
    }

    /// Finds out whether the registry accepts this client, and the login for it if it asks for one. Returns whether it
    /// has checked a login: a registry that serves everyone asks for none, and some accept any login here and refuse it
    /// later.
    ///
    /// # Errors
    /// Returns an error if the registry refuses the login, or is none, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn check_access(&self, registry: &Registry) -> Result<bool, Error> {
        let call = Call::start(self.shared.clone(), "check_access", |session| session.check_access(registry));
        let mut checked = false;
        call.finish(|event| {
            if let Event::Accepted { with_login } = event {
                checked = with_login;
            }
        })
        .await?;
        Ok(checked)
    }

    /// Returns whether the registry has the manifest of a reference, without fetching it.
    ///
    /// # Errors
    /// Returns an error if the registry refuses the request, violates the protocol, or cannot be reached. A
    /// repository that does not exist is no error.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn exists(&self, reference: &Reference) -> Result<bool, Error> {
        let call = Call::start(self.shared.clone(), "exists", |session| session.exists(reference));
        let mut exists = false;
        call.finish(|event| {
            if let Event::Exists(found) = event {
                exists = found;
            }
        })
        .await?;
        Ok(exists)
    }

    /// Returns whether the repository of `reference` has the blob with its digest, without fetching it. The reference
    /// must have a digest.
    ///
    /// # Errors
    /// See [`exists`](Self::exists).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn blob_exists(&self, reference: &Reference) -> Result<bool, Error> {
        let call = Call::start(self.shared.clone(), "blob_exists", |session| session.blob_exists(reference));
        let mut exists = false;
        call.finish(|event| {
            if let Event::Exists(found) = event {
                exists = found;
            }
        })
        .await?;
        Ok(exists)
    }

    /// Deletes the tag of a reference or, if the reference has a digest, the manifest. Deleting a manifest also
    /// removes all tags that name it.
    ///
    /// # Errors
    /// Returns an error if there is nothing to delete ([`is_not_found`](Error::is_not_found)), if the registry does
    /// not allow it ([`is_unsupported`](Error::is_unsupported)), as many do not for tags, if it refuses the request, or
    /// if it cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The content may be deleted nevertheless.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// match client.delete(&"registry.example/team/app:1.0-rc".parse()?).await {
    ///     Err(error) if error.is_not_found() => {}
    ///     Err(error) if error.is_unsupported() => eprintln!("this registry deletes no tags"),
    ///     result => result?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self, reference: &Reference) -> Result<(), Error> {
        Call::start(self.shared.clone(), "delete", |session| session.delete(reference)).finish(drop).await
    }

    /// Deletes a blob. The reference must have a digest. Manifests that refer to the blob stay.
    ///
    /// # Errors
    /// See [`delete`](Self::delete).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The content may be deleted nevertheless.
    pub async fn delete_blob(&self, reference: &Reference) -> Result<(), Error> {
        Call::start(self.shared.clone(), "delete_blob", |session| session.delete_blob(reference))
            .finish(drop)
            .await
    }
}
