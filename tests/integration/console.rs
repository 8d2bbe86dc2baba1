//! The console of a running stack: who gets in, what it shows, and, in a real browser, what one can see and do there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use console::server::Console;
use console::state::Stack;
use console::watch::Watch;
use http::{Method, Response, StatusCode};
use local_stack::LocalStack;
use local_stack::http::Http;
use serde_json::{Value, json};
use tests::{Browser, View, own_stack, stack, workspace};

use crate::faulty::{PATIENCE, body, fresh_slot, insured, post};

/// The console of a stack, and the log reader behind it.
pub(crate) async fn console_of(stack: &LocalStack) -> (Console, Watch) {
    let services = stack.services();
    let announcement = services.announcement();
    let observed = Stack::of_instance(&workspace(), announcement.parent().unwrap()).await.unwrap();
    let watch = Watch::start(services.logs());
    (Console::start(observed, &watch, None).await.unwrap(), watch)
}

pub(crate) async fn ask(method: Method, url: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Http::default().send(request.body(Bytes::new()).unwrap()).await.unwrap()
}

pub(crate) fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("{response:?}"))
}

/// Books in Peru; the appointment's id.
async fn book(stack: &LocalStack, person: &str) -> String {
    let (status, _, accepted) = post(&stack.url(), &body(person, fresh_slot() & !1)).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    accepted["appointmentId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_answers_who_knows_its_address_and_nobody_else() {
    let stack = &*stack().await;
    let (console, _watch) = console_of(stack).await;
    let url = console.url();
    let (origin, token) = url.trim_end_matches('/').rsplit_once('/').unwrap();
    assert_eq!(token.len(), 32, "{url}");
    let host = origin.strip_prefix("http://").unwrap();
    assert!(host.starts_with("127.0.0.1:"), "{url}");

    let page = ask(Method::GET, &url, &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer", "the address holds the token");
    assert_eq!(page.headers()["cache-control"], "no-store");

    let routes = [
        (Method::GET, ""),
        (Method::GET, "console.js"),
        (Method::GET, "api/events"),
        (Method::GET, "api/bookings"),
        (Method::GET, "api/tables/PE/appointments"),
        (Method::GET, "api/redrive"),
        (Method::POST, "api/redrive"),
        (Method::POST, "api/hops/topic/break"),
        (Method::GET, "nothing"),
    ];
    let (almost, longer) = (format!("{}x", &token[1..]), format!("{token}0"));
    for (method, route) in routes {
        for wrong in ["0".repeat(32).as_str(), &almost, &longer, "api"] {
            let refused = ask(method.clone(), &format!("{origin}/{wrong}/{route}"), &[]).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{method} {wrong}/{route}");
            assert!(json_of(&refused)["error"].as_str().unwrap().contains("cargo xtask up"), "{refused:?}");
        }
        // A foreign name that resolves to this machine, and a page of another site.
        let address = format!("{url}{route}");
        let rebound = ask(method.clone(), &address, &[("host", "evil.example")]).await;
        assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST, "{method} {route}");
        let foreign = ask(method.clone(), &address, &[("host", host), ("origin", "https://evil.example")]).await;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{method} {route}");
    }
    assert_eq!(ask(Method::GET, &format!("{origin}/"), &[]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::GET, &format!("{url}nothing"), &[]).await.status(), StatusCode::NOT_FOUND);
    // Without the final slash the page's files would be looked for beside the token.
    let without = format!("{origin}/{token}");
    let sent_on = ask(Method::GET, &without, &[]).await;
    assert_eq!(sent_on.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(sent_on.headers()["location"], format!("/{token}/"));
    assert_eq!(ask(Method::GET, &without[..without.len() - 1], &[]).await.status(), StatusCode::FORBIDDEN);
    let own_page = [("host", host), ("origin", origin)];
    assert_eq!(ask(Method::GET, &url, &own_page).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_are_found_by_appointment_trace_and_person_and_tables_are_shown_by_pages() {
    let stack = &*stack().await;
    let (console, _watch) = console_of(stack).await;
    let url = console.url();
    let get = async |path: &str| ask(Method::GET, &format!("{url}api/{path}"), &[]).await;
    let person = insured();
    let appointment = book(stack, &person).await;

    let started = Instant::now();
    let booking = loop {
        let found = json_of(&get(&format!("bookings?find={appointment}")).await);
        let services = |booking: &Value| -> Vec<String> {
            let hops = booking["hops"].as_array().unwrap().iter();
            hops.map(|hop| hop["service"].as_str().unwrap().to_owned()).collect()
        };
        match found.as_array().unwrap().as_slice() {
            [booking]
                if ["intake", "appointment-pe", "confirmation"]
                    .iter()
                    .all(|one| services(booking).iter().any(|it| it == one)) =>
            {
                break booking.clone();
            }
            _ => assert!(started.elapsed() < PATIENCE, "{found}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(booking["request"], "POST /appointments", "{booking}");
    assert_eq!((&booking["country"], &booking["appointments"]), (&json!("PE"), &json!([appointment])));
    let trace = booking["traceId"].as_str().unwrap();
    for text in [trace, &trace.to_uppercase(), &person] {
        let found = json_of(&get(&format!("bookings?find={text}")).await);
        assert_eq!(found.as_array().unwrap().len(), 1, "{text}: {found}");
        assert_eq!(found[0]["traceId"], trace, "{text}");
    }
    assert_eq!(json_of(&get("bookings?find=nobody").await), json!([]));

    let rows = json_of(&get("tables/PE/appointments").await);
    let found = rows["rows"].as_array().unwrap().iter().find(|row| row["appointment_id"] == appointment);
    assert_eq!(found.unwrap()["status"], "booked", "{rows}");
    assert_eq!(json_of(&get("tables/PE/appointments?page=1000").await)["rows"], json!([]));
    assert!(json_of(&get("tables/CL/slots").await)["rows"].is_array());
    assert_eq!(get("tables/PE/appointments?page=-1").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(get("tables/BR/appointments").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get("tables/PE/secrets").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get("redrive?only=none").await.status(), StatusCode::NOT_FOUND);
    let nonsense = ask(Method::POST, &format!("{url}api/hops/nothing/break"), &[]).await;
    assert_eq!(nonsense.status(), StatusCode::NOT_FOUND);
}

/// A hop that a policy breaks refuses from then on, and works again once it is healed.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_or_a_bus_that_refuses_loses_nothing_and_works_again_once_healed() {
    let stack = own_stack("console-hops").await;
    let (console, _watch) = console_of(&stack).await;
    let url = console.url();
    // Who is refused, and how its log says so.
    for (hop, log, refusal) in
        [("topic", "application.log", "AuthorizationError"), ("bus", "workers.log", "AccessDenied")]
    {
        let change = async |change: &str| {
            let changed = ask(Method::POST, &format!("{url}api/hops/{hop}/{change}"), &[]).await;
            assert_eq!(changed.status(), StatusCode::OK, "{changed:?}");
        };
        change("break").await;
        change("break").await;
        let person = insured();
        let appointment = book(&stack, &person).await;
        let status = async || -> Value {
            let response =
                Http::default().get(&format!("{}/appointments/{person}/{appointment}", stack.url())).await.unwrap();
            json_of(&response)["status"].clone()
        };
        let lines = async || std::fs::read_to_string(stack.services().logs().join(log)).unwrap();
        let refused = |lines: &str| lines.lines().any(|line| line.contains(&appointment) && line.contains(refusal));
        let started = Instant::now();
        while !refused(&lines().await) {
            assert!(started.elapsed() < PATIENCE, "{hop}: {}", lines().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(status().await, "pending", "{hop}");
        change("heal").await;
        change("heal").await;
        while status().await != "completed" {
            assert!(started.elapsed() < PATIENCE, "{hop}: still {}", status().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sees_a_booking_breaks_a_database_and_redrives_what_it_lost() {
    let stack = own_stack("console").await;
    let (console, _watch) = console_of(&stack).await;
    let browser = Browser::start("console-browser").await;
    let view = View(&browser);
    browser.page().goto(&console.url()).await.unwrap();
    view.until("#connection", |text| text == "live").await;

    // A booking, hop by hop, without a reload.
    let appointment = book(&stack, &insured()).await;
    view.until("#booking-list .booking .state", |text| text == "AppointmentCompleted" || text == "completed").await;
    view.click("#booking-list .booking summary").await;
    view.until("#booking-list .ids", |text| text.contains(&appointment)).await;
    let bars = async || view.run("return document.querySelectorAll('.details > svg rect').length", Vec::new()).await;
    let started = Instant::now();
    while bars().await.as_u64().unwrap() < 3 {
        assert!(started.elapsed() < PATIENCE, "{} bars", bars().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    view.check("console-bookings").await;

    // The database of Peru is down: what is booked becomes a dead letter, with the reason.
    view.click("nav a[href='#hops']").await;
    view.click("[data-hop='database-PE'] button").await;
    view.until("[data-hop='database-PE']", |text| text.contains("broken")).await;
    view.check("console-hops").await;
    let lost = book(&stack, &insured()).await;
    view.click("nav a[href='#errors']").await;
    view.until("#error-list", |text| text.contains("appointment-pe") && text.contains("ERROR")).await;
    view.check("console-errors").await;
    view.click("nav a[href='#dead-letters']").await;
    view.until("#letter-list", |text| text.contains(&lost)).await;
    view.until("#letter-list .reason", |text| text.contains("not currently accepting connections")).await;

    // A message that nobody can read becomes another.
    let services = stack.services();
    let poison = json!({"QueueUrl": services.queue_url("SQS_PE").unwrap(), "MessageBody": "poison, not JSON"});
    let sent = services.aws().sqs("SendMessage", &poison).await.unwrap();
    let letter = format!("[data-message='{}']", sent["MessageId"].as_str().unwrap());
    view.until(&format!("{letter} pre"), |text| text == "poison, not JSON").await;
    view.until(&format!("{letter} .reason"), |text| text == "not_json").await;
    view.click(&format!("{letter} details summary")).await;
    view.check("console-dead-letters").await;

    // What fits the terminal says the same.
    let observed = Stack::of_instance(&workspace(), services.announcement().parent().unwrap()).await.unwrap();
    let state = observed.look().await;
    // The command was published again meanwhile, perhaps several times.
    assert!(state.messages.dead_letters.len() >= 2, "{state:?}");
    assert!(state.hops.iter().any(|hop| hop.hop == "database-PE" && hop.broken), "{state:?}");
    let plain =
        console::terminal::status(&state, &console::history::History::default(), console::terminal::Colour::Off);
    assert!(
        plain.contains("SQS_PE_DLQ appointment.requested") && plain.contains("database-PE is broken on purpose"),
        "{plain}"
    );
    assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");

    // Healed, one of them is put back, once it was said what that does.
    view.click("nav a[href='#hops']").await;
    view.click("[data-hop='database-PE'] button").await;
    view.until("[data-hop='database-PE']", |text| text.contains("works")).await;
    view.click("nav a[href='#dead-letters']").await;
    let letters = &state.messages.dead_letters;
    let of_booking = letters.iter().find(|letter| letter.appointment_id.as_deref() == Some(&lost)).unwrap();
    let id = &of_booking.message_id;
    view.click(&format!("[data-message='{id}'] > button")).await;
    let step = format!("{id}: appointment.requested goes back to SQS_PE");
    view.until("#preview-steps", |text| text == step).await;
    view.check("console-redrive").await;
    view.click("#confirm").await;
    view.until("#letter-list", |text| !text.contains(id) && text.contains("poison")).await;

    view.click("nav a[href='#bookings']").await;
    view.type_into("#find-text", &lost).await;
    view.click("#find button").await;
    view.until("#booking-list .ids", |text| text.contains(&lost)).await;
    view.until("#booking-list .booking .state", |text| text == "AppointmentCompleted" || text == "completed").await;
    view.check("console-fault").await;

    // Then all the others: nobody can read the poison again, which comes back.
    view.click("nav a[href='#dead-letters']").await;
    view.click("#redrive-all").await;
    view.until("#preview-steps", |text| text.contains("an unreadable message goes back to SQS_PE")).await;
    view.click("#confirm").await;
    view.until("#letter-list", |text| !text.contains(&lost)).await;

    view.click("nav a[href='#tables']").await;
    view.choose("#country", "PE").await;
    view.click("#choose button").await;
    view.until("#rows", |text| text.contains(&lost) && text.contains("booked")).await;
    view.check("console-tables").await;
    view.click("nav a[href='#queues']").await;
    view.until("#queue-rows", |text| text.contains("SQS_PE_DLQ")).await;
    view.check("console-queues").await;
    let requests = view
        .run(
            "return performance.getEntriesByType('resource').every(({name}) => name.startsWith(location.origin))",
            Vec::new(),
        )
        .await;
    assert_eq!(requests, true, "the page asks nobody else");
}
