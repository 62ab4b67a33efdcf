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
mod api_v2;
mod arc;
mod backtest;
mod binary;
mod blocks;
mod chance;
mod changes;
mod channels;
mod clock;
mod cluster;
mod config;
mod copying;
mod crash;
mod cron;
mod daemon;
mod dedup;
mod delivery;
mod disk;
mod escalation;
mod explain;
mod fingerprints;
mod flapping;
mod foreseen;
mod full;
mod golden;
mod heartbeats;
mod hostile;
mod hot_reload;
mod house;
mod http;
mod ingest;
mod intervals;
mod journal;
mod judging;
mod kill;
mod laws;
mod lifecycle;
mod load;
mod mapped;
mod matchers;
mod muting;
mod openapi;
mod postgres;
mod power;
mod quarantine;
mod readme;
mod receivers;
mod replicas;
mod retention;
mod rule_files;
mod rule_tests;
mod schedules;
mod senders;
mod silences;
mod simulation;
mod stale;
mod store;
mod stores;
mod storms;
mod vendors;
mod verification;
mod world;
