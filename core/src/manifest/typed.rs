//! Documents as the types of `oci-spec`.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use crate::manifest::Manifest;
use crate::manifest::error::{InvalidManifest, shortened};
use crate::types::media_type::Kind;

impl Manifest {
    /// Reads an image anew, as `oci-spec`'s type.
    ///
    /// # Errors
    /// The document is not an image, or that type cannot hold it.
    pub fn to_image(&self) -> Result<ImageManifest, InvalidManifest> {
        self.typed(Kind::Image)
    }

    /// Reads an index anew, as `oci-spec`'s type.
    ///
    /// # Errors
    /// The document is not an index, or that type cannot hold it.
    pub fn to_index(&self) -> Result<ImageIndex, InvalidManifest> {
        self.typed(Kind::Index)
    }

    fn typed<T: DeserializeOwned>(&self, wanted: Kind) -> Result<T, InvalidManifest> {
        if self.kind() != wanted {
            return Err(InvalidManifest::Kind { wanted, media_type: self.media_type().clone() });
        }
        serde_json::from_slice(self.bytes())
            .map_err(|error| InvalidManifest::Typed(shortened(&error.to_string())))
    }
}
