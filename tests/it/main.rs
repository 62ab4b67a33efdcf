//! The one integration binary: one link of the whole tree.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a story that does not hold ends in a panic, whichever way"
)]

mod alertmanager;
mod api;
mod arc;
mod binary;
mod blocks;
mod channels;
mod clock;
mod config;
mod crash;
mod cron;
mod daemon;
mod dedup;
mod delivery;
mod escalation;
mod fingerprints;
mod golden;
mod house;
mod http;
mod ingest;
mod journal;
mod laws;
mod lifecycle;
mod matchers;
mod quarantine;
mod readme;
mod receivers;
mod rule_files;
mod schedules;
mod simulation;
mod store;
mod verification;
mod world;
