//! The behaviour of a driver.

/// The actions of a driver other than performing requests.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Behaviour {
    /// Pauses and resumes, drops the driver, answers late, lets time pass. None of this changes the events of
    /// an operation.
    pub interrupts: bool,
    /// Cancels operations, sets deadlines, and fails requests.
    pub ends: bool,
}

impl Behaviour {
    /// Only performs requests, in any order and in any chunks.
    pub const ORDERLY: Self = Self { interrupts: false, ends: false };
    /// Also acts in ways that must not change events.
    pub const INTERRUPTING: Self = Self { interrupts: true, ends: false };
    /// Acts in every way.
    pub const ARBITRARY: Self = Self { interrupts: true, ends: true };
}
