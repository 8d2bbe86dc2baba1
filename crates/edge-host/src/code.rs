//! A component's machine code: where it came from, and why there is none.

/// Where a component's machine code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOrigin {
    /// Compiled now.
    Compiled,
    /// The compilation cache on disk.
    DiskCache,
    /// Another host of this process had it already.
    Process,
    /// A file that was compiled ahead of time.
    Ahead,
}

/// Why a component file gives no code.
pub(crate) enum LoadError {
    Read(std::io::Error),
    Compile(String),
}
