//! The `watchbell` binary: everything is in the library.
use std::process::ExitCode;

/// Malloc and free were a fifth of a push's cost with glibc's; librdkafka, OpenSSL and SQLite allocate here too. `.cargo/config.toml` has
/// its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    watchbell::command::main(std::env::args_os())
}
