//! Stand-in until the commands are here.
mod demo;
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[arg(long, env = "BACKROOM_STORE", default_value = "sqlite:backroom.db")]
    store: String,
    #[command(subcommand)]
    command: Command,
}
#[derive(clap::Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
}
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let Command::Demo(args) = cli.command;
    let backroom = backroom::Backroom::open(&cli.store).await.expect("open");
    match demo::run(args, &backroom, &cli.store).await {
        Ok(code) => code,
        Err(error) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("failed to {error}");
            }
            std::process::ExitCode::FAILURE
        }
    }
}
