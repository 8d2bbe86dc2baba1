//! The console: one page, and what it asks for. It listens on the loopback interface, for one person.
//!
//! | route, after `/<token>` | what it is |
//! | --- | --- |
//! | `GET /`, `/console.css`, `/console.js`, … | the page |
//! | `GET /api/events` | server-sent events: `bookings`, `lines` and `state`, first what there is, then what is new |
//! | `GET /api/bookings?find=` | bookings by trace, appointment or person |
//! | `GET /api/tables/{country}/{table}?page=` | a page of a country's table |
//! | `GET /api/redrive?only=` | what a redrive of one dead letter, of one appointment that was given up, or of everything, would do |
//! | `POST /api/redrive?only=` | does it |
//! | `POST /api/hops/{hop}/{break,heal}` | breaks a hop, or heals it |
//!
//! The token is a part of the path: every request has it, and nothing has to store it (docs/adr/0095).

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use appointment::InsuredId;
use axum::Router;
use axum::extract::{Path, RawQuery, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::stream::{self, Stream, StreamExt as _};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use local_stack::fault::Hop;
use local_stack::observation::{self, CountryTable};
use operator::redrive::{DeadLetter, Moved};
use serde::Serialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use crate::history::{History, Line};
use crate::state::{Stack, State};
use crate::watch::{Change, Told, Watch};

/// What passes between two looks at the stack, while somebody has the page open.
const LOOK: Duration = Duration::from_secs(1);

/// How many bookings and lines the page gets first.
const FIRST: usize = 100;

/// How many log lines a dead letter is shown with.
const LINES_PER_LETTER: usize = 50;

/// Everything comes from the console itself; no markup is ever made of text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (http::header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The address holds the token.
    (http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// A console that serves until it is dropped.
pub struct Console {
    address: SocketAddr,
    token: String,
    tasks: [JoinHandle<()>; 2],
}

/// What every request works with.
struct Desk {
    stack: Stack,
    told: Arc<Told>,
    /// What the page is told of the stack.
    states: broadcast::Sender<Arc<str>>,
    /// Somebody wants to know where the stack is, at once.
    look: Notify,
    address: SocketAddr,
    token: String,
}

impl Console {
    /// Serves the console of a stack, on `port` of the loopback interface or on a free one. `watch` follows the stack's logs.
    ///
    /// # Errors
    /// When the port is taken, or the system gives no random bytes.
    pub async fn start(stack: Stack, watch: &Watch, port: Option<u16>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or_default())).await.with_context(|| {
            let port = port.unwrap_or_default();
            format!("cannot listen on 127.0.0.1:{port} for the console: stop what is there, or choose another port with --console-port")
        })?;
        let address = listener.local_addr()?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok().context("the system gives no random bytes")?;
        let token = format!("{:032x}", u128::from_be_bytes(random));
        let desk = Arc::new(Desk {
            stack,
            told: watch.told(),
            states: broadcast::channel(4).0,
            look: Notify::new(),
            address,
            token: token.clone(),
        });
        let looking = tokio::spawn(Arc::clone(&desk).keep_looking());
        let serving = tokio::spawn(async move {
            // It ends when it is told to.
            let _ = axum::serve(listener, router(desk)).await;
        });
        Ok(Self { address, token, tasks: [looking, serving] })
    }

    /// Where to open it, with the token.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.token)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn router(desk: Arc<Desk>) -> Router {
    let routes = Router::new()
        // The page names its files beside itself, which are elsewhere without the final slash.
        .route("/", get(|Path(token): Path<String>| async move { Redirect::permanent(&format!("/{token}/")) }))
        .route("/console.css", get(|| page("text/css; charset=utf-8", include_str!("page/console.css"))))
        .route("/console.js", get(|| page(JAVASCRIPT, include_str!("page/console.js"))))
        .route("/bookings.js", get(|| page(JAVASCRIPT, include_str!("page/bookings.js"))))
        .route("/operator.js", get(|| page(JAVASCRIPT, include_str!("page/operator.js"))))
        .route("/page.js", get(|| page(JAVASCRIPT, include_str!("page/page.js"))))
        .route("/icon.svg", get(|| page("image/svg+xml", include_str!("page/icon.svg"))))
        .route("/api/events", get(events))
        .route("/api/bookings", get(bookings))
        .route("/api/tables/{country}/{table}", get(table))
        .route("/api/redrive", get(preview).post(redrive))
        .route("/api/hops/{hop}/{change}", axum::routing::post(change));
    Router::new()
        .route("/{token}/", get(|| page("text/html; charset=utf-8", include_str!("page/index.html"))))
        .nest("/{token}", routes)
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is no such page") })
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), guard))
        .with_state(desk)
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

async fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text)
}

/// Lets in who asks this host, from no page of another, and knows the token.
async fn guard(Shared(desk): Shared<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = match desk.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

impl Desk {
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let port = self.address.port();
        // A name that somebody else has pointed to 127.0.0.1 is another host.
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        let Some(host) = header(HOST).filter(|host| hosts.iter().any(|own| own == host)) else {
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "the console answers at 127.0.0.1 only"));
        };
        let from_elsewhere = header(ORIGIN).is_some_and(|origin| origin != format!("http://{host}"));
        let token = request.uri().path().split('/').nth(1).unwrap_or_default();
        let is_known = bool::from(token.as_bytes().ct_eq(self.token.as_bytes()));
        if from_elsewhere || !is_known {
            let remedy = "open the address that `cargo xtask up` printed, with its token";
            return Err(Refusal::new(StatusCode::FORBIDDEN, remedy));
        }
        Ok(())
    }

    /// Tells where the stack is while somebody listens.
    async fn keep_looking(self: Arc<Self>) {
        loop {
            if self.states.receiver_count() > 0 {
                let state = self.stack.look().await;
                if let Ok(text) = serde_json::to_string(&Shown::of(state, &self.told.history())) {
                    // Who listened may be gone.
                    let _ = self.states.send(text.into());
                }
            }
            let _ = tokio::time::timeout(LOOK, self.look.notified()).await;
        }
    }
}

/// The state as the page gets it: each dead letter with its reason and its lines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    state: State,
    letters: Vec<ShownLetter>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLetter {
    #[serde(flatten)]
    letter: DeadLetter,
    reason: Option<String>,
    lines: Vec<Line>,
}

impl Shown {
    fn of(mut state: State, history: &History) -> Self {
        let letters = std::mem::take(&mut state.messages.dead_letters).into_iter().map(|letter| {
            let lines = history.lines_of(&letter.message_id, letter.trace_id.as_deref());
            ShownLetter {
                reason: why(&letter, history),
                lines: lines.iter().rev().take(LINES_PER_LETTER).rev().map(|line| Line::of(line)).collect(),
                letter,
            }
        });
        let letters = letters.collect();
        Self { state, letters }
    }
}

/// Why a message was given up: what the last line about it says that gives a reason.
#[must_use]
pub fn why(letter: &DeadLetter, history: &History) -> Option<String> {
    let lines = history.lines_of(&letter.message_id, letter.trace_id.as_deref());
    let about_it = |line: &&&crate::spans::LogLine| {
        line.fields.get("message_id").and_then(Value::as_str).is_none_or(|id| id == letter.message_id)
    };
    lines.iter().rev().filter(about_it).find_map(|line| history.cause(line))
}

type Query = BTreeMap<String, String>;

fn query(raw: RawQuery) -> Query {
    form_urlencoded::parse(raw.0.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    fn gone() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "neither a dead letter nor an appointment that was given up has this id any more",
        )
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_response(&json!({"error": self.error}));
        *response.status_mut() = self.status;
        response
    }
}

fn json_response(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn events(Shared(desk): Shared<Arc<Desk>>) -> impl IntoResponse {
    let (changes, states) = (desk.told.listen(), desk.states.subscribe());
    desk.look.notify_one();
    let (bookings, lines) = {
        let history = desk.told.history();
        let lines: Vec<Line> = history.errors().take(FIRST).map(Line::of).collect();
        (history.latest(FIRST), lines)
    };
    let first = [event("bookings", &bookings), event("lines", &lines)];
    let changes = stream::unfold((changes, desk), |(mut changes, desk)| async move {
        // Who is too far behind comes again by itself, and gets everything anew.
        let change = changes.recv().await.ok()?;
        let events = desk.events_of(&change);
        Some((stream::iter(events), (changes, desk)))
    });
    let states = stream::unfold(states, |mut states| async move {
        let state = states.recv().await.ok()?;
        Some((Event::default().event("state").data(&*state), states))
    });
    let later = stream::select(changes.flatten(), states);
    let all: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>> = Box::pin(stream::iter(first).chain(later));
    Sse::new(all.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default())
}

impl Desk {
    fn events_of(&self, change: &Change) -> Vec<Event> {
        let history = self.told.history();
        let bookings: Vec<_> = change.traces.iter().filter_map(|id| history.booking(id)).collect();
        let lines = change.lines.iter().rev().filter(|line| line.level >= crate::spans::Level::Warn);
        let lines: Vec<Line> = lines.map(Line::of).collect();
        let mut events = Vec::new();
        if !bookings.is_empty() {
            events.push(event("bookings", &bookings));
        }
        if !lines.is_empty() {
            events.push(event("lines", &lines));
        }
        events
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

/// Bookings by trace, appointment or person; the latest without any of these.
async fn bookings(Shared(desk): Shared<Arc<Desk>>, raw: RawQuery) -> Result<Response, Refusal> {
    let query = query(raw);
    let text = query.get("find").map(|text| text.trim().to_ascii_lowercase()).unwrap_or_default();
    if text.is_empty() {
        return Ok(json_response(&desk.told.history().latest(FIRST)));
    }
    let appointments: BTreeSet<String> = match text.parse::<InsuredId>() {
        Ok(person) => {
            let found = desk.stack.account.appointments_of(&desk.stack.backplane, person).await?;
            found.into_iter().map(|id| id.to_string()).collect()
        }
        Err(_) => BTreeSet::from([text.clone()]),
    };
    let found = desk.told.history().find(&text, &appointments);
    Ok(json_response(&found))
}

async fn table(
    Shared(desk): Shared<Arc<Desk>>,
    Path(path): Path<BTreeMap<String, String>>,
    raw: RawQuery,
) -> Result<Response, Refusal> {
    let part = |name: &str| path.get(name).map(String::as_str).unwrap_or_default();
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "there is no such table: PE or CL, appointments or slots");
    let url = desk.stack.databases.get(part("country")).ok_or_else(not_found)?;
    let table = CountryTable::named(part("table")).ok_or_else(not_found)?;
    let page = query(raw)
        .get("page")
        .map_or(Ok(0), |page| page.parse())
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "`page` must be a whole number: 0 is the first page"))?;
    let rows = observation::rows(url, table, page).await?;
    Ok(json_response(&json!({"page": page, "rowsPerPage": observation::ROWS_PER_PAGE, "rows": rows})))
}

/// What a redrive would do.
async fn preview(Shared(desk): Shared<Arc<Desk>>, raw: RawQuery) -> Result<Response, Refusal> {
    let query = query(raw);
    let only = query.get("only").map(String::as_str);
    let steps = desk.stack.redrive_steps(only).await?;
    if only.is_some() && steps.is_empty() {
        return Err(Refusal::gone());
    }
    Ok(json_response(&json!({"steps": steps})))
}

async fn redrive(Shared(desk): Shared<Arc<Desk>>, raw: RawQuery) -> Result<Response, Refusal> {
    let query = query(raw);
    let done = |queue: &str, moved: &Moved| match moved {
        Moved::Done { put_back, dropped } => format!("{queue}: {put_back} put back, {dropped} dropped"),
        Moved::Refused(error) => format!("{queue}: NOT put back, try again later: {error}"),
        Moved::WouldMove { .. } | Moved::Started => format!("{queue}: under way"),
    };
    let Stack { account, backplane, .. } = &desk.stack;
    let mut steps = Vec::new();
    if let Some(only) = query.get("only") {
        for letter in desk.stack.dead_letters(Some(only)).await? {
            steps.push(done(&letter.queue, &account.put_back_one(&letter, backplane).await?));
        }
        for given_up in desk.stack.given_up(Some(only)).await? {
            account.publish_again(&given_up).await?;
            steps.push(format!("{only}: published again"));
        }
        if steps.is_empty() {
            return Err(Refusal::gone());
        }
    } else {
        let redriven = account.redrive(backplane, false).await?;
        steps.extend(redriven.queues.iter().map(|(queue, moved)| done(queue, moved)));
        steps.push(format!("given up: {} published again", redriven.published));
    }
    desk.look.notify_one();
    Ok(json_response(&json!({"steps": steps})))
}

async fn change(
    Shared(desk): Shared<Arc<Desk>>,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Response, Refusal> {
    let part = |name: &str| path.get(name).map(String::as_str).unwrap_or_default();
    let broken = match part("change") {
        "break" => true,
        "heal" => false,
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "a hop can be broken or healed: break, heal")),
    };
    let hop = Hop::named(part("hop"), &desk.stack.backplane)
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such hop"))?;
    desk.stack.running.hops(&desk.stack.backplane)?.set(&hop, broken).await?;
    desk.look.notify_one();
    Ok(json_response(&json!({"hop": hop.to_string(), "broken": broken})))
}
