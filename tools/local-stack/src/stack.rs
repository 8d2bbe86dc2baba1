//! The whole system: the application over its services.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use aws_http::Endpoint;

use crate::application::{self, Application, ApplicationSettings, Host};
use crate::artifacts::Artifacts;
use crate::function_logs::FunctionLogs;
use crate::progress::Progress;
use crate::provision::{Api, Function, register_application};
use crate::schedule::Schedule;
use crate::services::{Options, Services};
use crate::tokens::Authentication;

/// How many steps [`LocalStack::start`] reports.
pub const STEPS: u32 = 5;

/// A running system.
pub struct LocalStack {
    // Fields are dropped in this order, the reverse of their dependencies.
    application: Application,
    _schedule: Schedule,
    _function_logs: FunctionLogs,
    api: Api,
    services: Services,
}

/// Where each component of the application reaches AWS.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The component intake, in its function and at the edge.
    pub intake: Endpoint,
    /// The component confirmation.
    pub confirmation: Endpoint,
}

/// How to run the application over [`Services`].
pub struct ApplicationOptions<'a> {
    /// The repository's root.
    pub root: &'a Path,
    /// What was built.
    pub artifacts: &'a Artifacts,
    /// What runs the application at the edge.
    pub host: Host,
    /// The application's port, or a free one.
    pub port: Option<u16>,
    /// Where the components reach AWS; at the emulator itself where `None`.
    pub endpoints: Option<Endpoints>,
    /// How intake learns who calls.
    pub authentication: Authentication<'a>,
}

impl<'a> ApplicationOptions<'a> {
    /// On a free port, over the emulator itself; anybody acts for anybody.
    #[must_use]
    pub const fn new(root: &'a Path, artifacts: &'a Artifacts, host: Host) -> Self {
        Self { root, artifacts, host, port: None, endpoints: None, authentication: Authentication::None }
    }
}

impl LocalStack {
    /// Starts everything.
    ///
    /// On failure, what was started is stopped again.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn start(
        options: Options,
        application_options: ApplicationOptions<'_>,
        progress: &Progress,
    ) -> Result<Self> {
        if let Some(port) = application_options.port {
            application::require_free(port)?;
        }
        options.ports.require_free()?;
        let services = Services::start(options, application_options.artifacts, progress).await?;
        Self::over(services, application_options, progress).await
    }

    /// Starts the application over services that run: its functions behind the API, the queue and the schedule, and its
    /// public component at the edge.
    ///
    /// # Errors
    /// When a part does not start; the error names it and shows the end of its log.
    pub async fn over(
        services: Services,
        application_options: ApplicationOptions<'_>,
        progress: &Progress,
    ) -> Result<Self> {
        let step = progress.step("the application's functions");
        let backplane = services.backplane();
        let endpoints = application_options.endpoints.clone().unwrap_or_else(|| Endpoints {
            intake: services.endpoint().clone(),
            confirmation: services.endpoint().clone(),
        });
        let authentication = application_options.authentication.variables();
        let (artifacts, root) = (application_options.artifacts.clone(), application_options.root.to_owned());
        let package = tokio::task::spawn_blocking(move || artifacts.application_package(&root)).await??;
        let api = register_application(backplane, services.endpoint(), &package, |component| {
            let endpoint = if component == "confirmation" { &endpoints.confirmation } else { &endpoints.intake };
            // The page calls nobody.
            let mut variables =
                if component == "booking-page" { BTreeMap::new() } else { services.shared_variables(endpoint) };
            variables.insert("authentication", "none".to_owned());
            variables.extend(authentication.clone());
            let variables = variables.into_iter().map(|(name, value)| (application::environment_name(name), value));
            let host = [
                ("SPIN_COMPONENT", component.to_owned()),
                ("AWS_ENDPOINT_URL", endpoint.to_string()),
                // Only the function behind the queue uses it.
                ("RECEIVE_DELAYS_SECONDS", backplane.durations.receive_delays_setting()),
            ];
            let host = host.into_iter().map(|(name, value)| (name.to_owned(), value));
            Ok(host.chain(variables).chain(services.telemetry.clone()).collect())
        })
        .await?;
        let [intake, page, confirmation] =
            [&backplane.intake.function, &backplane.booking_page.function, &backplane.confirmation.function];
        let function_log = services.logs().join("functions.log");
        let function_logs = FunctionLogs::start(services.aws(), &[intake, page, confirmation], &function_log)?;
        let schedule = Schedule::start(
            services.aws(),
            Function::new(backplane, confirmation),
            backplane.countries().map(|country| backplane.republish_rule(&country)).collect(),
            Duration::from_secs(backplane.durations.republish_interval),
            &services.logs().join("schedule.log"),
        )?;
        step.done(&format!("{intake}, {page}, {confirmation}"));

        let step = progress.step("the application at the edge");
        let mut variables = services.variables_by_way_of(&endpoints.intake)?;
        variables.extend(authentication);
        let application = Application::start(ApplicationSettings {
            host: application_options.host,
            root: application_options.root,
            edge_host: &application_options.artifacts.edge_host(),
            port: application_options.port,
            variables,
            telemetry: services.telemetry.clone(),
            log: services.logs().join("application.log"),
        })
        .await?;
        step.done(&format!("{} by {}", application.url(), application_options.host.name()));
        Ok(Self { application, _schedule: schedule, _function_logs: function_logs, api, services })
    }

    /// What the application runs on.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// The application at the edge, for example `http://127.0.0.1:3000`.
    #[must_use]
    pub fn url(&self) -> String {
        self.application.url()
    }

    /// The API in front of the function `appointment`.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// Waits until a part ends by itself, and says which and why.
    pub async fn until_a_part_ends(&mut self) -> String {
        const LOOK: Duration = Duration::from_millis(250);
        loop {
            if let Some(ended) = self.application.ended().or_else(|| self.services.ended()) {
                return ended;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
