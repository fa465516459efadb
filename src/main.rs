//! The `sidekey` program: calls the command line and, on musl, names the allocator.

use std::process::ExitCode;

// musl's own allocator is 10 to 20 times slower under several threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sidekey::cli::main()
}
