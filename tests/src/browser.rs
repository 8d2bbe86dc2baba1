//! A real browser for tests of pages: headless Chromium, driven by WebDriver.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use local_stack::process::{Launch, Process, free_port};
use local_stack::setup;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::{scratch_folder, workspace};

/// How long the driver may take to start; it needs a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Switches that stop a headless browser from calling its vendor's services.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Chromium ends with its driver, also if a test fails before it closes the browser.
    "--remote-debugging-pipe",
];

/// A browser with its own empty profile. It ends when it is dropped.
pub struct Browser {
    page: Client,
    // After the page, so it is dropped after it: ending the session needs the driver.
    _driver: Process,
    /// `TMPDIR` of the browser, which leaves its files and sockets there. A socket's path is short, so it is the system's folder.
    _temporary: TempDir,
}

impl Browser {
    /// Starts a browser; its log and its profile are in the test's [`scratch_folder`] of that name.
    ///
    /// # Panics
    ///
    /// If there is no browser and it cannot be installed, or if it does not start.
    pub async fn start(name: &str) -> Self {
        Self::start_in(name, "en-US,en").await
    }

    /// As [`Self::start`], with these preferred languages, such as `es-PE,es`.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub async fn start_in(name: &str, languages: &str) -> Self {
        match Self::try_start(&scratch_folder(name), languages).await {
            Ok(browser) => browser,
            Err(error) => panic!("the browser does not start: {error:#}"),
        }
    }

    async fn try_start(folder: &Path, languages: &str) -> Result<Self> {
        let chromium = tokio::task::spawn_blocking(|| setup::browser(&workspace())).await??;
        let port = free_port()?;
        let temporary = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut driver = Process::start(Launch {
            name: "chromedriver",
            program: &chromium.driver,
            args: vec![format!("--port={port}")],
            environment: vec![("TMPDIR".to_owned(), temporary.path().display().to_string())],
            clean_environment: false,
            account: None,
            directory: folder,
            log: folder.join("chromedriver.log"),
            stop_signal: Signal::TERM,
        })?;
        let url = format!("http://127.0.0.1:{port}");
        let status = format!("{url}/status");
        driver.until_ready(START_LIMIT, async || local_stack::http::answers_success(&status).await).await?;

        let profile = folder.join("profile");
        fs::create_dir_all(&profile).with_context(|| format!("cannot create {}", profile.display()))?;
        let profile = format!("--user-data-dir={}", profile.canonicalize()?.display());
        let mut arguments: Vec<&str> = ARGUMENTS.to_vec();
        arguments.push(&profile);
        if rustix::process::getuid().is_root() {
            // Chromium's sandbox does not work for root.
            arguments.push("--no-sandbox");
        }
        let preferences = json!({"intl.accept_languages": languages});
        let options = json!({"binary": chromium.browser, "args": arguments, "prefs": preferences});
        let options = json!({"goog:chromeOptions": options});
        let capabilities = options.as_object().cloned().unwrap_or_default();
        let page = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&url).await?;
        Ok(Self { page, _driver: driver, _temporary: temporary })
    }

    /// Its only window: pages, elements, scripts, screenshots.
    #[must_use]
    pub const fn page(&self) -> &Client {
        &self.page
    }

    /// A command of the DevTools protocol (<https://chromedevtools.github.io/devtools-protocol/>), for what WebDriver does not have.
    ///
    /// # Panics
    ///
    /// If the browser refuses it.
    pub async fn tell(&self, command: &str, parameters: Value) -> Value {
        let command = DevTools(json!({"cmd": command, "params": parameters}));
        match self.page.issue_cmd(command).await {
            Ok(response) => response,
            Err(error) => panic!("the browser refuses: {error}"),
        }
    }
}

/// ChromeDriver's own endpoint for commands of the DevTools protocol.
#[derive(Debug)]
struct DevTools(Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        base_url.join(&format!("session/{}/goog/cdp/execute", session_id.unwrap_or_default()))
    }

    fn method_and_body(&self, _request_url: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}
