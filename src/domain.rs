//! The vocabulary: alerts, rules, incidents, phases, escalation, schedules, verification. No I/O, no clock, no async.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod action_item;
pub mod alert;
pub mod analysis;
pub mod change;
pub mod confirmation;
pub mod cron_spec;
pub mod escalation;
pub mod finding;
pub mod go_regex;
pub mod heartbeat;
pub mod incident;
pub mod inhibition;
pub mod interval;
pub mod mapping;
pub mod matcher;
pub mod oncall;
pub mod page;
pub mod phase;
pub mod rule;
pub mod schedule;
pub mod secret;
pub mod severity;
pub mod signature;
pub mod silence;
pub mod source;
pub mod template;
pub mod time;
pub mod verification;
