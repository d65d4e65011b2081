//! The `watchbell` binary: everything is in the library.
use std::process::ExitCode;

/// Malloc and free were a fifth of a push's cost with glibc's; librdkafka, OpenSSL and SQLite allocate here too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    watchbell::command::main(std::env::args_os())
}
