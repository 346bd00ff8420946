//! The line about content that a transfer to or from a registry skips.

use oci_proto::Descriptor;

/// A line about a layer or a referrer.
pub(in crate::commands) fn skipped(Descriptor { digest, media_type, .. }: &Descriptor) -> String {
    if media_type.is_nondistributable() {
        format!("skipped nondistributable layer {digest}; use --foreign-layers to copy it")
    } else {
        format!("skipped referrer {digest}, which is neither a manifest nor an index but {media_type}")
    }
}
