//! `backroom endpoints`: URLs of callbacks whose receiver wants no more of them.

use clap::{Args, Subcommand};

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    words,
};
use crate::views::EndpointPage;

/// List URLs that want no more callbacks, or enable one again
///
/// A receiver that answers a callback with 410 Gone ends its endpoint: later callbacks to the URL are discarded with that reason. Once
/// it is enabled, `backroom retry` sends those that were discarded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom endpoints
  backroom endpoints enable https://example.com/hooks/jobs

With --json: {\"endpoints\": [{\"url\", \"reason\", \"ended_at\"}, …], \"next\": URL or null}.")]
pub(crate) struct EndpointsArgs {
    #[command(subcommand)]
    act: Option<Act>,

    /// List those after this URL
    #[arg(long, value_name = "URL")]
    after: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Send callbacks to this URL again
    Enable {
        /// The URL, with its query
        url: String,
    },
}

pub(crate) async fn run(args: EndpointsArgs, settings: &Settings) -> Result<(), Problem> {
    match args.act {
        None => list(args.after, settings).await,
        Some(Act::Enable { url }) => {
            settings.with_target(Need::Change, async |target| target.enable_endpoint(&url).await).await?;
            if settings.json {
                return out::json(&serde_json::json!({ "enabled": url }), settings.terminal);
            }
            out::line(format_args!("callbacks to {url} are sent again"))
        }
    }
}

async fn list(after: Option<String>, settings: &Settings) -> Result<(), Problem> {
    let (page, now) = settings
        .with_target(Need::Read, async |target: &Target| {
            Ok((target.ended_endpoints(after).await?, target.now()))
        })
        .await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    let EndpointPage { endpoints, next } = page;
    if endpoints.is_empty() {
        return out::line("no endpoint has ended");
    }
    let columns = [Column::Text("URL"), Column::Whole("ENDED"), Column::Text("REASON")];
    let mut rows = table::table(settings.style(), &columns);
    for endpoint in &endpoints {
        let ended = words::from_now(endpoint.ended_at, now);
        rows.add_row(vec![cell(&endpoint.url), cell(ended), cell(&endpoint.reason)]);
    }
    table::show(&rows)?;
    if let Some(next) = next {
        out::note(format_args!("there may be more: add --after {next}"));
    }
    Ok(())
}
