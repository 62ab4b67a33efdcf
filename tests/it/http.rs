//! Stories of the HTTP face: each route at least once, with its exact status and the fields the contract names.

mod access;
mod answers;
mod backtest;
mod commands;
mod dead_letters;
mod explain;
mod gate;
mod health;
mod hooks;
mod kinds;
mod links;
mod lists;
