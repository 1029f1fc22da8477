//! The supervisor of commands as a program of its own: see [`backroom::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    backroom::command::supervise_if_asked();
    ExitCode::from(2)
}
