//! The page on which people book, in a real browser over the whole system: somebody books, moves and cancels, loses a race, comes back
//! after a reload, has no connection. Every view is looked at by axe-core, and on a phone.

use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use http::{Method, StatusCode};
use local_stack::LocalStack;
use operator::database::connect;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tests::{Browser, Lease, PATIENCE, Shared, View, own_stack_with_slots, scratch_folder};

use crate::components::{Double, EVENT_ID, row, variables_with};
use crate::race::send;
use crate::served::Served;

/// What a first visit may bring over the wire.
const WEIGHT_LIMIT: u64 = 100_000;

/// One system for the tests of this file: they keep apart by the people.
async fn system() -> Lease<LocalStack> {
    static SYSTEM: Shared<LocalStack> = Shared::new();
    SYSTEM.get(async || own_stack_with_slots("page", local_stack::sample::DAYS).await).await
}

/// A browser in Tokyo, where there is no clinic: it shows the clinics' times.
async fn browser(name: &str, languages: &str) -> Browser {
    let browser = Browser::start_in(name, languages).await;
    browser.tell("Emulation.setTimezoneOverride", json!({"timezoneId": "Asia/Tokyo"})).await;
    browser
}

async fn get(stack: &LocalStack, path: &str) -> Value {
    let (status, _, body) = send(stack, Method::GET, path, &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// A person's appointments, newest first: their status, reason and slot.
async fn listed(stack: &LocalStack, insured: &str) -> Vec<(String, Option<String>, u64)> {
    let list = get(stack, &format!("/appointments/{insured}")).await;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let shown = list["appointments"].as_array().unwrap().iter();
    shown
        .map(|each| (text(&each["status"]).unwrap(), text(&each["reason"]), each["scheduleId"].as_u64().unwrap()))
        .collect()
}

/// Opens the page, says who it is, and looks for free times.
async fn look(view: &View<'_>, stack: &LocalStack, insured: &str, country: &str, specialty: &str) {
    view.0.page().goto(&stack.url()).await.unwrap();
    view.type_into("#insured-id", insured).await;
    view.click("form .primary").await;
    view.choose("#country", country).await;
    view.choose("#specialty", specialty).await;
    let _ = view.find("input[name=slot]").await;
}

/// The number of a radio button's slot.
async fn offered(view: &View<'_>, index: usize) -> u64 {
    let script = "return document.querySelectorAll('input[name=slot]')[arguments[0]].value";
    view.run(script, vec![json!(index)]).await.as_str().unwrap().parse().unwrap()
}

/// What somebody reads in one language.
struct Words {
    languages: &'static str,
    tag: &'static str,
    country: &'static str,
    specialty: &'static str,
    insured: &'static str,
    person: &'static str,
    choose: &'static str,
    hour: &'static str,
    zone: &'static str,
    booked: &'static str,
    message: &'static str,
    list: &'static str,
    confirmed: &'static str,
    choose_new: &'static str,
    moved: &'static str,
    question: &'static str,
    cancelled: &'static str,
    moved_message: &'static str,
    moved_badge: &'static str,
}

const PERU: Words = Words {
    languages: "es-PE,es",
    tag: "es-PE",
    country: "PE",
    specialty: "Cardiología",
    insured: "70001",
    person: "¿Para quién es la cita?",
    choose: "Reserve su cita",
    hour: "9:00 a. m.",
    zone: "UTC−05:00",
    booked: "Su cita está confirmada",
    message: "Su cita está confirmada.",
    list: "Mis citas",
    confirmed: "Confirmada",
    choose_new: "Elija el nuevo horario",
    moved: "Su cita fue reprogramada",
    question: "¿Cancelar esta cita?",
    cancelled: "Cancelada",
    moved_message: "Su cita fue reprogramada: la reemplaza otra de su lista.",
    moved_badge: "Reprogramada",
};

const CHILE: Words = Words {
    languages: "es-CL,es",
    tag: "es-CL",
    country: "CL",
    specialty: "Cardiología",
    insured: "70002",
    person: "¿Para quién es la hora médica?",
    choose: "Tome su hora médica",
    hour: "9:00 a. m.",
    zone: "UTC−03:00",
    booked: "Su hora está confirmada",
    message: "Su hora está confirmada.",
    list: "Mis horas",
    confirmed: "Confirmada",
    choose_new: "Elija la nueva hora",
    moved: "Su hora fue reagendada",
    question: "¿Anular esta hora?",
    cancelled: "Anulada",
    moved_message: "Su hora fue reagendada: la reemplaza otra de su lista.",
    moved_badge: "Reagendada",
};

const ENGLISH: Words = Words {
    languages: "en-GB,en,es",
    tag: "en",
    country: "CL",
    specialty: "Dermatología",
    insured: "70003",
    person: "Who is the appointment for?",
    choose: "Book an appointment",
    hour: "9:00 AM",
    zone: "UTC−03:00",
    booked: "Your appointment is confirmed",
    message: "Your appointment is confirmed.",
    list: "My appointments",
    confirmed: "Confirmed",
    choose_new: "Choose the new time",
    moved: "Your appointment has been moved",
    question: "Cancel this appointment?",
    cancelled: "Cancelled",
    moved_message: "Your appointment has been moved: another one in your list takes its place.",
    moved_badge: "Moved",
};

/// Intl writes the space before "AM" as one that does not break.
fn plain(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

/// Downloads the file that the page offers for the calendar, as somebody does who clicks it.
async fn calendar(view: &View<'_>, name: &str) -> String {
    let folder = scratch_folder(name).join("downloads");
    std::fs::create_dir_all(&folder).unwrap();
    let behavior = json!({"behavior": "allow", "downloadPath": folder.canonicalize().unwrap()});
    view.0.tell("Browser.setDownloadBehavior", behavior).await;
    view.click("a[download]").await;
    let started = Instant::now();
    loop {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        // The name may be there before what it holds.
        if let Some(file) = files.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "ics"))
            && let Ok(text) = std::fs::read_to_string(file)
            && !text.is_empty()
        {
            return text;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was downloaded");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn books_moves_and_cancels(words: &Words) {
    let stack = &*system().await;
    let browser = browser(&format!("page-{}", words.tag), words.languages).await;
    let view = View(&browser);
    let name = |what: &str| format!("{}-{what}", words.tag);

    browser.page().goto(&stack.url()).await.unwrap();
    view.heading(words.person).await;
    assert_eq!(view.run("return document.documentElement.lang", vec![]).await, words.tag);
    view.check(&name("person")).await;
    view.type_into("#insured-id", "12").await;
    view.click("form .primary").await;
    let _ = view.find("[role=alert]").await;
    assert_eq!(view.run("return document.activeElement.id", vec![]).await, "insured-id");
    view.check(&name("person-wrong")).await;
    view.type_into("#insured-id", &words.insured[2..]).await;
    view.run("document.getElementById('insured-id').value = arguments[0]", vec![json!(words.insured)]).await;
    view.click("form .primary").await;

    view.heading(words.choose).await;
    view.choose("#country", words.country).await;
    view.choose("#specialty", words.specialty).await;
    let first = view.until(".time .hour", |hour| !hour.is_empty()).await;
    assert_eq!(plain(&first), words.hour, "the clinic's hour, wherever the browser is");
    assert!(view.text().await.contains(words.zone), "{}", view.text().await);
    view.check(&name("times")).await;
    let centers =
        view.run("return [...document.querySelectorAll('#center option')].map((one) => one.value)", vec![]).await;
    let center = centers[1].as_str().unwrap().to_owned();
    view.choose("#center", &center).await;
    let _ = view.until(".time small", |shown| shown == center).await;
    let slot = offered(&view, 1).await;
    view.click(".time:nth-of-type(2)").await;
    view.click("form .primary").await;

    view.heading(words.booked).await;
    let details = view.text().await;
    assert!(details.contains(words.message) && details.contains(&center), "{details}");
    assert_eq!(listed(stack, words.insured).await, [("completed".to_owned(), None, slot)]);
    view.check(&name("booked")).await;
    let file = calendar(&view, &format!("page-{}", words.tag)).await;
    let shown = get(stack, &format!("/appointments/{}", words.insured)).await["appointments"][0].clone();
    let instant = |text: &Value| format!("{}Z", text.as_str().unwrap()[..19].replace(['-', ':'], ""));
    for line in [
        "BEGIN:VCALENDAR".to_owned(),
        format!("UID:{}@127.0.0.1", shown["appointmentId"].as_str().unwrap()),
        format!("DTSTART:{}", instant(&shown["slot"]["startsAt"])),
        format!("DTEND:{}", instant(&shown["slot"]["endsAt"])),
        format!("LOCATION:{center}"),
        "END:VCALENDAR".to_owned(),
    ] {
        assert!(file.contains(&format!("{line}\r\n")), "{line} in {file}");
    }
    assert!(file.lines().all(|line| line.len() <= 75) && !file.replace("\r\n", "").contains(['\r', '\n']), "{file}");
    assert!(file.contains("\r\nDTSTAMP:20") && file.ends_with("END:VCALENDAR\r\n"), "{file}");

    view.click("main a[href='#appointments']").await;
    view.heading(words.list).await;
    assert_eq!(view.until("[data-status=completed] .badge", |badge| !badge.is_empty()).await, words.confirmed);
    view.click("button[id^=move-]").await;
    view.heading(words.choose_new).await;
    let _ = view.find("input[name=slot]").await;
    view.check(&name("move")).await;
    let other = offered(&view, 0).await;
    view.click(".time:nth-of-type(1)").await;
    view.click("form .primary").await;
    view.heading(words.moved).await;
    assert_eq!(
        listed(stack, words.insured).await,
        [("completed".to_owned(), None, other), ("cancelled".to_owned(), Some("moved".to_owned()), slot)]
    );

    view.click("main a[href='#appointments']").await;
    assert_eq!(view.until("[data-status=cancelled] .message", |text| !text.is_empty()).await, words.moved_message);
    assert_eq!(view.until("[data-status=cancelled] .badge", |badge| !badge.is_empty()).await, words.moved_badge);
    view.check(&name("list")).await;
    view.click("button[id^=cancel-]").await;
    assert_eq!(view.until("dialog[open] h2", |text| !text.is_empty()).await, words.question);
    view.check(&name("question")).await;
    // No is what has the focus, and leaves everything as it is.
    assert_eq!(view.run("return document.activeElement.value", vec![]).await, "no");
    view.click("dialog button[value=no]").await;
    let focused = view.run("return document.activeElement.id", vec![]).await;
    assert!(focused.as_str().unwrap().starts_with("cancel-"), "{focused}");
    assert_eq!(listed(stack, words.insured).await[0].0, "completed");
    view.click("button[id^=cancel-]").await;
    view.click("dialog button[value=yes]").await;
    let _ = view.until("li:first-child .badge", |badge| badge == words.cancelled).await;
    let cancelled = listed(stack, words.insured).await;
    assert_eq!(cancelled[0], ("cancelled".to_owned(), None, other));
    assert!(
        !view.text().await.contains("undefined") && !view.text().await.contains("[object"),
        "{}",
        view.text().await
    );

    // Another language at any time, which the tab remembers.
    let (another, heading) = if words.tag == "en" { ("es-PE", PERU.list) } else { ("en", ENGLISH.list) };
    view.choose("#language", another).await;
    view.heading(heading).await;
    browser.page().refresh().await.unwrap();
    view.heading(heading).await;
    let stored = view.run("return {...sessionStorage}", vec![]).await;
    assert_eq!(stored, json!({"insuredId": words.insured, "language": another}));
    assert_eq!(view.run("return localStorage.length + document.cookie.length", vec![]).await, 0);
    let _ = view.find("[data-status=cancelled]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_peru_books_moves_and_cancels() {
    books_moves_and_cancels(&PERU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_chile_books_moves_and_cancels() {
    books_moves_and_cancels(&CHILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_books_moves_and_cancels_in_english() {
    books_moves_and_cancels(&ENGLISH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_race_is_offered_the_next_free_times() {
    let stack = &*system().await;
    let browser = browser("page-race", "es-PE").await;
    let view = View(&browser);
    look(&view, stack, "70010", "PE", "Dermatología").await;
    // Two practitioners have more times in four weeks than the API gives at once.
    let days =
        async || view.run("return [...document.querySelectorAll('#day option')].map((day) => day.value)", vec![]).await;
    let before = days().await.as_array().unwrap().clone();
    view.click(".days button").await;
    let started = Instant::now();
    while days().await.as_array().unwrap().len() <= before.len() {
        assert!(started.elapsed() < PATIENCE, "no more days than {before:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(days().await.as_array().unwrap().starts_with(&before), "later days come after those that were there");
    view.choose("#day", before[0].as_str().unwrap()).await;
    let slot = offered(&view, 0).await;
    let body = json!({"insuredId": "70011", "scheduleId": slot, "countryISO": "PE"}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
    let (status, _, other) = send(stack, Method::POST, "/appointments", &headers, &body).await;
    assert!([StatusCode::CREATED, StatusCode::ACCEPTED].contains(&status), "{other}");

    view.click(".time").await;
    view.click("form .primary").await;
    view.heading("No se pudo reservar este horario").await;
    let _ = view.find(".offered input[name=slot]").await;
    assert!(view.text().await.contains("Otra persona ya reservó este horario."), "{}", view.text().await);
    assert_eq!(listed(stack, "70010").await, [("rejected".to_owned(), Some("slot_taken".to_owned()), slot)]);
    view.check("lost").await;
    let next = offered(&view, 0).await;
    assert_ne!(next, slot);
    view.click(".offered .time").await;
    view.click("form .primary").await;
    view.heading("Su cita está confirmada").await;
    assert_eq!(listed(stack, "70010").await[0], ("completed".to_owned(), None, next));
}

/// The center changes its slots while somebody looks at them.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_was_withdrawn_or_has_begun_offers_the_next_ones() {
    let stack = &*system().await;
    let browser = browser("page-gone", "es-CL").await;
    let view = View(&browser);
    let mut country = connect(stack.services().database_url("CL").unwrap()).await.unwrap();
    for (insured, change, reason, message) in [
        ("70050", "state = 'withdrawn'", "slot_withdrawn", "El centro ya no ofrece esta hora. Por favor, elija otra."),
        (
            "70051",
            "starts_at = now() - interval '1 hour', ends_at = now() - interval '30 minutes'",
            "slot_past",
            "Esta hora ya comenzó. Por favor, elija una posterior.",
        ),
    ] {
        look(&view, stack, insured, "CL", "Cardiología").await;
        let last = view.run("return document.querySelectorAll('input[name=slot]').length - 1", vec![]).await;
        let last = usize::try_from(last.as_u64().unwrap()).unwrap();
        let slot = offered(&view, last).await;
        let changed = format!("UPDATE slots SET {change}, version = version + 1 WHERE schedule_id = {slot}");
        let changed = sqlx::query(AssertSqlSafe(changed)).execute(&mut country).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{slot}");
        view.click(&format!("input[name=slot][value='{slot}']")).await;
        view.click("form .primary").await;
        view.heading("No se pudo tomar esta hora").await;
        let _ = view.until("main .card .message", |text| text == message).await;
        assert_eq!(listed(stack, insured).await, [("rejected".to_owned(), Some(reason.to_owned()), slot)]);
        let _ = view.find(".offered input[name=slot]").await;
        view.check(reason).await;
        let next = offered(&view, 0).await;
        assert_ne!(next, slot);
        view.click(".offered .time").await;
        view.click("form .primary").await;
        view.heading("Su hora está confirmada").await;
        assert_eq!(listed(stack, insured).await[0], ("completed".to_owned(), None, next));
        let _ = view.run("sessionStorage.clear()", vec![]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_in_the_middle_books_once() {
    let stack = &*system().await;
    let browser = browser("page-reload", "en").await;
    let view = View(&browser);
    look(&view, stack, "70020", "CL", "Pediatría").await;
    let slot = offered(&view, 0).await;
    // The booking is sent, and its response never arrives.
    let script = "const real = window.fetch;
                  window.fetch = (path, options) => {
                    if (options.method !== 'POST') return real(path, options);
                    real(path, { ...options, signal: undefined });
                    return new Promise(() => {});
                  };";
    let _ = view.run(script, vec![]).await;
    view.click(".time").await;
    view.click("form .primary").await;
    view.heading("Booking your appointment…").await;
    assert!(!view.text().await.contains("You may close this page"), "nobody knows yet that the API has it");
    view.check("on-its-way").await;
    let started = Instant::now();
    while listed(stack, "70020").await.is_empty() {
        assert!(started.elapsed() < PATIENCE, "the booking was not recorded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kept = view.run("return JSON.parse(sessionStorage.command).key", vec![]).await;
    assert_eq!(kept.as_str().unwrap().len(), 36, "{kept}");

    browser.page().refresh().await.unwrap();
    view.heading("Your appointment is confirmed").await;
    assert_eq!(listed(stack, "70020").await, [("completed".to_owned(), None, slot)], "one appointment");
    assert_eq!(view.run("return sessionStorage.command ?? null", vec![]).await, Value::Null, "the key is forgotten");
    // One more reload begins anew.
    browser.page().refresh().await.unwrap();
    view.heading("Book an appointment").await;
    assert_eq!(listed(stack, "70020").await.len(), 1);
}

/// A booking on its way, as the page keeps it in its tab: of the person and the slot of [`row`].
pub(crate) fn kept_command(key: &str) -> Value {
    let slot = json!({
        "scheduleId": 100, "countryISO": "PE", "specialty": "Cardiología", "center": "Clínica Miraflores",
        "practitioner": "Dra. Quispe", "start": "2098-12-01T09:00:00-05:00", "utcOffset": "-05:00",
        "startsAt": "2098-12-01T14:00:00.000Z", "endsAt": "2098-12-01T14:30:00.000Z",
    });
    json!({
        "key": key, "insuredId": "00123", "path": "/appointments", "search": {}, "slot": slot,
        "body": {"insuredId": "00123", "scheduleId": 100, "countryISO": "PE"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_takes_long_is_asked_for_also_after_a_reload() {
    let rows = ["pending", "failed", "failed", "failed", "completed"];
    let rows = rows.map(|status| ("GetItem", 200, json!({"Item": row(status, EVENT_ID)}).to_string()));
    let aws = Double::start(&rows).await;
    // A host without waiting responds with `202` at once.
    let host = Served::with_page(variables_with(&aws.url, &aws.url, &[("wait_limit_seconds", "0")])).await;
    let browser = browser("page-slow", "en").await;
    let view = View(&browser);
    browser.page().goto(&host.url()).await.unwrap();
    view.heading("Who is the appointment for?").await;
    let command = kept_command("a key of the page");
    let script = "sessionStorage.insuredId = '00123'; sessionStorage.command = arguments[0]";
    let _ = view.run(script, vec![json!(command.to_string())]).await;
    browser.page().refresh().await.unwrap();
    view.heading("Booking your appointment…").await;
    let _ = view.until("main .card", |text| text.contains("We are processing your appointment.")).await;
    assert!(view.text().await.contains("You may close this page"), "the API has it");
    let _ = view.until("main .card", |text| text.contains("your appointment is not confirmed yet")).await;
    view.check("delayed").await;
    browser.page().refresh().await.unwrap();
    view.heading("Your appointment is confirmed").await;
    assert_eq!(view.run("return sessionStorage.command ?? null", vec![]).await, Value::Null);
    let sent = aws.sent.lock().unwrap();
    let written: Vec<&str> =
        sent.iter().filter(|sent| sent.operation == "TransactWriteItems").map(|sent| sent.body.as_str()).collect();
    assert_eq!(written.len(), 2, "once for each time that the page was loaded");
    assert!(written.iter().all(|body| body.contains("idempotency#a key of the page")), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_in_words_with_what_to_do() {
    let stack = &*system().await;
    let browser = browser("page-errors", "en").await;
    let view = View(&browser);
    look(&view, stack, "70030", "PE", "Pediatría").await;
    let slot = offered(&view, 0).await;
    let network = async |is_offline: bool| {
        let conditions = json!({"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        browser.tell("Network.enable", json!({})).await;
        browser.tell("Network.emulateNetworkConditions", conditions).await;
    };
    // Without a connection the booking waits, and goes on by itself when there is one.
    network(true).await;
    view.click(".time").await;
    view.click("form .primary").await;
    let _ = view.until("[role=alert]", |text| text.contains("There is no connection")).await;
    assert!(view.text().await.contains("does not book twice"), "{}", view.text().await);
    view.heading("We do not know yet whether it was booked").await;
    view.check("offline").await;
    assert!(listed(stack, "70030").await.is_empty());
    network(false).await;
    view.heading("Your appointment is confirmed").await;
    assert_eq!(listed(stack, "70030").await, [("completed".to_owned(), None, slot)]);

    // A busy service says when to retry, and the page does; a throttling gateway responds without a problem of the API.
    let busy = "const real = window.fetch; let count = 0; window.keys = [];
                window.fetch = (path, options) => {
                  const status = options.method === 'POST' ? arguments[0][count++] : undefined;
                  if (!status) return real(path, options);
                  window.keys.push(options.headers['Idempotency-Key']);
                  return Promise.resolve(new Response('{\"message\":\"Too Many Requests\"}', { status, headers: { 'Retry-After': '1' } }));
                };";
    view.click("main a[href='#book']").await;
    let _ = view.find("input[name=slot]").await;
    let _ = view.run(busy, vec![json!([503, 429])]).await;
    view.click(".time:nth-of-type(2)").await;
    view.click("form .primary").await;
    let _ = view.until("main .card", |text| text.contains("The service is busy. We try again in 1 s.")).await;
    view.heading("Your appointment is confirmed").await;
    let keys = view.run("return window.keys", vec![]).await;
    assert!(keys[0].is_string() && keys[0] == keys[1], "one key: {keys}");
    assert_eq!(listed(stack, "70030").await.len(), 2);

    browser.page().refresh().await.unwrap();
    view.heading("Book an appointment").await;
    view.choose("#country", "PE").await;
    view.choose("#specialty", "Pediatría").await;
    let _ = view.find("input[name=slot]").await;
    let _ = view.run(busy, vec![json!([429, 429, 429, 429])]).await;
    view.click(".time:nth-of-type(2)").await;
    view.click("form .primary").await;
    let said = view.until("[role=alert]", |text| text.contains("Too many requests")).await;
    assert!(said.contains("Wait a second and try again."), "{said}");
    view.check("busy").await;
    view.click("main .actions .primary").await;
    view.heading("Your appointment is confirmed").await;
    assert_eq!(listed(stack, "70030").await.len(), 3);

    // A definitive refusal: the same time once more.
    let again = json!({"insuredId": "70030", "scheduleId": slot, "countryISO": "PE"});
    let command = json!({
        "key": "x".repeat(129), "insuredId": "70030", "path": "/appointments", "body": again,
        "search": {}, "slot": get(stack, &format!("/slots/PE/{slot}")).await,
    });
    let _ = view.run("sessionStorage.command = arguments[0]", vec![json!(command.to_string())]).await;
    browser.page().refresh().await.unwrap();
    let _ = view.until("[role=alert]", |text| text.contains("The idempotency key is not valid")).await;
    assert_eq!(view.run("return sessionStorage.command ?? null", vec![]).await, Value::Null);
    view.check("refused").await;

    // The list without a connection.
    view.click("main a[href='#appointments']").await;
    view.heading("My appointments").await;
    let _ = view.find("[data-status=completed]").await;
    network(true).await;
    view.click("nav a[href='#appointments']").await;
    let _ = view.until("[role=alert]", |text| text.contains("There is no connection")).await;
    network(false).await;
    view.click("[role=alert] button").await;
    let _ = view.find("[data-status=completed]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_books() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    const DOWN: &str = "\u{e015}";
    let stack = &*system().await;
    let browser = browser("page-keyboard", "en").await;
    let view = View(&browser);
    // Keys as the keyboard sends them, to whatever has the focus.
    let press = async |keys: &str| {
        let strokes = keys.chars().flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        let actions = strokes.fold(KeyActions::new("keyboard".to_owned()), |actions, stroke| actions.then(stroke));
        browser.page().perform_actions(actions).await.unwrap();
    };
    // Goes on with the Tab key to an element.
    let reach = async |selector: &str| {
        for _ in 0..40 {
            let script = "return document.activeElement.matches(arguments[0])";
            if view.run(script, vec![json!(selector)]).await == true {
                return;
            }
            press(TAB).await;
        }
        panic!("{selector} cannot be reached by the Tab key: {}", view.text().await);
    };
    browser.page().goto(&stack.url()).await.unwrap();
    view.heading("Who is the appointment for?").await;
    reach("#insured-id").await;
    press("70040").await;
    press(ENTER).await;
    view.heading("Book an appointment").await;
    reach("#country").await;
    press("Chile").await;
    let _ = view.find("#specialty").await;
    reach("#specialty").await;
    press("Pedia").await;
    let _ = view.find("input[name=slot]").await;
    reach("#day").await;
    press(DOWN).await;
    reach("input[name=slot]").await;
    press(" ").await;
    press(DOWN).await;
    let chosen = view.run("return document.querySelector('input[name=slot]:checked').value", vec![]).await;
    reach("form button.primary").await;
    press(ENTER).await;
    view.heading("Your appointment is confirmed").await;
    let booked = listed(stack, "70040").await;
    assert_eq!(
        (booked.len(), booked[0].0.as_str(), booked[0].2.to_string().as_str()),
        (1, "completed", chosen.as_str().unwrap())
    );
    reach("main a[href='#appointments']").await;
    press(ENTER).await;
    view.heading("My appointments").await;
    let _ = view.find("button[id^=cancel-]").await;
    reach("button[id^=cancel-]").await;
    press(ENTER).await;
    let _ = view.find("dialog[open]").await;
    reach("dialog button[value=yes]").await;
    press(ENTER).await;
    let _ = view.find("[data-status=cancelled]").await;
    // The first thing that the Tab key reaches skips the navigation.
    browser.page().refresh().await.unwrap();
    view.heading("My appointments").await;
    let _ = view.run("document.activeElement.blur(); document.getElementById('skip').focus()", vec![]).await;
    press(ENTER).await;
    assert_eq!(view.run("return document.activeElement.id", vec![]).await, "main");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_light_and_asks_nobody_else() {
    let stack = &*system().await;
    let browser = browser("page-weight", "es-CL").await;
    let view = View(&browser);
    browser.page().goto(&stack.url()).await.unwrap();
    view.heading(CHILE.person).await;
    let script = "const done = arguments[0];
        const report = () => {
          const paint = performance.getEntriesByName('first-contentful-paint')[0];
          if (!paint) return setTimeout(report, 50);
          const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
          done({
            firstPaint: Math.round(paint.startTime),
            requests: all.map(({ name, transferSize }) => [name, transferSize]),
            bytes: all.reduce((sum, { transferSize }) => sum + transferSize, 0),
            decoded: all.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0),
          });
        };
        report();";
    let measured = view.run_until_done(script, vec![]).await;
    let requests = measured["requests"].as_array().unwrap();
    println!(
        "first visit: {} requests, {} bytes over the wire ({} decoded), first contentful paint after {} ms",
        requests.len(),
        measured["bytes"],
        measured["decoded"],
        measured["firstPaint"]
    );
    assert!(measured["bytes"].as_u64().unwrap() < WEIGHT_LIMIT, "{measured}");
    assert!(requests.len() <= 14, "{measured}");
    assert!(requests.iter().all(|request| request[0].as_str().unwrap().starts_with(&stack.url())), "{measured}");
    // Once more: the assets come from the browser's cache, the document and the settings are asked about.
    browser.page().goto(&format!("{}/?again", stack.url())).await.unwrap();
    view.heading(CHILE.person).await;
    let again = view.run_until_done(script, vec![]).await;
    println!("next visit: {} bytes over the wire", again["bytes"]);
    assert!(again["bytes"].as_u64().unwrap() < 5_000, "{again}");
    // Every language says everything.
    let script = "const done = arguments[0];
        const path = performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/texts.js')).name;
        import(path).then(({ TEXTS }) => done(Object.values(TEXTS).map((texts) => Object.keys(texts).sort().join())));";
    let keys = view.run_until_done(script, vec![]).await;
    let keys = keys.as_array().unwrap();
    assert!(keys.len() == 3 && keys.iter().all(|each| *each == keys[0]), "{keys:?}");
}
