//! Why an operation failed, by whose fault.
/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct Error {}

impl Error {
    /// The registry says that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        todo!()
    }
    /// The registry wants a login, or refuses the one it got.
    pub fn is_unauthorized(&self) -> bool {
        todo!()
    }
    /// What to do about it, where that is known: a sentence for a person.
    pub fn hint(&self) -> Option<&str> {
        todo!()
    }
    /// The transport's fault, if that is why.
    pub fn fault(&self) -> Option<&crate::Fault> {
        todo!()
    }
}
