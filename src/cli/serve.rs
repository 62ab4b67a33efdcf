//! `serve`: runs the daemon; with `--demo` it also shows it at work.

use crate::app::{self, Options};
use crate::cli::{Exit, demo};
use crate::config::Environment;
use anyhow::Context;
use std::path::PathBuf;
use tokio::sync::oneshot;

/// Threads that answer requests and deliver pages: both mostly wait.
const WORKERS: usize = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Also post a few real payloads to it, and print what to look at
    #[arg(long)]
    demo: bool,
}

impl Serve {
    pub(super) fn run(
        &self,
        config: Option<PathBuf>,
        environment: Environment,
    ) -> anyhow::Result<Exit> {
        let options = Options {
            config,
            environment,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            if !self.demo {
                return app::serve(options, None).await;
            }
            let (ready, served_at) = oneshot::channel();
            let served = app::serve(options, Some(ready));
            let shown = demo::show(served_at);
            let (served, shown) = tokio::join!(served, shown);
            served.and(shown)
        })?;
        Ok(Exit::Done)
    }
}
