//! `backroom completions`: a script that completes this command line in a shell.

use clap::Args;
use clap_complete::Shell;

use crate::terminal::{Problem, out};

/// Print a script that completes `backroom` commands in your shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom completions bash > ~/.local/share/bash-completion/completions/backroom
  backroom completions zsh  > \"${fpath[1]}/_backroom\"
  backroom completions fish > ~/.config/fish/completions/backroom.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, command: &mut clap::Command) -> Result<(), Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "backroom", &mut script);
    out::text(&String::from_utf8_lossy(&script))
}
