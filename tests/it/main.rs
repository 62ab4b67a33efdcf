//! The one integration binary: one link of the whole tree.

mod cron;
mod house;
mod ingest;
mod journal;
mod matchers;
mod schedules;
mod store;
