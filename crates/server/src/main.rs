//! The program `backroom`. All of it is in the library beside it.

fn main() -> std::process::ExitCode {
    backroom_server::main()
}
