//! `cargo xtask trace`: one appointment's way through the system, from the logs of the local stack.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use console::spans::LogFolder;
use console::terminal::Colour;
use console::timeline::{Timeline, traces_of};
use uuid::Uuid;

#[derive(Args)]
pub(crate) struct Trace {
    /// An appointment's id, or a trace's: 32 hexadecimal digits.
    id: String,
    /// The port of the local stack's application, which may have ended by now.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

pub(crate) fn run(root: &Path, options: &Trace) -> Result<ExitCode> {
    let id = options.id.to_ascii_lowercase();
    let folder = local_stack::logs_of_port(root, options.port);
    let is_trace = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_trace && Uuid::try_parse(&id).is_err() {
        bail!(
            "`{}` is no appointmentId, such as 01890f3e-6b7c-7cc2-98c4-dc0c0c07398f, and no trace id of 32 hexadecimal digits",
            options.id
        );
    }
    let lines = LogFolder::new(&folder).read().with_context(|| format!("cannot read {}", folder.display()))?;
    let traces = if is_trace { vec![id] } else { traces_of(&id, &lines) };
    let timelines: Vec<Timeline> = traces.iter().filter_map(|trace| Timeline::of(trace, &lines)).collect();
    if timelines.is_empty() {
        bail!(
            "no line in {} names {}.\nIs it of another stack (--port)? \
             What a function printed is there a second later,\nor with its next invocation.",
            folder.display(),
            options.id
        );
    }
    let colour = Colour::of_output();
    let texts: Vec<String> = timelines.iter().map(|timeline| timeline.text(colour)).collect();
    print!("{}", texts.join("\n"));
    Ok(ExitCode::SUCCESS)
}
