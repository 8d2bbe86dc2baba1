//! One local stack for all tests of the pipeline. Each test books for its own people and its own slots.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use aws_http::Endpoint;
use local_stack::application::Host;
use local_stack::artifacts::Artifacts;
use local_stack::progress::Progress;
use local_stack::tokens::{Authentication, TokenIssuer};
use local_stack::{
    ApplicationOptions, Endpoints, Leftovers, LocalStack, Options, Ports, Services, TESTS, catalogue,
    remove_leftovers_of_tests, setup,
};
use operator::backplane::{Backplane, CatalogueKind, Durations};

use crate::shared::{BACKGROUND, Lease, Shared};
use crate::workspace;

/// A quarter of what people get, because projecting a slot costs the emulator about as much as booking it.
pub const SAMPLE_DAYS: i64 = 7;

/// The emulator with the backplane, the databases and the workers, [`Shared`] by the tests that ask for them.
///
/// They have the durations of the `local` block, and book any number (`CatalogueKind::External`). The child processes end with this
/// process, by the kernel's parent-death signal.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn services() -> Lease<Services> {
    static SERVICES: Shared<Services> = Shared::new();
    SERVICES.get(async || in_background(|| start_services("services", |_| {})).await).await
}

/// As [`services`], for one test only, with its own durations.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn own_services(name: &'static str, change: fn(&mut Durations)) -> Services {
    in_background(move || start_services(name, change)).await
}

/// The whole system, application included, [`Shared`] by the tests that ask for it.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn stack() -> Lease<LocalStack> {
    static STACK: Shared<LocalStack> = Shared::new();
    STACK.get(async || in_background(|| start_stack("stack", Authentication::None)).await).await
}

/// As [`stack`], for one test only, with an intake that accepts the issuer's tokens.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn stack_with_authentication(issuer: TokenIssuer) -> LocalStack {
    in_background(async move || start_stack("tokens", Authentication::Jwt(&issuer)).await).await
}

/// The whole system for one test only.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn own_stack(name: &'static str) -> LocalStack {
    in_background(async move || start_stack(name, Authentication::None).await).await
}

/// As [`own_stack`] in the embedded host, whose programs send their spans to the collector at this URL.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn stack_with_collector(name: &'static str, collector: String) -> LocalStack {
    in_background(async move || {
        let (mut options, artifacts) = prepare(name, CatalogueKind::External)?;
        options.telemetry.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector);
        let root = options.root.clone();
        LocalStack::start(options, ApplicationOptions::new(&root, &artifacts, Host::Embedded), &Progress::silent())
            .await
    })
    .await
}

/// As [`own_stack`], in which each country has the [`sample`](local_stack::sample) of so many days, and books nothing else.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn own_stack_with_slots(name: &'static str, days: i64) -> LocalStack {
    in_background(async move || {
        let (options, artifacts) = prepare(name, CatalogueKind::Own)?;
        let root = options.root.clone();
        let application_options = ApplicationOptions::new(&root, &artifacts, host());
        let stack = LocalStack::start(options, application_options, &Progress::silent()).await?;
        catalogue::import_sample(stack.services(), &artifacts, days).await?;
        catalogue::until_projected(stack.services()).await?;
        Ok(stack)
    })
    .await
}

/// The whole system for some tests only, with its own durations, and with `between` in front of the emulator: it gets the emulator's
/// endpoint and returns those at which the components reach AWS. With [`CatalogueKind::Own`] a country has no
/// slots yet.
///
/// # Panics
///
/// If a part cannot be built or started.
pub async fn stack_behind<F: Future<Output = Endpoints>>(
    name: &'static str,
    catalogue: CatalogueKind,
    change: fn(&mut Durations),
    between: impl FnOnce(Endpoint) -> F + Send + 'static,
) -> LocalStack {
    in_background(async move || {
        let (mut options, artifacts) = prepare(name, catalogue)?;
        change(&mut options.backplane.durations);
        let root = options.root.clone();
        let services = Services::start(options, &artifacts, &Progress::silent()).await?;
        let endpoints = Some(between(services.endpoint().clone()).await);
        let application_options =
            ApplicationOptions { endpoints, ..ApplicationOptions::new(&root, &artifacts, host()) };
        LocalStack::over(services, application_options, &Progress::silent()).await
    })
    .await
}

/// Runs a start on the runtime on which its background tasks may stay.
async fn in_background<T, F>(start: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    match tokio::task::spawn_blocking(move || BACKGROUND.block_on(start())).await {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => panic!("the local stack does not start: {error:#}"),
        Err(error) => panic!("the local stack does not start: {error}"),
    }
}

async fn start_services(name: &str, change: fn(&mut Durations)) -> anyhow::Result<Services> {
    let (mut options, artifacts) = prepare(name, CatalogueKind::External)?;
    change(&mut options.backplane.durations);
    Services::start(options, &artifacts, &Progress::silent()).await
}

async fn start_stack(name: &str, authentication: Authentication<'_>) -> anyhow::Result<LocalStack> {
    let (options, artifacts) = prepare(name, CatalogueKind::External)?;
    let root = options.root.clone();
    let application_options =
        ApplicationOptions { authentication, ..ApplicationOptions::new(&root, &artifacts, host()) };
    LocalStack::start(options, application_options, &Progress::silent()).await
}

fn prepare(name: &str, catalogue: CatalogueKind) -> anyhow::Result<(Options, Artifacts)> {
    let root = workspace();
    let artifacts = artifacts()?;
    let backplane = Backplane::load(&root)?.shortened()?.with_catalogue(catalogue);
    Ok((
        Options { root, instance: instance(name), backplane, ports: Ports::default(), telemetry: BTreeMap::new() },
        artifacts,
    ))
}

/// What runs the application for tests over HTTP: the embedded host, or the one that `cargo xtask test --host` names.
///
/// # Panics
///
/// If the environment names an unknown host.
#[must_use]
pub fn host() -> Host {
    match std::env::var(Host::VARIABLE) {
        Err(_) => Host::Embedded,
        Ok(name) => Host::named(&name).unwrap_or_else(|| panic!("{}: there is no host `{name}`", Host::VARIABLE)),
    }
}

/// The components, the workers and the embedded host, built by the first test that needs them.
///
/// # Errors
///
/// When one of them does not build, or the machine lacks something.
pub fn artifacts() -> anyhow::Result<Artifacts> {
    static BUILT: Mutex<Option<Artifacts>> = Mutex::new(None);
    let root = workspace();
    setup::run(&root, &Progress::silent())?;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(match &*built {
        Some(artifacts) => artifacts.clone(),
        None => built.insert(Artifacts::build(&root, &Backplane::load(&root)?)?).clone(),
    })
}

/// An empty folder for what one test starts: logs, data.
///
/// # Panics
///
/// If it cannot be created.
#[must_use]
pub fn scratch_folder(name: &str) -> PathBuf {
    let folder = instances().join(instance(name));
    match std::fs::create_dir_all(&folder) {
        Ok(()) => folder,
        Err(error) => panic!("cannot create {}: {error}", folder.display()),
    }
}

/// A name for an instance of this process: a new one each time, because the last one may still be removing its folder.
fn instance(name: &str) -> String {
    static TIDY: Once = Once::new();
    static STARTED: AtomicU32 = AtomicU32::new(0);
    // What the last run left stays until the next, to be looked at.
    TIDY.call_once(|| remove_leftovers_of_tests(&workspace(), Leftovers::All));
    format!("{TESTS}{}-{}-{name}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

fn instances() -> PathBuf {
    workspace().join("target/local-stack")
}
