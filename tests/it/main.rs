//! The one integration binary: one link of the whole tree.

mod channels;
mod clock;
mod crash;
mod cron;
mod dedup;
mod delivery;
mod escalation;
mod golden;
mod house;
mod ingest;
mod journal;
mod laws;
mod lifecycle;
mod matchers;
mod schedules;
mod store;
mod verification;
mod world;
