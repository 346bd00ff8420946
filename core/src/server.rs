//! A read-only registry as a state machine.
