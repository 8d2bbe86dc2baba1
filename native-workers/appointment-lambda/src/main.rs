//! The `bootstrap` of the functions `appointment` and `appointment-update`. See the library.

use std::process::ExitCode;

/// A request takes and gives back some hundred pieces of memory in the host, which glibc's allocator makes dearer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    appointment_lambda::run()
}
