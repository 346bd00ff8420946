//! The grammars of the headers that the protocol hangs on.
