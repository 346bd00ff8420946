//! Conversion to the types of `oci-spec`.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use crate::manifest::Manifest;
use crate::manifest::error::{InvalidManifest, shortened};
use crate::types::media_type::Kind;

impl Manifest {
    /// Deserializes an image into `oci-spec`'s type.
    ///
    /// # Errors
    /// Fails if the document is not an image or does not fit the type.
    pub fn to_image(&self) -> Result<ImageManifest, InvalidManifest> {
        self.typed(Kind::Image)
    }

    /// Deserializes an index into `oci-spec`'s type.
    ///
    /// # Errors
    /// Fails if the document is not an index or does not fit the type.
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
