//! The `watchbell` binary: everything is in the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    watchbell::command::main(std::env::args_os())
}
