//! A registry that takes pushes, with requests as other clients write them.

mod bodies;
mod hooks;
mod requests;
mod storages;
mod support;
mod tls;
