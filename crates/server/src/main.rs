//! tmp
#![allow(warnings)]
mod bench;
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: bench::BenchArgs,
    #[arg(long)]
    store: Option<String>,
}
#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let report = bench::measure(&cli.bench, cli.store.as_deref(), &|s| eprintln!("{s}")).await.unwrap();
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}
