//! Layouts on a real file system.

mod damage;
mod hostile;
mod killed;
mod pulling;
mod reading;
mod support;
mod writing;
