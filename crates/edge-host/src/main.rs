//! `edge-host`: serves a Spin application's HTTP components on this machine, without the `spin` CLI, and compiles components
//! ahead of time for the Lambda host.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use edge_host::{EdgeHost, Error, Manifest, SpanExport, compile_ahead, console};
use tokio::signal::unix::{SignalKind, signal};

/// Serve the HTTP components of a Spin application
///
/// Reads the same spin.toml (manifest v2) as `spin up`. Components are compiled on the first start and taken from the
/// cache after that. Whatever the manifest uses that edge-host does not implement is refused by name.
///
/// Spin variables come only from the environment, because the list of processes shows arguments: the variable
/// `authentication` is set by SPIN_VARIABLE_AUTHENTICATION.
///
/// With OTEL_EXPORTER_OTLP_ENDPOINT set, for example to http://127.0.0.1:4318, the spans of the components' log lines are sent to that
/// OpenTelemetry collector each second.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  SPIN_VARIABLE_APPOINTMENTS_TOPIC_ARN=arn:… edge-host --listen 127.0.0.1:3000"
)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,

    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,

    /// A component to run, as of `spin up`; may be repeated [default: all]
    #[arg(short, long = "component-id", value_name = "NAME")]
    components: Vec<String>,

    /// The address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,

    /// How many threads serve requests [default: one a processor]
    #[arg(long, value_name = "NUMBER")]
    threads: Option<NonZero<usize>>,

    /// How many instances may run at once; further requests wait for up to 2 s
    #[arg(long, value_name = "NUMBER", default_value_t = edge_host::DEFAULT_INSTANCES,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    instances: u32,

    /// Where compiled components are kept [default: target/edge-host-cache beside the manifest]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,

    /// How long a request may take before the host responds with 500
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    request_timeout: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the components ahead of time, each to <component>.cwasm
    ///
    /// For the Lambda host, which has no compiler. The code uses no instructions that some machine of the target lacks.
    Compile {
        /// The application's manifest
        #[arg(long, value_name = "FILE", default_value = "spin.toml")]
        from: PathBuf,

        /// The target of the code
        #[arg(long, value_name = "TRIPLE", default_value_t = format!("{}-unknown-linux-gnu", std::env::consts::ARCH))]
        target: String,

        /// The folder for the files
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
    },
}

/// How often spans are sent.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write for example 30s, 500ms or 2m")),
    }
}

/// A request takes and gives back some hundred pieces of memory in the host, which glibc's allocator makes dearer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    let finished = match options.command.take() {
        None => run(options).await.map_err(|error| error.to_string()),
        Some(Command::Compile { from, target, output }) => compile(&from, &target, &output),
    };
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compile(manifest: &Path, target: &str, output: &Path) -> Result<(), String> {
    let manifest = Manifest::from_file(manifest).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(output).map_err(|error| format!("cannot create {}: {error}", output.display()))?;
    for (name, source) in manifest.sources() {
        let component = std::fs::read(source)
            .map_err(|error| format!("component `{name}`: cannot read {}: {error}", source.display()))?;
        let code = compile_ahead(&component, target)
            .map_err(|error| format!("component `{name}`: cannot compile it for {target}: {error}"))?;
        let file = output.join(format!("{name}.cwasm"));
        std::fs::write(&file, code).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

async fn run(options: Options) -> Result<(), Error> {
    // From here on a signal no longer ends the process by itself, also while components are compiled.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Worker)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Worker)?;

    let mut manifest = Manifest::from_file(&options.from)?;
    if !options.components.is_empty() {
        let components: Vec<&str> = options.components.iter().map(String::as_str).collect();
        manifest = manifest.only(&components)?;
    }
    let mut builder = EdgeHost::builder(manifest)
        .listen(options.listen)
        .instances(options.instances)
        .request_timeout(options.request_timeout);
    let (log, spans) = SpanExport::from_environment("edge-host", console());
    builder = builder.log(log);
    if let Some(threads) = options.threads {
        builder = builder.threads(threads);
    }
    if let Some(folder) = options.cache {
        builder = builder.cache_folder(folder);
    }
    let host = tokio::select! {
        host = builder.start() => host?,
        _ = interrupt.recv() => std::process::exit(130),
        _ = terminate.recv() => std::process::exit(143),
    };

    println!("Serving {}", host.url());
    println!("Routes of {}:", host.application_name());
    let width = host.routes().iter().map(|(route, _)| route.len()).max().unwrap_or_default();
    for (route, component) in host.routes() {
        println!("  {route:width$}  {component}");
    }

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = export(spans.as_ref()) => {}
    }
    eprintln!("Stopping; requests in flight have 10 s to finish (again to stop at once)");
    tokio::select! {
        cut_off = host.shutdown() => {
            if cut_off > 0 {
                eprintln!("{cut_off} requests or connections were cut off");
            }
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if let Some(spans) = spans {
        spans.flush().await;
    }
    Ok(())
}

/// Sends spans each second, for ever.
async fn export(spans: Option<&SpanExport>) {
    let Some(spans) = spans else { return std::future::pending().await };
    loop {
        tokio::time::sleep(EXPORT_INTERVAL).await;
        spans.flush().await;
    }
}
