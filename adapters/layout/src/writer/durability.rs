//! How durable a written layout is.

/// Whether written files survive a crash of the machine, such as a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Durability {
    /// The writer waits until files and their names are on disk.
    #[default]
    Synced,
    /// The writer does not wait. It is faster, especially with many small blobs, but after a crash the files of
    /// the last seconds may be missing, empty or damaged. A check finds the damage.
    Unsynced,
}
