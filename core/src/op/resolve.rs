//! Resolve and manifest: the descriptor of a reference, and its document if that is wanted.

use crate::op::ask::StoreContent;
use crate::op::deliver::Deliver;
use crate::op::lookup::Lookup;
use crate::op::rooted::Rooted;

/// Reports the descriptor that the lookup finds.
pub(crate) fn resolve(lookup: Lookup) -> Rooted {
    Rooted::new(lookup, |_, _| Box::new(Deliver::nothing()))
}

/// Reports the descriptor that the lookup finds, and delivers its manifest. The lookup must be one that
/// reads the manifest.
pub(crate) fn manifest(lookup: Lookup) -> Rooted {
    Rooted::with_manifest(lookup, |root, manifest| {
        Box::new(Deliver::content(root, StoreContent::Document(manifest)))
    })
}
