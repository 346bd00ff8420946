//! Layouts on a real file system.

mod archives;
mod copying;
mod damage;
mod fallback_indexes;
mod full;
mod hostile;
mod hostile_archives;
mod killed;
mod pulling;
mod reading;
mod referrers;
mod registry_figures;
mod support;
mod writing;
