//! A page as a person sees it: what is on it, what axe-core says about it, how it looks.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::Locator;
use fantoccini::elements::Element;
use local_stack::progress::Progress;
use local_stack::setup;
use local_stack::tools::OpenApiTools;
use serde_json::{Value, json};

use crate::{Browser, PATIENCE, workspace};

/// How long to wait between two looks. Each takes the driver and the browser some milliseconds of processor time.
const LOOK: Duration = Duration::from_millis(50);

/// A screen by its name: width and height in CSS pixels, and whether it is dark.
const SCREENS: [(&str, u32, u32, bool); 3] =
    [("desktop", 1280, 800, false), ("dark", 1280, 800, true), ("phone", 320, 640, false)];

/// The rules of axe-core (<https://www.deque.com/axe/>), which the lock file of `tests/contract` pins.
static AXE: LazyLock<Result<String, String>> = LazyLock::new(|| {
    setup::run_for_tests(&workspace(), &Progress::silent()).map_err(|error| format!("{error:#}"))?;
    let file = OpenApiTools::modules(&workspace()).join("axe-core/axe.min.js");
    std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))
});

/// What a browser shows.
pub struct View<'a>(pub &'a Browser);

impl View<'_> {
    /// Waits for an element.
    ///
    /// # Panics
    ///
    /// If it does not appear.
    pub async fn find(&self, selector: &str) -> Element {
        let started = Instant::now();
        loop {
            match self.0.page().find(Locator::Css(selector)).await {
                Ok(element) => return element,
                Err(_) if started.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
                Err(error) => panic!("no {selector} ({error}) in: {}", self.text().await),
            }
        }
    }

    /// Waits until an element's text fulfils a condition, and returns the text.
    ///
    /// # Panics
    ///
    /// If it never does.
    pub async fn until(&self, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            // An element may be replaced while it is read.
            let script = "return document.querySelector(arguments[0])?.textContent ?? ''";
            let text = self.run(script, vec![json!(selector)]).await;
            let text = text.as_str().unwrap_or_default();
            if wanted(text) {
                return text.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "{selector} says {text:?} in: {}", self.text().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the view with this heading.
    ///
    /// # Panics
    ///
    /// If it does not appear.
    pub async fn heading(&self, text: &str) {
        let _ = self.until("main h1", |heading| heading == text).await;
    }

    /// Clicks an element.
    ///
    /// # Panics
    ///
    /// If there is none, or it cannot be clicked.
    pub async fn click(&self, selector: &str) {
        let started = Instant::now();
        loop {
            match self.find(selector).await.click().await {
                Ok(()) => return,
                // It was replaced between finding and clicking it.
                Err(_) if started.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
                Err(error) => panic!("{selector} cannot be clicked: {error}"),
            }
        }
    }

    /// Types into a field.
    ///
    /// # Panics
    ///
    /// If it takes no text.
    pub async fn type_into(&self, selector: &str, text: &str) {
        if let Err(error) = self.find(selector).await.send_keys(text).await {
            panic!("{selector} takes no text: {error}");
        }
    }

    /// Chooses an option of a list by its value.
    ///
    /// # Panics
    ///
    /// If there is no such option.
    pub async fn choose(&self, selector: &str, value: &str) {
        let _ = self.find(&format!("{selector} option[value='{value}']")).await;
        self.click(&format!("{selector} option[value='{value}']")).await;
    }

    /// Runs a script, and returns its result.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        match self.0.page().execute(script, arguments).await {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// Runs a script that calls its last argument with its result, and returns that.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub async fn run_until_done(&self, script: &str, arguments: Vec<Value>) -> Value {
        match self.0.page().execute_async(script, arguments).await {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// The whole text of the page.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body.innerText", Vec::new()).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Checks the present view on each screen: axe-core finds no fault, and nothing needs horizontal scrolling. Puts a screenshot into
    /// `target/screenshots`.
    ///
    /// # Panics
    ///
    /// If one of these does not hold.
    pub async fn check(&self, name: &str) {
        self.0.tell("Emulation.setScrollbarsHidden", json!({"hidden": true})).await;
        for (screen, width, height, is_dark) in SCREENS {
            let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            self.0.tell("Emulation.setDeviceMetricsOverride", metrics).await;
            let scheme = if is_dark { "dark" } else { "light" };
            let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.0.tell("Emulation.setEmulatedMedia", scheme).await;
            let (violations, passed) = self.judged().await;
            assert!(violations.is_empty(), "axe-core, {name} on {screen}: {violations:#?}");
            assert!(passed > 15, "axe-core looked at something: {passed} rules passed");
            let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(self.run(script, Vec::new()).await, 0, "{name} on {screen} is wider than the screen");
            self.screenshot(&format!("{name}-{screen}")).await;
            println!("{name} on {screen}: axe-core finds nothing, {passed} rules passed");
        }
        self.0.tell("Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.0.tell("Emulation.setEmulatedMedia", json!({"features": []})).await;
    }

    /// The faults that axe-core finds in the present view, each after its rule's id, and how many rules passed.
    ///
    /// # Panics
    ///
    /// If axe-core is not installed.
    pub async fn judged(&self) -> (Vec<String>, u64) {
        let axe = match &*AXE {
            Ok(axe) => axe,
            Err(error) => panic!("{error}"),
        };
        let _ = self.run(&format!("if (!window.axe) {{ {axe} }}"), Vec::new()).await;
        let script = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(
            ({violations, passes}) => done([passes.length, violations.map(
                ({id, help, nodes}) => `${id}: ${help}: ${nodes.map((node) => node.html + ' ' + node.failureSummary).join('; ')}`)]),
            (error) => done([0, [String(error)]]));";
        let found = self.run_until_done(script, Vec::new()).await;
        match serde_json::from_value::<(u64, Vec<String>)>(found) {
            Ok((passed, violations)) => (violations, passed),
            Err(error) => panic!("axe-core says something else: {error}"),
        }
    }

    async fn screenshot(&self, name: &str) {
        let image =
            self.0.tell("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        let image = image.get("data").and_then(Value::as_str).and_then(|data| STANDARD.decode(data).ok());
        let folder = screenshots();
        let file = folder.join(format!("{name}.png"));
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, image.unwrap_or_default()));
        if let Err(error) = written {
            panic!("cannot write {}: {error}", file.display());
        }
    }
}

/// The folder of the screenshots.
fn screenshots() -> PathBuf {
    workspace().join("target/screenshots")
}
