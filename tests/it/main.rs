//! The one integration binary: one link of the whole tree.

mod cron;
mod house;
mod ingest;
mod matchers;
mod schedules;
