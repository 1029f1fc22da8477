//! `backroom demo`. The demo itself fills this room; what stands here is what the command line needs of it.

#[allow(dead_code, unused_imports, reason = "the demo's handlers call it")]
mod pictures;

use std::path::PathBuf;

use clap::Args;

use crate::{cli::Problem, settings::Settings};

/// Watch jobs at work: thumbnails of pictures, made in the background
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// A folder with your own pictures; without it some are drawn
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Where the thumbnails go
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End when all is done
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(args: DemoArgs, settings: &Settings) -> Result<(), Problem> {
    let _ = (args.photos, args.out, args.once, settings);
    Ok(())
}
