//! `cargo xtask up`, and the start that `demo` shares with it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use console::server::Console;
use console::spans::Level;
use console::state::Stack;
use console::terminal::{self, Colour};
use console::watch::Watch;
use local_stack::artifacts::Artifacts;
use local_stack::progress::Progress;
use local_stack::tokens::{Authentication, TokenIssuer};
use local_stack::{ApplicationOptions, LocalStack, Options, catalogue, sample, setup};
use operator::backplane::Backplane;
use tokio::signal::unix::{SignalKind, signal};

use crate::Start;

/// How the application that is started learns who calls.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum AuthenticationChoice {
    /// It does not: anybody acts for anybody.
    None,
    /// By bearer tokens, which `cargo xtask token` mints.
    Jwt,
}

/// How the application is started.
#[derive(Args)]
pub(crate) struct UpOptions {
    /// How intake learns who calls.
    #[arg(long, value_enum, default_value = "none")]
    auth: AuthenticationChoice,
    /// Start no console: the page that shows the bookings, queues and errors of the stack.
    #[arg(long)]
    no_console: bool,
    /// The console's port on 127.0.0.1, instead of a free one.
    #[arg(long, env = "CONSOLE_PORT", conflicts_with = "no_console")]
    console_port: Option<u16>,
}

impl UpOptions {
    /// As `demo` starts it.
    pub(crate) const DEMO: Self = Self { auth: AuthenticationChoice::None, no_console: true, console_port: None };
}

pub(crate) async fn run(root: &Path, start: &Start, up_options: &UpOptions) -> Result<ExitCode> {
    let interrupted = interruption()?;
    tokio::pin!(interrupted);
    let mut stack = tokio::select! {
        stack = begin(root, start, up_options) => stack?,
        () = &mut interrupted => return Ok(stopped_early()),
    };
    let watch = Watch::start(stack.services().logs());
    let console = match up_options.no_console {
        true => None,
        false => {
            let observed = Stack::on_port(root, start.port).await?;
            Some(Console::start(observed, &watch, up_options.console_port).await?)
        }
    };
    explain(&stack, up_options);
    if let Some(console) = &console {
        println!("\nThe console, for you alone:\n  {}", console.url());
    }
    println!("\nErrors are shown here as they happen. Ctrl-C stops everything.");
    tokio::select! {
        waited = wait(&mut stack, interrupted) => waited?,
        () = echo_errors(&watch) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows each error with its trace. Those of the start, which went well, are in the logs.
async fn echo_errors(watch: &Watch) {
    let colour = Colour::of_errors();
    watch
        .lines(|line| {
            if line.level == Level::Error {
                eprint!("{}", terminal::log_line(line, colour));
            }
        })
        .await;
}

/// Sets up, builds and starts everything.
pub(crate) async fn begin(root: &Path, start: &Start, up_options: &UpOptions) -> Result<LocalStack> {
    let progress = Progress::steps(setup::STEPS + 1 + local_stack::STEPS + 1);
    let host = start.host();
    let owned_root = root.to_owned();
    // On its own thread, because Ctrl-C has to be noticed while it builds.
    let (artifacts, backplane, progress) = tokio::task::spawn_blocking(move || -> Result<_> {
        setup::run(&owned_root, &progress)?;
        let backplane = Backplane::load(&owned_root)?.shortened()?;
        let step = progress.noisy_step("building components, workers and host");
        let artifacts = Artifacts::build(&owned_root, &backplane)?;
        step.done("");
        Ok((artifacts, backplane, progress))
    })
    .await??;
    let options = Options {
        root: root.to_owned(),
        instance: start.port.to_string(),
        backplane,
        ports: start.ports(),
        telemetry: local_stack::telemetry(),
    };
    let issuer = match up_options.auth {
        AuthenticationChoice::None => None,
        AuthenticationChoice::Jwt => Some(TokenIssuer::of_repository(root)?),
    };
    let authentication = issuer.as_ref().map_or(Authentication::None, Authentication::Jwt);
    let application_options = ApplicationOptions {
        port: Some(start.port),
        authentication,
        ..ApplicationOptions::new(root, &artifacts, host)
    };
    let stack = LocalStack::start(options, application_options, &progress).await?;
    let step = progress.step("four weeks of slots");
    let countries = catalogue::import_sample(stack.services(), &artifacts, sample::DAYS).await?;
    catalogue::until_projected(stack.services()).await?;
    step.done(&countries.join(", "));
    Ok(stack)
}

/// Says where everything is.
pub(crate) fn explain(stack: &LocalStack, up_options: &UpOptions) {
    let url = stack.url();
    let (token, checked) = match up_options.auth {
        AuthenticationChoice::None => ("", "nothing: anybody acts for anybody\n    (--auth jwt checks tokens)"),
        AuthenticationChoice::Jwt => (
            " \\\n    -H \"authorization: Bearer $(cargo xtask token 00123)\"",
            "bearer tokens (`cargo xtask token --help`)",
        ),
    };
    let api = stack.api();
    let (gateway, api_host) = (&api.url, &api.host);
    println!(
        "
The page on which people book: {url}/

The application runs at {url}. Try:

  curl --get {url}/slots -d countryISO=PE \\
    --data-urlencode specialty=Cardiología
  curl -i {url}/appointments{token} \\
    -H 'content-type: application/json' \\
    -d '{{\"insuredId\":\"00123\",\"scheduleId\":100,\"countryISO\":\"PE\"}}'
  curl {url}/appointments/00123{token}

The same behind API Gateway, in a Lambda function:

  curl {gateway}/appointments/00123{token} \\
    -H 'host: {api_host}'

Intake checks {checked}"
    );
    let services = stack.services();
    println!("AWS emulator: {} (root's access key: test / test)", services.emulator_url());
    println!("The databases' URLs, with the passwords, are in\n  {}", services.announcement().display());
    println!("Logs:\n  {}", services.logs().display());
}

/// Waits for Ctrl-C; fails when a part ends by itself.
pub(crate) async fn wait(stack: &mut LocalStack, interrupted: impl Future<Output = ()>) -> Result<()> {
    tokio::select! {
        ended = stack.until_a_part_ends() => bail!("{ended}"),
        () = interrupted => {
            println!("\nStopping …");
            Ok(())
        }
    }
}

/// Ends with Ctrl-C, a request to terminate, or the terminal's end.
pub(crate) fn interruption() -> Result<impl Future<Output = ()>> {
    let context = "cannot listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(context)?;
    let mut terminate = signal(SignalKind::terminate()).context(context)?;
    let mut hangup = signal(SignalKind::hangup()).context(context)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

pub(crate) fn stopped_early() -> ExitCode {
    println!("\nStopped before everything had started.");
    // The exit code with which a shell reports an interrupted program.
    ExitCode::from(130)
}
