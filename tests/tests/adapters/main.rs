//! Behaviour that both adapters share.

mod addresses;
mod blobs;
mod certificates;
mod client_certificates;
mod cut_short;
mod environment;
mod failures;
mod hints;
mod lists;
mod login;
mod notices;
mod proxies;
mod pull;
mod referrers;
mod registries_conf;
mod registry;
mod slow;
mod transcripts;
mod uploads;
