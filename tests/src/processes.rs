use std::path::Path;

/// The processes of this machine whose environment, a list of `NAME=value`, fulfils a condition.
///
/// # Panics
///
/// If the system has no `/proc`.
#[must_use]
pub fn processes_with(is_wanted: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    let entries = match std::fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => panic!("cannot read /proc: {error}"),
    };
    let processes = entries.flatten().filter_map(|entry| {
        let process: i32 = entry.file_name().to_str()?.parse().ok()?;
        // A process may have ended meanwhile.
        let environment = std::fs::read(Path::new("/proc").join(process.to_string()).join("environ")).ok()?;
        let variables: Vec<&str> =
            environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok()).collect();
        is_wanted(&variables).then_some(process)
    });
    processes.collect()
}
