//! The program `watchkeeper`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    watchkeeper::cli::run()
}
