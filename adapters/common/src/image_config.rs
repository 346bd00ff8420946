//! The config of an image.

use oci_proto::{Descriptor, Digest, Error, Kind, Manifest, MediaType};

/// Returns the descriptor of an image's config. It keeps its embedded data only if that is the content. For authors of
/// clients.
///
/// # Errors
/// The document is not an image, or its config is larger than [`MAX_CONFIG_LEN`].
pub fn config_of(root: &Descriptor, manifest: &Manifest) -> Result<Descriptor, ImageConfigError> {
    let config = manifest.config().filter(|_| manifest.kind() == Kind::Image);
    let Some(mut config) = config.map(|config| config.to_owned()) else {
        let media_type = manifest.media_type().clone();
        return Err(ImageConfigError::NotAnImage { root: Box::new(root.clone()), media_type });
    };
    if config.size > MAX_CONFIG_LEN {
        return Err(ImageConfigError::TooLarge { digest: config.digest, size: config.size });
    }
    config.data = config.embedded();
    Ok(config)
}

/// The maximum size of a config that is fetched, in bytes. Those of images have a few KiB.
pub const MAX_CONFIG_LEN: u64 = 16 << 20;

/// Why the config of an image was not fetched.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageConfigError {
    /// The reference names an index, of which no image was selected, or another document.
    #[error("{} is {media_type}, which has no config", root.digest)]
    NotAnImage {
        /// The document.
        root: Box<Descriptor>,
        /// Its type.
        media_type: MediaType,
    },
    /// The config is larger than [`MAX_CONFIG_LEN`].
    #[error("the config {digest} has {size} bytes; the limit is {MAX_CONFIG_LEN}")]
    TooLarge {
        /// The digest of the config.
        digest: Digest,
        /// Its size, in bytes.
        size: u64,
    },
    /// An error of the registry or the network.
    #[error(transparent)]
    Registry(#[from] Error),
}
