//! Layouts on a real file system.

mod damage;
mod killed;
mod reading;
mod support;
mod writing;
