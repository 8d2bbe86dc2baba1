//! Free slots and moves at intake, and what confirmation keeps of slots: the components as they are shipped, against a double of
//! AWS that records what they send.

use appointment::{Reason, Timestamp};
use edge_component::ProblemCode;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::components::{Confirmation, Double, EVENT_ID, ID, JSON, Scripted, completed, condition_failed, row};
use crate::components::{host, host_with};
use crate::contract::promised as call;

const KEY: (&str, &str) = ("idempotency-key", "3c1e9a52-7d6b-4f0a-9a51-2b8f6d0c7e13");

/// A search whose time has not come, whenever this test runs.
const SEARCH: &str = "/slots?countryISO=PE&specialty=Cardiolog%C3%ADa&from=2090-03-01&to=2090-03-08";

async fn get(script: &[(&str, u16, String)], path: &str) -> (u16, HeaderMap, Value, Double) {
    let double = Double::start(script).await;
    let host = host(&double).await;
    let (status, headers, body) = call(&host, Method::GET, path, &[], "").await;
    (status.as_u16(), headers, body, double)
}

/// A slot as a country's event describes it.
fn slot(number: u64, country: &str, starts_at: &str, offset: &str) -> Value {
    json!({
        "scheduleId": number, "countryISO": country, "specialty": "Cardiología", "center": "Lima Centro",
        "practitioner": "Dra. Ana Quispe", "startsAt": starts_at, "endsAt": starts_at, "timeZone": "America/Lima",
        "utcOffset": offset,
    })
}

/// The same as it lies in the table.
fn slot_item(number: u64, country: &str, starts_at: &str, offset: &str) -> Value {
    let slot = slot(number, country, starts_at, offset);
    let mut item = json!({
        "slotKey": {"S": format!("{country}#{number}")}, "scheduleId": {"N": number.to_string()}, "version": {"N": "1"},
        "status": {"S": "free"}, "startsKey": {"S": format!("{starts_at}#{number:016}")},
    });
    for text in ["countryISO", "specialty", "center", "practitioner", "startsAt", "endsAt", "timeZone", "utcOffset"] {
        item[text] = json!({"S": slot[text]});
    }
    item
}

fn page(items: &[Value], has_next: bool) -> (&'static str, u16, String) {
    let mut body = json!({"Items": items});
    if let (true, Some(last)) = (has_next, items.last()) {
        body["LastEvaluatedKey"] = json!({"slotKey": last["slotKey"], "startsKey": last["startsKey"]});
    }
    ("Query", 200, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_one_read_of_the_index_that_fits() {
    let (by_specialty, by_center, by_practitioner) = ("free-by-specialty", "free-by-center", "free-by-practitioner");
    for (more, index, key, filter) in [
        ("", by_specialty, "PE#Cardiología", Value::Null),
        ("&center=Lima+Centro", by_center, "PE#Cardiología#Lima Centro", Value::Null),
        ("&practitioner=Dra.%20Ana", by_practitioner, "PE#Cardiología#Dra. Ana", Value::Null),
        (
            "&center=Lima+Centro&practitioner=Dra.%20Ana",
            by_practitioner,
            "PE#Cardiología#Dra. Ana",
            json!("center = :center"),
        ),
    ] {
        let (status, _, body, double) = get(&[page(&[], false)], &format!("{SEARCH}{more}&limit=7")).await;
        let expected = json!({
            "countryISO": "PE", "specialty": "Cardiología", "slots": [], "pagination": {"limit": 7, "nextCursor": null},
        });
        assert_eq!((status, body), (200, expected), "{more}");
        assert_eq!(double.operations(), ["Query"]);
        let query = double.sent.lock().unwrap()[0].json();
        assert_eq!((&query["TableName"], &query["IndexName"]), (&json!("slots"), &json!(index)), "{more}");
        assert_eq!((&query["FilterExpression"], &query["Limit"]), (&filter, &json!(7)), "{more}");
        let values = &query["ExpressionAttributeValues"];
        assert_eq!(values[":key"]["S"], key, "{more}");
        // Peru has one time zone: a date there is one span of time.
        assert_eq!(values[":from"]["S"], "2090-03-01T05:00:00.000Z");
        assert_eq!(values[":to"]["S"], "2090-03-08T05:00:00.000Z");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_slots_says_when_and_where_and_where_the_next_one_starts() {
    let items = [
        slot_item(7, "PE", "2090-03-01T14:00:00.000Z", "-05:00"),
        slot_item(9, "PE", "2090-03-01T14:00:00.000Z", "-05:00"),
    ];
    let (status, headers, body, _) = get(&[page(&items, true)], &format!("{SEARCH}&limit=2")).await;
    assert_eq!(status, 200);
    assert_eq!(headers["cache-control"], "public, max-age=2");
    assert_eq!(headers["vary"], "origin");
    let mut expected = slot(7, "PE", "2090-03-01T14:00:00.000Z", "-05:00");
    expected["start"] = json!("2090-03-01T09:00:00-05:00");
    expected["end"] = expected["start"].clone();
    expected["status"] = json!("free");
    assert_eq!(body["slots"][0], expected);
    let cursor = body["pagination"]["nextCursor"].as_str().unwrap();

    let (status, _, body, double) = get(&[page(&[], false)], &format!("{SEARCH}&limit=5&cursor={cursor}")).await;
    assert_eq!((status, &body["pagination"]["nextCursor"]), (200, &Value::Null));
    let from = double.sent.lock().unwrap()[0].json()["ExpressionAttributeValues"][":from"]["S"].clone();
    assert_eq!(from, "2090-03-01T14:00:00.000Z#0000000000000010", "the first that comes after the page");

    for other in ["&center=Lima+Centro", "&practitioner=Dra.+Ana"] {
        let path = format!("{SEARCH}{other}&cursor={cursor}");
        let (status, _, body, double) = get(&[], &path).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("invalid_cursor")), "{other}");
        assert!(double.operations().is_empty());
    }
    let other_days = SEARCH.replace("2090-03-08", "2090-03-09");
    let (status, _, body, _) = get(&[], &format!("{other_days}&cursor={cursor}")).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("invalid_cursor")));
    let (status, _, body, _) = get(&[], &format!("{}&cursor={cursor}", SEARCH.replace("=PE", "=CL"))).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("invalid_cursor")));
    let (status, _, body, _) = get(&[], &format!("{SEARCH}&cursor=AQAB")).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("invalid_cursor")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_page_is_not_sent_it_again() {
    let item = slot_item(7, "PE", "2090-03-01T14:00:00.000Z", "-05:00");
    let double = Double::start(&[page(&[item], false)]).await;
    let host = host(&double).await;
    let (_, headers, _) = call(&host, Method::GET, SEARCH, &[], "").await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let (status, headers, body) = call(&host, Method::GET, SEARCH, &[("if-none-match", &tag)], "").await;
    assert_eq!((status, &body), (StatusCode::NOT_MODIFIED, &Value::Null));
    assert_eq!(headers["cache-control"], "public, max-age=2");
    let (status, headers, body) = call(&host, Method::HEAD, SEARCH, &[], "").await;
    assert_eq!((status, headers["etag"].to_str().unwrap(), &body), (StatusCode::OK, &*tag, &Value::Null));
}

/// A date is the center's: in Chile, whose zones differ, it may begin at three instants.
#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_one_of_local_time() {
    let path = "/slots?countryISO=CL&specialty=Cardiolog%C3%ADa&from=2090-03-01&to=2090-03-02";
    let items = [
        slot_item(1, "CL", "2090-03-01T04:30:00.000Z", "-05:00"),
        slot_item(2, "CL", "2090-03-01T04:30:00.000Z", "-03:00"),
        slot_item(3, "CL", "2090-03-02T04:30:00.000Z", "-03:00"),
        slot_item(4, "CL", "2090-03-02T04:30:00.000Z", "-05:00"),
    ];
    let (_, _, body, double) = get(&[page(&items, false)], path).await;
    let shown = |body: &Value| -> Vec<String> {
        body["slots"].as_array().unwrap().iter().map(|slot| slot["start"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&body), ["2090-03-01T01:30:00-03:00", "2090-03-01T23:30:00-05:00"]);
    let values = double.sent.lock().unwrap()[0].json()["ExpressionAttributeValues"].clone();
    assert_eq!(values[":from"]["S"], "2090-03-01T03:00:00.000Z", "midnight in the east");
    assert_eq!(values[":to"]["S"], "2090-03-02T06:00:00.000Z", "midnight in the west");

    let instants =
        path.replace("2090-03-01", "2090-03-01T01:30:00-03:00").replace("2090-03-02", "2090-03-02T04:00:00Z");
    let (_, _, body, double) = get(&[page(&items[..2], false)], &instants).await;
    assert_eq!(shown(&body).len(), 2);
    let values = double.sent.lock().unwrap()[0].json()["ExpressionAttributeValues"].clone();
    assert_eq!(values[":from"]["S"], "2090-03-01T04:30:00.000Z");
    assert_eq!(values[":to"]["S"], "2090-03-02T04:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_is_not_looked_for() {
    let open = "/slots?countryISO=PE&specialty=X";
    let before = Timestamp::from(std::time::SystemTime::now());
    let (_, _, _, double) = get(&[page(&[], false)], &format!("{open}&from=2020-01-01T00:00:00Z&to=2020-01-15")).await;
    assert!(double.operations().is_empty(), "nothing can be free there");
    let (_, _, _, double) = get(&[page(&[], false)], open).await;
    let values = double.sent.lock().unwrap()[0].json()["ExpressionAttributeValues"].clone();
    let instant = |name: &str| values[name]["S"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(instant(":from") >= before);
    assert_eq!(instant(":to").since(instant(":from")).as_secs(), 14 * 24 * 60 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_names_every_parameter_at_fault_and_reads_nothing() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let (long, longest) = ("é".repeat(81), "é".repeat(80));
    let with = |more: &str| format!("countryISO=PE&specialty=X&{more}");
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (String::new(), vec![("countryISO", "required"), ("specialty", "required")]),
        (
            "countryISO=pe&specialty=".to_owned(),
            vec![("countryISO", "unsupported_value"), ("specialty", "invalid_format")],
        ),
        (format!("countryISO=PE&specialty={long}"), vec![("specialty", "invalid_format")]),
        (
            with("center=a%23b&practitioner=%20a"),
            vec![("center", "invalid_format"), ("practitioner", "invalid_format")],
        ),
        (with("center=a%0Ab"), vec![("center", "invalid_format")]),
        (with("specialty=Y&limit=0"), vec![("specialty", "duplicate_field"), ("limit", "out_of_range")]),
        (with("limit=many&order=asc"), vec![("limit", "invalid_type"), ("order", "unknown_field")]),
        (with("from=2026-13-01&to=tomorrow"), vec![("from", "invalid_format"), ("to", "invalid_format")]),
        (with("from=2090-03-02&to=2090-03-02"), vec![("to", "out_of_range")]),
        (
            with("from=2090-03-02&to=2090-03-01T00:00:00Z&limit=101"),
            vec![("limit", "out_of_range"), ("to", "out_of_range")],
        ),
        (with("from=2090-03-01&to=2090-05-03"), vec![("to", "out_of_range")]),
        (with("from=2026-12-01T09:00:00"), vec![("from", "invalid_format")]),
    ];
    for (query, faults) in cases {
        let (status, _, body) = call(&host, Method::GET, &format!("/slots?{query}"), &[], "").await;
        assert_eq!((status.as_u16(), body["code"].as_str()), (400, Some("invalid_parameter")), "{query}: {body}");
        let named: Vec<(&str, &str)> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (error["field"].as_str().unwrap(), error["code"].as_str().unwrap()))
            .collect();
        assert_eq!(named, faults, "{query}");
    }
    let (status, _, body) = call(&host, Method::GET, &format!("/slots?{}", "x".repeat(1100)), &[], "").await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (414, Some("query_too_long")));
    assert!(double.operations().is_empty());

    let fine = format!("/slots?countryISO=PE&specialty={longest}&from=2090-03-01&to=2090-05-02");
    let (status, _, body) = call(&host, Method::GET, &fine, &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_and_the_catalogue_are_there_or_not() {
    let of = |item: &Value| vec![("GetItem", 200, json!({"Item": item}).to_string())];
    let free = slot_item(7, "PE", "2090-03-01T14:00:00.000Z", "-05:00");
    let mut busy = free.clone();
    busy["status"] = json!({"S": "busy"});
    let begun = slot_item(7, "PE", "2020-03-01T14:00:00.000Z", "-05:00");
    for (item, status) in [(&free, "free"), (&busy, "busy"), (&begun, "busy-unavailable")] {
        let (code, headers, body, double) = get(&of(item), "/slots/PE/7").await;
        assert_eq!((code, body["status"].as_str(), body["scheduleId"].as_u64()), (200, Some(status), Some(7)));
        assert_eq!(headers["cache-control"], "public, max-age=2");
        assert!(body.get("version").is_none());
        let read = double.sent.lock().unwrap()[0].json();
        assert_eq!((&read["TableName"], &read["Key"]), (&json!("slots"), &json!({"slotKey": {"S": "PE#7"}})));
    }
    let names = |names: &[&str]| json!({"L": names.iter().map(|name| json!({"S": name})).collect::<Vec<_>>()});
    let who =
        json!({"M": {"name": {"S": "Dra. Ana"}, "specialty": {"S": "Cardiología"}, "center": {"S": "Lima Centro"}}});
    let catalogue = json!({
        "slotKey": {"S": "PE#catalogue"}, "version": {"N": "3"}, "specialties": names(&["Cardiología"]),
        "centers": names(&["Lima Centro"]), "practitioners": {"L": [who]},
    });
    let (code, _, body, double) = get(&of(&catalogue), "/catalog/PE").await;
    let practitioner = json!({"name": "Dra. Ana", "specialty": "Cardiología", "center": "Lima Centro"});
    let expected = json!({
        "countryISO": "PE", "specialties": ["Cardiología"], "centers": ["Lima Centro"], "practitioners": [practitioner],
    });
    assert_eq!((code, body), (200, expected));
    assert_eq!(double.sent.lock().unwrap()[0].json()["Key"], json!({"slotKey": {"S": "PE#catalogue"}}));

    let unreadable = json!({"slotKey": {"S": "PE#7"}});
    let fault = vec![("GetItem", 500, r#"{"__type":"InternalServerError"}"#.to_owned())];
    let missing = vec![("GetItem", 200, "{}".to_owned())];
    for (script, path, status, code) in [
        (&missing, "/slots/CL/7", 404, "slot_not_found"),
        (&missing, "/catalog/CL", 404, "catalog_not_found"),
        (&fault, "/slots/CL/7", 503, "temporarily_unavailable"),
        (&of(&unreadable), "/slots/PE/7", 500, "internal"),
    ] {
        let (got, headers, body, _) = get(script, path).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(headers["cache-control"], "no-store");
    }
    for (path, fields) in [
        ("/slots/pe/0", vec![("countryISO", "unsupported_value"), ("scheduleId", "out_of_range")]),
        ("/slots/PE/007", vec![("scheduleId", "invalid_type")]),
        ("/slots/PE/9007199254740992", vec![("scheduleId", "out_of_range")]),
        ("/slots/PE/99999999999999999999999", vec![("scheduleId", "out_of_range")]),
        ("/slots/PE/x", vec![("scheduleId", "invalid_type")]),
        ("/catalog/AR", vec![("countryISO", "unsupported_value")]),
    ] {
        let (status, _, body, double) = get(&[], path).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("invalid_parameter")), "{path}");
        let named: Vec<_> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["field"].as_str().unwrap(), e["code"].as_str().unwrap()))
            .collect();
        assert_eq!(named, fields, "{path}");
        assert!(double.operations().is_empty());
    }
}

/// What can be booked is no secret; for whom something is booked is.
#[tokio::test(flavor = "multi_thread")]
async fn slots_need_no_token_and_a_move_does() {
    let double = Double::start(&[page(&[], false)]).await;
    let variables = [("authentication", "jwt"), ("jwt_issuer", "https://issuer.test"), ("jwt_audience", "a")];
    let host = host_with(&double.url, &double.url, &variables).await;
    for (path, expected) in [(SEARCH, 200), ("/slots/PE/7", 404), ("/catalog/PE", 404)] {
        let (status, _, body) = call(&host, Method::GET, path, &[], "").await;
        assert_eq!(status.as_u16(), expected, "{path}: {body}");
    }
    let path = format!("/appointments/00123/{ID}/move");
    let (status, _, _) = call(&host, Method::POST, &path, &[JSON], r#"{"scheduleId":7}"#).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

/// A row whose slot begins at this instant.
fn with_slot(mut row: Value, starts_at: &str) -> Value {
    let slot = slot(100, "PE", starts_at, "-05:00");
    let mut map = json!({});
    for text in ["specialty", "center", "practitioner", "startsAt", "endsAt", "timeZone", "utcOffset"] {
        map[text] = json!({"S": slot[text]});
    }
    row["slot"] = json!({"M": map});
    row
}

const LATER: &str = "2090-03-01T14:00:00.000Z";
const BEGUN: &str = "2020-03-01T14:00:00.000Z";
const NEW_ID: &str = "01890f3e-8d10-7b02-8a44-6f0e5d9c1a27";

/// The item of the key of a move that was accepted.
fn key_item(original: &str, slot: u64) -> Value {
    json!({
        "insuredId": {"S": "00123"}, "sk": {"S": format!("idempotency#{}", KEY.1)}, "appointmentId": {"S": NEW_ID},
        "scheduleId": {"N": slot.to_string()}, "countryISO": {"S": "PE"}, "createdAt": {"S": "2026-11-24T09:31:00.000Z"},
        "expiresAt": {"N": "4102444800"}, "operation": {"S": format!("POST /appointments/00123/{original}/move")},
        "replaces": {"M": {"appointmentId": {"S": original}, "scheduleId": {"N": "100"}}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_one_read_one_write_and_one_publication() {
    let kept = |row: Value| (200, json!({"Item": row}).to_string());
    let path = format!("/appointments/00123/{ID}/move");
    let (none, fault) = ((200, "{}".to_owned()), (500, r#"{"__type":"InternalServerError"}"#.to_owned()));
    let published: &[&str] = &["GetItem", "PutItem", "Publish"];
    let read: &[&str] = &["GetItem"];
    type Case<'a> = (&'a str, Scripted, u64, u16, &'a str, &'a [&'a str]);
    let cases: Vec<Case> = vec![
        ("booked", kept(with_slot(row("completed", EVENT_ID), LATER)), 103, 202, "pending", published),
        ("booked in an external catalogue", kept(row("completed", EVENT_ID)), 103, 202, "pending", published),
        ("the same slot", kept(row("completed", EVENT_ID)), 100, 422, "same_slot", read),
        ("begun", kept(with_slot(row("completed", EVENT_ID), BEGUN)), 103, 409, "already_started", read),
        ("pending", kept(row("pending", EVENT_ID)), 103, 409, "not_movable", read),
        ("cancelled", kept(row("cancelled", EVENT_ID)), 103, 409, "not_movable", read),
        ("of a later version", kept(row("archived", EVENT_ID)), 103, 409, "not_movable", read),
        ("no such appointment", none, 103, 404, "appointment_not_found", read),
        ("no table", fault, 103, 503, "temporarily_unavailable", &["GetItem"; 3]),
    ];
    for (name, read, to, expected, told, operations) in cases {
        let double = Double::start(&[("GetItem", read.0, read.1)]).await;
        let host = host(&double).await;
        let body = json!({"scheduleId": to}).to_string();
        let (status, headers, shown) = call(&host, Method::POST, &path, &[JSON], &body).await;
        assert_eq!(status.as_u16(), expected, "{name}: {shown}");
        assert_eq!(if status.is_success() { &shown["status"] } else { &shown["code"] }, told, "{name}");
        assert_eq!(double.operations(), operations, "{name}");
        if expected != 202 {
            continue;
        }
        let id = shown["appointmentId"].as_str().unwrap();
        let original = json!({"appointmentId": ID, "scheduleId": 100});
        assert_ne!(id, ID);
        assert_eq!(headers["location"], format!("/appointments/00123/{id}"));
        assert_eq!((&shown["scheduleId"], &shown["replaces"]), (&json!(103), &original));
        let sent = double.sent.lock().unwrap();
        let item = sent[1].json()["Item"].clone();
        let map = json!({"M": {"appointmentId": {"S": ID}, "scheduleId": {"N": "100"}}});
        assert_eq!((&item["replaces"], &item["status"]["S"]), (&map, &json!("pending")));
        assert!(item["pendingShard"]["S"].as_str().unwrap().starts_with("PE#"));
        let (message, form) = sent[2].published();
        assert_eq!((&message["type"], &message["replaces"]), (&json!("appointment.move_requested"), &original));
        assert_eq!((&message["appointmentId"], &message["scheduleId"]), (&json!(id), &json!(103)));
        assert_eq!(form["MessageAttributes.entry.1.Value.StringValue"], "PE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_with_a_key_is_made_once_however_often_it_is_asked_for() {
    let path = format!("/appointments/00123/{ID}/move");
    let kept = |item: Value| (200, json!({"Item": item}).to_string());
    let booked = kept(row("completed", EVENT_ID));
    let moved = kept(row("cancelled", EVENT_ID));
    let refused = |item: Value| {
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let reasons = json!([{"Code": "ConditionalCheckFailed", "Item": item}, {"Code": "None"}]);
        (400, json!({"__type": kind, "CancellationReasons": reasons}).to_string())
    };
    let fine = (200, "{}".to_owned());
    let other = "01890f3e-0000-7000-8000-000000000000";
    let mut expired = key_item(ID, 103);
    expired["expiresAt"] = json!({"N": "1"});
    #[rustfmt::skip]
    type Case<'a> = (&'a str, Vec<Scripted>, Scripted, u16, Option<&'a str>, &'a [&'a str]);
    let cases: Vec<Case> = vec![
        ("new", vec![booked.clone()], fine.clone(), 202, None, &["GetItem", "TransactWriteItems", "Publish"]),
        (
            "replayed",
            vec![booked.clone()],
            refused(key_item(ID, 103)),
            202,
            Some("true"),
            &["GetItem", "TransactWriteItems"],
        ),
        (
            "key of another slot",
            vec![booked.clone()],
            refused(key_item(ID, 104)),
            422,
            None,
            &["GetItem", "TransactWriteItems"],
        ),
        (
            "key of another appointment",
            vec![booked],
            refused(key_item(other, 103)),
            422,
            None,
            &["GetItem", "TransactWriteItems"],
        ),
        (
            "replayed when it is done",
            vec![moved.clone(), kept(key_item(ID, 103))],
            fine.clone(),
            202,
            Some("true"),
            &["GetItem"; 2],
        ),
        (
            "another slot when it is done",
            vec![moved.clone(), kept(key_item(ID, 104))],
            fine.clone(),
            422,
            None,
            &["GetItem"; 2],
        ),
        (
            "a new key when it is done",
            vec![moved.clone(), (200, "{}".to_owned())],
            fine.clone(),
            409,
            None,
            &["GetItem"; 2],
        ),
        ("an old key when it is done", vec![moved, kept(expired)], fine, 409, None, &["GetItem"; 2]),
    ];
    for (name, reads, write, expected, replayed, operations) in cases {
        let reads = reads.into_iter().map(|(status, body)| ("GetItem", status, body));
        let script: Vec<_> = reads.chain([("TransactWriteItems", write.0, write.1)]).collect();
        let double = Double::start(&script).await;
        let host = host(&double).await;
        let (status, headers, shown) = call(&host, Method::POST, &path, &[JSON, KEY], r#"{"scheduleId":103}"#).await;
        assert_eq!(status.as_u16(), expected, "{name}: {shown}");
        assert_eq!(headers.get("idempotency-replayed").map(|value| value.to_str().unwrap()), replayed, "{name}");
        assert_eq!(double.operations(), operations, "{name}");
        if expected == 202 {
            assert_eq!(shown["appointmentId"] == NEW_ID, replayed.is_some(), "{name}");
            assert_eq!(shown["replaces"], json!({"appointmentId": ID, "scheduleId": 100}), "{name}");
        }
        let sent = double.sent.lock().unwrap();
        if let Some(transaction) = sent.iter().find(|sent| sent.operation == "TransactWriteItems") {
            let key = &transaction.json()["TransactItems"][0]["Put"]["Item"];
            assert_eq!(key["operation"]["S"], format!("POST /appointments/00123/{ID}/move"), "{name}");
            assert_eq!(key["replaces"]["M"]["appointmentId"]["S"], ID, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_names_what_is_wrong_with_it() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let path = format!("/appointments/00123/{ID}/move");
    for (path, media_type, body, expected, code, fields) in [
        (&*path, "application/json", "", 400, "empty_body", vec![]),
        (&path, "application/json", "{", 400, "invalid_json", vec![]),
        (&path, "application/json", "[]", 400, "not_an_object", vec![]),
        (&path, "application/json", "{}", 400, "invalid_body", vec!["scheduleId"]),
        (
            &path,
            "application/json",
            r#"{"scheduleId":0,"countryISO":"CL"}"#,
            400,
            "invalid_body",
            vec!["scheduleId", "countryISO"],
        ),
        (&path, "text/plain", r#"{"scheduleId":7}"#, 415, "unsupported_media_type", vec![]),
        (
            "/appointments/1/2/move",
            "application/json",
            r#"{"scheduleId":7}"#,
            400,
            "invalid_parameter",
            vec!["insuredId", "appointmentId"],
        ),
    ] {
        let headers = [("content-type", media_type)];
        let (status, _, problem) = call(&host, Method::POST, path, &headers, body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (expected, Some(code)), "{body}");
        let named: Vec<_> =
            problem["errors"].as_array().into_iter().flatten().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{body}");
    }
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_cannot_be_cancelled() {
    let (status, body) = condition_failed(Some(with_slot(row("completed", EVENT_ID), BEGUN)));
    let double = Double::start(&[("UpdateItem", status, body)]).await;
    let host = host(&double).await;
    let path = format!("/appointments/00123/{ID}");
    let (status, _, problem) = call(&host, Method::DELETE, &path, &[], "").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some(ProblemCode::AlreadyStarted.as_str())));
    assert_eq!(double.operations(), ["UpdateItem"]);
    let condition = double.sent.lock().unwrap()[0].json()["ConditionExpression"].clone();
    assert!(condition.as_str().unwrap().ends_with("AND (attribute_not_exists(slot) OR slot.startsAt > :now)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_says_when_and_where_and_what_took_its_place() {
    let mut moved = with_slot(row("cancelled", EVENT_ID), LATER);
    moved["reason"] = json!({"S": Reason::Moved.as_str()});
    moved["replacedBy"] = json!({"S": NEW_ID});
    moved["replaces"] = json!({"M": {"appointmentId": {"S": NEW_ID}, "scheduleId": {"N": "99"}}});
    let script =
        [("GetItem", 200, json!({"Item": moved}).to_string()), ("Query", 200, json!({"Items": [moved]}).to_string())];
    let (_, _, one, _) = get(&script, &format!("/appointments/00123/{ID}")).await;
    let (_, _, list, double) = get(&script, "/appointments/00123").await;
    let query = double.sent.lock().unwrap()[0].json();
    let projection: Vec<_> = query["ProjectionExpression"].as_str().unwrap().split(", ").collect();
    // A list reads every field that a single appointment has; two of them have other names in the table.
    let fields = one.as_object().unwrap().keys().filter(|name| !["message", "history"].contains(&name.as_str()));
    for field in fields {
        let attribute = match field.as_str() {
            "appointmentId" => "sk",
            "status" => "#status",
            other => other,
        };
        assert!(projection.contains(&attribute), "a list leaves out {field}");
    }
    for shown in [&one, &list["appointments"][0]] {
        assert_eq!(shown["slot"]["start"], "2090-03-01T09:00:00-05:00", "{shown}");
        assert_eq!((&shown["slot"]["center"], &shown["slot"]["scheduleId"]), (&json!("Lima Centro"), &json!(100)));
        assert_eq!((shown["reason"].as_str(), shown["replacedBy"].as_str()), (Some("moved"), Some(NEW_ID)));
        assert_eq!(shown["replaces"], json!({"appointmentId": NEW_ID, "scheduleId": 99}));
        assert_eq!(shown["message"], "Su cita fue reprogramada: la reemplaza otra de su lista.");
    }
}

/// An outcome with the slot's state after it.
fn outcome(detail_type: &str, more: &Value) -> String {
    let mut event: Value = serde_json::from_str(&completed()).unwrap();
    event["detail-type"] = json!(detail_type);
    let mut state = slot(100, "PE", LATER, "-05:00");
    state["version"] = json!(5);
    state["status"] = json!("busy");
    event["detail"]["slot"] = state;
    for (name, value) in more.as_object().unwrap() {
        event["detail"][name] = value.clone();
    }
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_kept_with_its_slot_and_the_slot_is_projected() {
    let applied = |row: Value| (200, json!({"Attributes": row}).to_string());
    let fine = (200, "{}".to_owned());
    let fault = (500, r#"{"__type":"InternalServerError"}"#.to_owned());
    let other = "00000000-0000-5000-8000-000000000000";
    let booked = outcome("AppointmentCompleted", &json!({}));
    let cancelled = json!({"reason": "moved", "replacedBy": NEW_ID, "command": "appointment.cancellation_requested"});
    let cancelled = outcome("AppointmentCancelled", &cancelled);
    let mut moved_row = row("cancelled", EVENT_ID);
    moved_row["replacedBy"] = json!({"S": NEW_ID});
    let (both, alone): (&[&str], &[&str]) = (&["UpdateItem", "PutEvents", "PutItem"], &["UpdateItem", "PutItem"]);
    #[rustfmt::skip]
    type Case<'a> = (&'a str, &'a str, Scripted, Scripted, bool, &'a [&'a str]);
    let cases: Vec<Case> = vec![
        ("booked", &booked, applied(row("completed", EVENT_ID)), fine.clone(), true, both),
        ("moved away", &cancelled, applied(moved_row), fine.clone(), true, both),
        ("a later state is there", &booked, applied(row("completed", EVENT_ID)), condition_failed(None), true, both),
        ("overtaken", &booked, condition_failed(Some(row("cancelling", other))), fine, true, alone),
        (
            "no table of slots",
            &booked,
            applied(row("completed", EVENT_ID)),
            fault,
            false,
            &["UpdateItem", "PutEvents", "PutItem", "PutItem", "PutItem"],
        ),
    ];
    for (name, body, update, put, done, operations) in cases {
        let double = Double::start(&[("UpdateItem", update.0, update.1), ("PutItem", put.0, put.1)]).await;
        let confirmation = Confirmation::over(&double).await;
        assert_eq!(confirmation.deliver(body).await, done, "{name}");
        let mut called = double.operations();
        // The announcement and the projection are made side by side.
        called[1..].sort_unstable_by_key(|operation| operation != "PutEvents");
        assert_eq!(called, operations, "{name}");
        let sent = double.sent.lock().unwrap();
        let update = sent[0].json();
        let expression = update["UpdateExpression"].as_str().unwrap();
        assert!(expression.contains(", slot = :slot"), "{expression}");
        assert_eq!(update["ExpressionAttributeValues"][":slot"]["M"]["startsAt"]["S"], LATER, "{name}");
        let put = sent.iter().find(|sent| sent.operation == "PutItem").unwrap().json();
        assert_eq!((&put["TableName"], &put["Item"]["slotKey"]["S"]), (&json!("slots"), &json!("PE#100")), "{name}");
        assert_eq!(put["ConditionExpression"], "attribute_not_exists(slotKey) OR version < :version");
        assert!(put["Item"].get("freeSpecialty").is_none(), "who is busy is in no index");
        let announced = sent.iter().find(|sent| sent.operation == "PutEvents").map(|sent| sent.json());
        let detail = announced
            .map(|event| -> Value { serde_json::from_str(event["Entries"][0]["Detail"].as_str().unwrap()).unwrap() });
        if name == "moved away" {
            assert!(expression.contains("replacedBy = :replaced_by, reason = :reason"), "{expression}");
            assert_eq!(detail.unwrap()["replacedBy"], NEW_ID);
        }
        for line in &*confirmation.lines.lock().unwrap() {
            assert!(!line.contains("Quispe"), "a practitioner is a person: {line}");
        }
    }
}

/// A country's event about slots without a command.
fn slots_changed(states: &[Value]) -> Value {
    json!({
        "source": "appointments.worker.PE", "detail-type": "SlotsChanged",
        "detail": {
            "version": 1, "eventId": EVENT_ID, "countryISO": "PE", "slots": states, "occurredAt": "2026-11-24T09:30:00.000Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    })
}

fn state(number: u64, status: &str) -> Value {
    let mut state = slot(number, "PE", LATER, "-05:00");
    state["version"] = json!(1_u64 << 40 | number);
    state["status"] = json!(status);
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_country_tells_of_its_slots_is_kept() {
    let states: Vec<Value> = (1..=25).map(|number| state(number, if number == 9 { "busy" } else { "free" })).collect();
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::over(&double).await;
    assert!(confirmation.deliver(&slots_changed(&states).to_string()).await);
    assert_eq!(double.operations(), ["PutItem"; 25]);
    for sent in &*double.sent.lock().unwrap() {
        let item = sent.json()["Item"].clone();
        let number: u64 = item["scheduleId"]["N"].as_str().unwrap().parse().unwrap();
        assert_eq!(item["version"]["N"], (1_u64 << 40 | number).to_string());
        assert_eq!(item["expiresAt"]["N"], "3799836000", "90 days after the end");
        let keys = ["startsKey", "freeSpecialty", "freeCenter", "freePractitioner"].map(|key| item[key]["S"].as_str());
        if number == 9 {
            assert_eq!(keys, [None; 4]);
            continue;
        }
        let starts = format!("{LATER}#{number:016}");
        let expected =
            [&*starts, "PE#Cardiología", "PE#Cardiología#Lima Centro", "PE#Cardiología#Dra. Ana Quispe"].map(Some);
        assert_eq!(keys, expected);
    }

    let catalogue = json!({
        "source": "appointments.worker.PE", "detail-type": "CatalogueChanged",
        "detail": {
            "version": 1, "eventId": EVENT_ID, "countryISO": "PE", "catalogueVersion": 7, "specialties": ["Cardiología"],
            "centers": ["Lima Centro"],
            "practitioners": [{"name": "Dra. Ana", "specialty": "Cardiología", "center": "Lima Centro"}],
            "occurredAt": "2026-11-24T09:30:00.000Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    });
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::over(&double).await;
    assert!(confirmation.deliver(&catalogue.to_string()).await);
    let put = double.sent.lock().unwrap()[0].json();
    assert_eq!((&put["Item"]["slotKey"]["S"], &put["Item"]["version"]["N"]), (&json!("PE#catalogue"), &json!("7")));
    assert_eq!(put["Item"]["practitioners"]["L"][0]["M"]["name"]["S"], "Dra. Ana");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_slots_nothing_is_lost_and_nothing_foreign_is_taken() {
    let fault = ("PutItem", 500, r#"{"__type":"InternalServerError"}"#.to_owned());
    let double = Double::start(&[("PutItem", 200, "{}".to_owned()), fault]).await;
    let confirmation = Confirmation::over(&double).await;
    let two = slots_changed(&[state(1, "free"), state(2, "free")]);
    assert!(!confirmation.deliver(&two.to_string()).await, "one of two is not kept");
    let double = Double::start(&[("PutItem", condition_failed(None).0, condition_failed(None).1)]).await;
    let confirmation = Confirmation::over(&double).await;
    assert!(confirmation.deliver(&two.to_string()).await, "later states are there");

    let mut of_chile = state(2, "free");
    of_chile["countryISO"] = json!("CL");
    let too_many: Vec<Value> = (1..=26).map(|number| state(number, "free")).collect();
    let mut foreign = slots_changed(&[state(1, "free")]);
    foreign["source"] = json!("appointments.worker.CL");
    let mut later = slots_changed(&[state(1, "free")]);
    later["detail"]["version"] = json!(2);
    let mut other_slot: Value = serde_json::from_str(&outcome("AppointmentCompleted", &json!({}))).unwrap();
    other_slot["detail"]["slot"]["scheduleId"] = json!(101);
    let double = Double::start(&[]).await;
    let confirmation = Confirmation::over(&double).await;
    let poison = [slots_changed(&[of_chile]), slots_changed(&too_many), foreign, later, other_slot];
    for body in &poison {
        assert!(!confirmation.deliver(&body.to_string()).await, "{body}");
    }
    assert!(double.operations().is_empty());
    let lines = confirmation.lines.lock().unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("message cannot be taken")).count(), poison.len());
    assert!(lines.iter().all(|line| !line.contains("Quispe")), "a practitioner is a person");
}
