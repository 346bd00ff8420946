//! Layouts on a real file system.

mod archives;
mod copying;
mod damage;
mod hostile;
mod hostile_archives;
mod killed;
mod pulling;
mod reading;
mod support;
mod writing;
