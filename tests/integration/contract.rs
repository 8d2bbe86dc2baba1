//! The HTTP contract of `intake`, on the component as it is shipped, against a double of AWS that records what it sends.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::components::{self, BOOKING, Double, EVENT_ID, ID, JSON, OWN_ID, Scripted, condition_failed, host, row};
use crate::openapi::check_promised;
use crate::served::Served;

/// The name of a parameter at fault, and the code of its fault.
type Fault<'a> = (&'a str, &'a str);

const KEY: (&str, &str) = ("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9324");

/// The path of the appointment [`ID`].
fn appointment_path() -> String {
    format!("/appointments/00123/{ID}")
}

/// Calls a component with a scripted AWS, and checks what holds for every response.
async fn ask(
    script: &[(&str, u16, String)],
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value, Double) {
    let double = Double::start(script).await;
    let host = host(&double).await;
    let (status, headers, body) = call(&host, method, path, headers, body).await;
    (status, headers, body, double)
}

/// Calls, and checks that `docs/openapi.yaml` describes the response.
pub(crate) async fn promised(
    host: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    let (status, headers, body) = components::call(host, method.clone(), path, headers, body).await;
    check_promised(&method, path, status.as_u16(), body["code"].as_str());
    assert_eq!(headers["x-content-type-options"], "nosniff", "{status}");
    (status, headers, body)
}

/// As [`promised`], and checks the headers of every response that nobody may keep.
pub(crate) async fn call(
    host: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    let (status, headers, body) = promised(host, method, path, headers, body).await;
    holds_for_every_response(status, &headers, &body);
    (status, headers, body)
}

fn holds_for_every_response(status: StatusCode, headers: &HeaderMap, body: &Value) {
    let varies = if headers.contains_key("content-language") { "accept-language, origin" } else { "origin" };
    assert_eq!(headers["vary"], varies, "{status}");
    if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) {
        assert!(!headers.contains_key("content-length"), "{status}");
        return;
    }
    assert!(headers.contains_key("content-length"), "head and body leave in one write");
    assert_eq!(headers["cache-control"], "no-store", "{status} {body}");
    if status.is_success() {
        assert_eq!(headers["content-type"], "application/json");
    } else {
        assert_eq!(headers["content-type"], "application/problem+json");
        let language = headers["content-language"].to_str().unwrap();
        assert!(["es", "es-CL", "en"].contains(&language));
        if body.is_null() {
            return;
        }
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["type"], format!("urn:medical-appointments:problem:{}", body["code"].as_str().unwrap()));
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        let id = body["instance"].as_str().unwrap().strip_prefix("urn:medical-appointments:request:").unwrap();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_resource_tells_its_methods_and_refuses_the_others() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    for (path, allow) in [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/appointments", "POST, OPTIONS"),
        ("/appointment", "POST, OPTIONS"),
        ("/appointments/00123", "GET, HEAD, OPTIONS"),
        ("/appointment/00123", "GET, HEAD, OPTIONS"),
        (&appointment_path(), "GET, HEAD, DELETE, OPTIONS"),
        (&format!("/appointment/00123/{ID}"), "GET, HEAD, DELETE, OPTIONS"),
        (&format!("/appointments/00123/{ID}/move"), "POST, OPTIONS"),
        (&format!("/appointment/00123/{ID}/move"), "POST, OPTIONS"),
        ("/slots", "GET, HEAD, OPTIONS"),
        ("/slots/PE/100", "GET, HEAD, OPTIONS"),
        ("/catalog/PE", "GET, HEAD, OPTIONS"),
    ] {
        let (status, headers, body) = call(&host, Method::OPTIONS, path, &[], "").await;
        assert_eq!((status, &body), (StatusCode::NO_CONTENT, &Value::Null), "{path}");
        assert_eq!(headers["allow"], allow, "{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let (status, headers, problem) = call(&host, method.clone(), path, &[JSON], BOOKING).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(headers["allow"], allow, "{method} {path}");
            if method != Method::HEAD {
                assert_eq!(problem["code"], "method_not_allowed", "{method} {path}");
            }
        }
    }
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_names_nothing_is_not_found_and_one_with_bad_identifiers_names_them() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let upper_case = format!("/appointments/00123/{}", ID.to_uppercase());
    let cases: &[(Method, &str, u16, &str, &[&str])] = &[
        (Method::GET, "/", 404, "not_found", &[]),
        (Method::POST, "/appointmentsx", 404, "not_found", &[]),
        (Method::GET, "/health/", 404, "not_found", &[]),
        (Method::GET, "/internal", 404, "not_found", &[]),
        (Method::GET, "/appointments/", 404, "not_found", &[]),
        (Method::GET, "/appointments//", 404, "not_found", &[]),
        (Method::GET, "/appointments/00123/", 404, "not_found", &[]),
        (Method::GET, "/appointments/00123/x/y", 404, "not_found", &[]),
        (Method::DELETE, "/appointment/00123//", 404, "not_found", &[]),
        (Method::POST, "/appointments/00123//move", 404, "not_found", &[]),
        (Method::POST, "/appointments/00123/x/move/", 404, "not_found", &[]),
        (Method::GET, "/slots/PE", 404, "not_found", &[]),
        (Method::GET, "/slots/PE/1/2", 404, "not_found", &[]),
        (Method::GET, "/catalog", 404, "not_found", &[]),
        (Method::GET, "/appointments/1234", 400, "invalid_parameter", &["insuredId"]),
        (Method::GET, "/appointments/%30%30123", 400, "invalid_parameter", &["insuredId"]),
        (Method::GET, "/appointments/00123/1", 400, "invalid_parameter", &["appointmentId"]),
        (Method::GET, &upper_case, 400, "invalid_parameter", &["appointmentId"]),
        (Method::DELETE, "/appointment/1/2", 400, "invalid_parameter", &["insuredId", "appointmentId"]),
    ];
    for (method, path, expected, code, fields) in cases {
        let (status, _, problem) = call(&host, method.clone(), path, &[], "").await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (*expected, Some(*code)), "{path}: {problem}");
        assert_eq!(fields_of(&problem), *fields, "{path}");
    }
    assert!(double.operations().is_empty());
}

fn fields_of(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().into_iter().flatten().map(|error| error["field"].as_str().unwrap()).collect()
}

/// An `Accept-Language`, and the language that it prefers (RFC 9110, section 12.5.4).
#[tokio::test(flavor = "multi_thread")]
async fn texts_are_in_spanish_unless_english_is_preferred() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    for (accepted, language) in [
        (None, "es"),
        (Some(""), "es"),
        (Some("es-PE,es;q=0.9,en;q=0.8"), "es"),
        (Some("en"), "en"),
        (Some("en-GB, es;q=0.5"), "en"),
        (Some("EN;Q=0.9,es;q=0.8"), "en"),
        (Some("de, en;q=0.5, *;q=0.1"), "en"),
        (Some("es-CL,es;q=0.9,en;q=0.8"), "es-CL"),
        (Some("de, ES-cl;q=0.5, en;q=0.4"), "es-CL"),
        (Some("es-PE,es-CL;q=0.9"), "es"),
        (Some("es,es-CL"), "es"),
        (Some("es-CL;q=0"), "es"),
        (Some("en,es-CL;q=0.9"), "en"),
        (Some("*"), "es"),
        (Some("en;q=0, *"), "es"),
        (Some("en;q=no"), "es"),
    ] {
        let headers: Vec<_> =
            accepted.map(|accepted| ("accept-language", accepted)).into_iter().chain([JSON]).collect();
        let (_, response_headers, booked) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
        assert_eq!(response_headers["content-language"], language, "{accepted:?}");
        let (_, response_headers, problem) = call(&host, Method::GET, "/appointments/1", &headers, "").await;
        assert_eq!(response_headers["content-language"], language, "{accepted:?}");
        let texts = (booked["message"].as_str().unwrap(), problem["title"].as_str().unwrap());
        let expected = match language {
            "es" => ("Estamos procesando su cita.", "Un parámetro no es válido"),
            "es-CL" => ("Estamos procesando su hora.", "Un parámetro no es válido"),
            _ => ("We are processing your appointment.", "A parameter is not valid"),
        };
        assert_eq!(texts, expected, "{accepted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_taken_up_to_its_limit_and_in_every_form_of_its_media_type() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let of_length = |length: usize| format!("{BOOKING}{}", " ".repeat(length - BOOKING.len()));
    for (media_type, body, expected) in [
        ("application/json", of_length(4096), 202),
        ("application/json", of_length(4097), 413),
        ("application/json", of_length(100_000), 413),
        ("application/json; charset=utf-8", BOOKING.to_owned(), 202),
        ("Application/JSON ;charset=UTF-8", BOOKING.to_owned(), 202),
        ("application/jsonp", BOOKING.to_owned(), 415),
        ("application/x-www-form-urlencoded", BOOKING.to_owned(), 415),
    ] {
        let headers = [("content-type", media_type)];
        let (status, _, body) = call(&host, Method::POST, "/appointment", &headers, &body).await;
        assert_eq!(status.as_u16(), expected, "{media_type}: {body}");
    }
    let (status, _, problem) = call(&host, Method::POST, "/appointments", &[], BOOKING).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (415, Some("unsupported_media_type")), "no media type");
}

/// A row as a list shows it.
fn listed(number: u8) -> Value {
    let mut row = row("completed", EVENT_ID);
    row["sk"]["S"] = json!(format!("appointment#01890f3e-6b7c-7cc2-98c4-dc0c0c0739{number:02x}"));
    row
}

fn page(rows: &[Value], last: Option<u8>) -> (&'static str, u16, String) {
    let mut body = json!({"Items": rows, "Count": rows.len()});
    if let Some(number) = last {
        let row = listed(number);
        body["LastEvaluatedKey"] = json!({"insuredId": row["insuredId"], "sk": row["sk"]});
    }
    ("Query", 200, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_one_consistent_read_of_a_page_newest_first() {
    let script = [page(&[listed(9), listed(8)], Some(8))];
    let (status, _, list, double) = ask(&script, Method::GET, "/appointments/00123?limit=2", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((list["insuredId"].as_str(), list["pagination"]["limit"].as_u64()), (Some("00123"), Some(2)));
    let shown = &list["appointments"][0];
    let expected = json!({
        "appointmentId": "01890f3e-6b7c-7cc2-98c4-dc0c0c073909", "insuredId": "00123", "scheduleId": 100, "countryISO": "PE",
        "status": "completed", "createdAt": "2026-11-24T09:29:59.000Z", "updatedAt": "2026-11-24T09:30:00.000Z",
        "message": "Su cita está confirmada.",
    });
    assert_eq!(*shown, expected);
    let cursor = list["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(double.operations(), ["Query"]);
    let query = double.sent.lock().unwrap()[0].json();
    assert_eq!(
        (&query["Limit"], &query["ScanIndexForward"], &query["ConsistentRead"]),
        (&json!(2), &json!(false), &json!(true))
    );
    assert_eq!(query["KeyConditionExpression"], "insuredId = :insured AND begins_with(sk, :appointments)");
    assert_eq!(query["ExclusiveStartKey"], Value::Null);

    let next = format!("/appointment/00123?cursor={cursor}");
    let (status, _, list, double) = ask(&[page(&[], None)], Method::GET, &next, &[], "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        list,
        json!({"insuredId": "00123", "appointments": [], "pagination": {"limit": 20, "nextCursor": null}})
    );
    let query = double.sent.lock().unwrap()[0].json();
    assert_eq!(query["ExclusiveStartKey"], json!({"insuredId": {"S": "00123"}, "sk": listed(8)["sk"]}));

    // The partition comes from the path: another person's cursor shows nothing of that person.
    let other = format!("/appointments/00124?cursor={cursor}");
    let (_, _, _, double) = ask(&[page(&[], None)], Method::GET, &other, &[], "").await;
    let query = double.sent.lock().unwrap()[0].json();
    assert_eq!(query["ExclusiveStartKey"]["insuredId"]["S"], "00124");

    let filtered = format!("/appointments/00123?cursor={cursor}&status=pending");
    let (status, _, problem, double) = ask(&[], Method::GET, &filtered, &[], "").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some("invalid_cursor")), "another list's cursor");
    assert!(double.operations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_reads_at_most_four_pages_and_goes_on_where_it_ended() {
    let one_each = [page(&[listed(9)], Some(8)), page(&[], Some(6)), page(&[listed(5)], Some(4)), page(&[], Some(2))];
    let path = "/appointments/00123?limit=3&status=completed";
    let (status, _, list, double) = ask(&one_each, Method::GET, path, &[], "").await;
    assert_eq!((status, list["appointments"].as_array().unwrap().len()), (StatusCode::OK, 2));
    assert_eq!(double.operations(), ["Query"; 4]);
    {
        let sent = double.sent.lock().unwrap();
        let queries: Vec<Value> = sent.iter().map(components::Sent::json).collect();
        assert!(queries.iter().all(|query| query["FilterExpression"] == "#status = :status"));
        assert!(queries.iter().all(|query| query["ExpressionAttributeValues"][":status"]["S"] == "completed"));
        let limits: Vec<u64> = queries.iter().map(|query| query["Limit"].as_u64().unwrap()).collect();
        assert_eq!(limits, [3, 2, 2, 1], "never more than the page still wants");
        assert_eq!(queries[3]["ExclusiveStartKey"]["sk"], listed(4)["sk"]);
    }
    let cursor = list["pagination"]["nextCursor"].as_str().unwrap();
    let next = format!("/appointments/00123?status=completed&cursor={cursor}");
    let (status, _, list, double) = ask(&[page(&[], None)], Method::GET, &next, &[], "").await;
    assert_eq!((status, &list["pagination"]["nextCursor"]), (StatusCode::OK, &Value::Null));
    assert_eq!(double.sent.lock().unwrap()[0].json()["ExclusiveStartKey"]["sk"], listed(2)["sk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_names_every_parameter_at_fault_and_reads_nothing() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let version_2 = "AgABiQ8-a3x8wpjE3AwMBzmP";
    let cases: &[(&str, &str, &[Fault])] = &[
        ("limit=0", "invalid_parameter", &[("limit", "out_of_range")]),
        ("limit=101", "invalid_parameter", &[("limit", "out_of_range")]),
        ("limit=99999999999999999999", "invalid_parameter", &[("limit", "out_of_range")]),
        ("limit=", "invalid_parameter", &[("limit", "invalid_type")]),
        ("limit=%2B5", "invalid_parameter", &[("limit", "invalid_type")]),
        ("limit=1.0", "invalid_parameter", &[("limit", "invalid_type")]),
        ("status=PENDING", "invalid_parameter", &[("status", "unsupported_value")]),
        ("limit=1&limit=2", "invalid_parameter", &[("limit", "duplicate_field")]),
        (&"x=1&".repeat(16)[..63], "invalid_parameter", &[("x", "unknown_field"); 16]),
        ("state=pending", "invalid_parameter", &[("state", "unknown_field")]),
        (
            "limit=x&status=&page=2&cursor=!",
            "invalid_parameter",
            &[("limit", "invalid_type"), ("status", "unsupported_value"), ("page", "unknown_field")],
        ),
        ("cursor=", "invalid_cursor", &[]),
        ("cursor=AQABiQ8", "invalid_cursor", &[]),
        ("cursor=AQABiQ8-a3x8wpjE3AwMBzmP%3D", "invalid_cursor", &[]),
        ("cursor=AQABiQ8-a3x8wpjE3AwMBzmPAA", "invalid_cursor", &[]),
        ("cursor=AQcBiQ8-a3x8wpjE3AwMBzmP", "invalid_cursor", &[]),
        (&format!("cursor={version_2}"), "invalid_cursor", &[]),
        ("cursor=%FF%00", "invalid_cursor", &[]),
    ];
    for (query, code, faults) in cases {
        let (status, _, problem) = call(&host, Method::GET, &format!("/appointments/00123?{query}"), &[], "").await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some(*code)), "{query}: {problem}");
        let named: Vec<_> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| (error["field"].as_str().unwrap(), error["code"].as_str().unwrap()))
            .collect();
        assert_eq!(named, *faults, "{query}");
    }
    assert!(double.operations().is_empty());
    for query in ["x=1&".repeat(17)[..67].to_owned(), "&".repeat(17), format!("cursor={}", "A".repeat(1018))] {
        let (status, _, problem) = call(&host, Method::GET, &format!("/appointments/00123?{query}"), &[], "").await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (414, Some("query_too_long")), "{query}");
    }
    // The same cursor in version 1 is valid: the one above fails because of its version.
    let path = format!("/appointments/00123?cursor={}", version_2.replacen("Ag", "AQ", 1));
    assert_eq!(call(&host, Method::GET, &path, &[], "").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_appointment_is_shown_with_its_history() {
    let mut kept = row("rejected", EVENT_ID);
    kept["reason"] = json!({"S": "slot_taken"});
    kept["history"] = json!({"L": [
        {"M": {"status": {"S": "pending"}, "at": {"S": "2026-11-24T09:29:59.000Z"}}},
        {"M": {"status": {"S": "rejected"}, "at": {"S": "2026-11-24T09:30:00.000Z"}, "reason": {"S": "slot_taken"}}},
    ]});
    let fault = r#"{"__type":"InternalServerError"}"#.to_owned();
    let cases: [(Scripted, u16, Option<&str>, usize); 4] = [
        ((200, json!({"Item": kept}).to_string()), 200, None, 1),
        ((200, "{}".to_owned()), 404, Some("appointment_not_found"), 1),
        ((500, fault), 503, Some("temporarily_unavailable"), 3),
        ((200, json!({"Item": {"sk": {"S": "other"}}}).to_string()), 500, Some("internal"), 1),
    ];
    for ((response, body), expected, code, calls) in cases {
        let script = [("GetItem", response, body)];
        let (status, headers, shown, double) = ask(&script, Method::GET, &appointment_path(), &[], "").await;
        assert_eq!((status.as_u16(), shown["code"].as_str()), (expected, code), "{shown}");
        assert_eq!(double.operations(), vec!["GetItem"; calls]);
        assert_eq!(double.sent.lock().unwrap()[0].json()["ConsistentRead"], true, "a Location works at once");
        assert_eq!(headers.contains_key("retry-after"), expected == 503);
        if expected == 200 {
            assert_eq!((shown["appointmentId"].as_str(), shown["reason"].as_str()), (Some(ID), Some("slot_taken")));
            let history = json!([
                {"status": "pending", "at": "2026-11-24T09:29:59.000Z"},
                {"status": "rejected", "at": "2026-11-24T09:30:00.000Z", "reason": "slot_taken"},
            ]);
            assert_eq!(shown["history"], history);
            for internal in ["traceparent", "lastEventId", "pendingAttempt"] {
                assert!(shown.get(internal).is_none(), "{internal} does not concern the person");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let double = Double::start(&[("GetItem", 200, json!({"Item": row("completed", EVENT_ID)}).to_string())]).await;
    let host = host(&double).await;
    for path in ["/health", "/appointments/00123", &appointment_path(), "/appointments/1"] {
        let (status, mut headers, _) = call(&host, Method::GET, path, &[], "").await;
        let (head_status, mut head_headers, body) = call(&host, Method::HEAD, path, &[], "").await;
        headers.remove("date");
        head_headers.remove("date");
        assert_eq!((head_status, head_headers, body), (status, headers, Value::Null), "{path}");
    }
}

/// A case's name, the table's responses to `UpdateItem`, the status of the component's response, its state or problem, and the calls.
type Cancellation<'a> = (&'a str, Vec<Scripted>, u16, &'a str, &'a [&'a str]);

/// The response to `DELETE` in a state, and the calls that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_one_conditional_write_and_one_publication() {
    let moved = (200, json!({"Attributes": row("cancelling", EVENT_ID)}).to_string());
    let fault = (500, r#"{"__type":"InternalServerError"}"#.to_owned());
    let stays = |status: &str| condition_failed(Some(row(status, EVENT_ID)));
    let once: &[&str] = &["UpdateItem"];
    let published: &[&str] = &["UpdateItem", "Publish"];
    let cases: Vec<Cancellation> = vec![
        ("pending, failed or completed", vec![moved.clone()], 202, "cancelling", published),
        ("cancelling", vec![stays("cancelling")], 202, "cancelling", once),
        ("cancelled", vec![stays("cancelled")], 200, "cancelled", once),
        ("rejected", vec![stays("rejected")], 409, "not_cancellable", once),
        ("no such appointment", vec![condition_failed(None)], 404, "appointment_not_found", once),
        ("no table", vec![fault.clone()], 503, "temporarily_unavailable", &["UpdateItem"; 3]),
        // Our own first try may have written it, and then the country has not been told.
        (
            "response lost",
            vec![(0, String::new()), stays("cancelling")],
            202,
            "cancelling",
            &["UpdateItem", "UpdateItem", "Publish"],
        ),
    ];
    for (name, updates, expected, told, operations) in cases {
        let script: Vec<_> = updates.into_iter().map(|(status, body)| ("UpdateItem", status, body)).collect();
        let (status, headers, response, double) = ask(&script, Method::DELETE, &appointment_path(), &[], "").await;
        assert_eq!(status.as_u16(), expected, "{name}: {response}");
        let tells = if status.is_success() { &response["status"] } else { &response["code"] };
        assert_eq!(tells, told, "{name}");
        assert_eq!(double.operations(), operations, "{name}");
        assert_eq!(headers.contains_key("retry-after"), [202, 503].contains(&expected), "{name}");
        if expected == 202 {
            assert_eq!(response["message"], "Estamos cancelando su cita.", "{name}");
        }
        if expected == 200 {
            assert_eq!(
                (&response["appointmentId"], &response["message"]),
                (&json!(ID), &json!("Su cita fue cancelada."))
            );
        }
        let sent = double.sent.lock().unwrap();
        let update = sent[0].json();
        assert_eq!(update["Key"], json!({"insuredId": {"S": "00123"}, "sk": {"S": format!("appointment#{ID}")}}));
        assert_eq!(update["ReturnValuesOnConditionCheckFailure"], "ALL_OLD", "nothing need be read");
        assert!(update["UpdateExpression"].as_str().unwrap().contains("pendingShard = #shard"), "{name}");
        if let Some(publication) = sent.iter().find(|sent| sent.operation == "Publish") {
            let (message, form) = publication.published();
            assert_eq!(message["type"], "appointment.cancellation_requested");
            assert_eq!((&message["appointmentId"], &message["scheduleId"]), (&json!(ID), &json!(100)));
            assert_eq!(form["MessageAttributes.entry.1.Value.StringValue"], "PE");
        }
    }
    let script = [("UpdateItem", moved.0, moved.1), ("Publish", 500, String::new())];
    let (status, _, _, double) = ask(&script, Method::DELETE, &appointment_path(), &[], "").await;
    assert_eq!(status, StatusCode::ACCEPTED, "the row is in the index, from which it is republished");
    // The last write makes it due at once.
    assert_eq!(double.operations(), ["UpdateItem", "Publish", "Publish", "Publish", "UpdateItem"]);
}

/// DynamoDB's response if a transaction is cancelled because of its first item.
fn cancelled(code: &str, item: Option<Value>) -> Scripted {
    let mut reason = json!({"Code": code});
    if let Some(item) = item {
        reason["Item"] = item;
    }
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    (400, json!({"__type": kind, "CancellationReasons": [reason, {"Code": "None"}]}).to_string())
}

/// The item of an idempotency key, for an appointment of this id and slot.
fn key_item(id: &str, slot: u64) -> Value {
    json!({
        "insuredId": {"S": "00123"}, "sk": {"S": format!("idempotency#{}", KEY.1)}, "appointmentId": {"S": id},
        "scheduleId": {"N": slot.to_string()}, "countryISO": {"S": "PE"}, "createdAt": {"S": "2026-11-24T09:29:59.000Z"},
        "expiresAt": {"N": "1795685399"},
    })
}

/// A case's name, the table's responses to `TransactWriteItems`, the status of the component's response, its
/// `Idempotency-Replayed`, how many transactions are tried, and whether the booking is published.
type Keyed<'a> = (&'a str, Vec<Scripted>, u16, Option<&'a str>, usize, bool);

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_with_a_key_is_one_transaction_and_its_replay_costs_no_second_read() {
    let fine = (200, "{}".to_owned());
    let own = || cancelled("ConditionalCheckFailed", Some(key_item(OWN_ID, 100)));
    let conflict = || cancelled("TransactionConflict", None);
    let in_progress = (400, r#"{"__type":"TransactionInProgressException"}"#.to_owned());
    let lost = (0, String::new());
    let mut other_operation = key_item(ID, 100);
    other_operation["operation"] = json!({"S": format!("POST /appointments/00123/{ID}/move")});
    let cases: Vec<Keyed> = vec![
        ("new", vec![fine.clone()], 202, None, 1, true),
        ("replayed", vec![cancelled("ConditionalCheckFailed", Some(key_item(ID, 100)))], 202, Some("true"), 1, false),
        ("another slot", vec![cancelled("ConditionalCheckFailed", Some(key_item(ID, 101)))], 422, None, 1, false),
        ("another operation", vec![cancelled("ConditionalCheckFailed", Some(other_operation))], 422, None, 1, false),
        ("two at once, and we are first", vec![conflict(), fine.clone()], 202, None, 2, true),
        (
            "two at once, and the other is first",
            vec![conflict(), cancelled("ConditionalCheckFailed", Some(key_item(ID, 100)))],
            202,
            Some("true"),
            2,
            false,
        ),
        ("our own is under way", vec![lost.clone(), in_progress, fine], 202, None, 3, true),
        ("the response is lost after the write", vec![lost, own()], 202, None, 2, true),
        ("conflicts without end", vec![conflict()], 503, None, 3, false),
    ];
    for (name, scripted, expected, replayed, transactions, published) in cases {
        let script: Vec<_> = scripted.into_iter().map(|(status, body)| ("TransactWriteItems", status, body)).collect();
        let (status, headers, response, double) =
            ask(&script, Method::POST, "/appointments", &[JSON, KEY], BOOKING).await;
        assert_eq!(status.as_u16(), expected, "{name}: {response}");
        assert_eq!(headers.get("idempotency-replayed").map(|value| value.to_str().unwrap()), replayed, "{name}");
        let operations = [vec!["TransactWriteItems"; transactions], vec!["Publish"; usize::from(published)]].concat();
        assert_eq!(double.operations(), operations, "{name}");
        if expected == 202 {
            let id = response["appointmentId"].as_str().unwrap();
            assert_eq!(headers["location"], format!("/appointments/00123/{id}"), "{name}");
            assert_eq!((response["status"].as_str(), id == ID), (Some("pending"), replayed.is_some()), "{name}");
        }
        let sent = double.sent.lock().unwrap();
        let transaction = sent[0].json();
        let [key, row] = transaction["TransactItems"].as_array().unwrap().as_slice() else { panic!("{transaction}") };
        assert_eq!(key["Put"]["Item"]["sk"]["S"], format!("idempotency#{}", KEY.1));
        assert_eq!(key["Put"]["Item"]["operation"]["S"], "POST /appointments");
        assert_eq!(key["Put"]["ConditionExpression"], "attribute_not_exists(sk) OR expiresAt <= :now");
        let id = row["Put"]["Item"]["sk"]["S"].as_str().unwrap().strip_prefix("appointment#").unwrap();
        assert_eq!(transaction["ClientRequestToken"], id);
        assert!(sent.iter().take(transactions).all(|sent| sent.json() == transaction), "{name}: each try is the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_has_its_form() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let longest = "k".repeat(128);
    let too_long = "k".repeat(129);
    let cases: &[(&[&str], u16)] = &[
        (&["k"], 202),
        (&["\"quoted, with: spaces\""], 202),
        (&[&longest], 202),
        (&[&too_long], 400),
        (&[""], 400),
        (&["clé"], 400),
        (&["a\tb"], 400),
        (&["one", "two"], 400),
    ];
    for (keys, expected) in cases {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).chain([JSON]).collect();
        let (status, _, body) = call(&host, Method::POST, "/appointments", &headers, BOOKING).await;
        assert_eq!(status.as_u16(), *expected, "{keys:?}: {body}");
        if *expected == 400 {
            assert_eq!(body["code"], "invalid_idempotency_key", "{keys:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_that_the_client_has_is_not_sent_again() {
    let kept = |status: &str| ("GetItem", 200, json!({"Item": row(status, EVENT_ID)}).to_string());
    // The first read, those of the cases, and then the appointment changes.
    let script = [vec![kept("completed"); 8], vec![kept("cancelled")]].concat();
    let double = Double::start(&script).await;
    let host = host(&double).await;
    let path = appointment_path();
    let (_, headers, _) = call(&host, Method::GET, &path, &[], "").await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.len() > 20 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let weak = format!("W/{tag}");
    let several = format!("\"other\" , {tag}");
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("if-none-match", &tag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", &several)], 304),
        (&[("if-none-match", "\"other\""), ("if-none-match", &tag)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        // Another language is another text.
        (&[("if-none-match", &tag), ("accept-language", "en")], 200),
    ];
    for (headers, expected) in cases {
        let (status, response_headers, body) = call(&host, Method::GET, &path, headers, "").await;
        assert_eq!(status.as_u16(), expected, "{headers:?}");
        assert_eq!(body.is_null(), expected == 304, "{headers:?}");
        let english = response_headers["content-language"] == "en";
        assert_eq!(response_headers["etag"] == *tag, !english, "{headers:?}");
    }
    let (status, headers, body) = call(&host, Method::GET, &path, &[("if-none-match", &tag)], "").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("cancelled")), "it has changed");
    assert_ne!(headers["etag"], *tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_ends_the_request() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let mut client = TcpStream::connect(host.addr()).await.unwrap();
    let head = format!("content-type: application/json\r\ncontent-length: {}", BOOKING.len());
    let begun = format!("POST /appointments HTTP/1.1\r\nhost: a\r\naccept-language: en\r\n{head}\r\n\r\n{{");
    client.write_all(begun.as_bytes()).await.unwrap();
    let started = std::time::Instant::now();
    let mut response = vec![0; 4096];
    let size = client.read(&mut response).await.unwrap();
    let response = String::from_utf8_lossy(&response[..size]);
    assert!(response.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{response}");
    assert!(response.contains("\"code\":\"request_timeout\"") && response.contains("Send it again."), "{response}");
    assert!(started.elapsed() >= edge_component::BODY_DEADLINE, "not before its time is over");
    assert!(double.operations().is_empty());
}

/// A client that sends slowly does not delay others. Here it sends one byte at a time: no body is ever silent.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_bodies_that_trickle_leave_the_service_to_others() {
    let double = Double::start(&[]).await;
    let host = host(&double).await;
    let begun =
        "POST /appointments HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = TcpStream::connect(host.addr()).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        let (reading, mut writing) = client.into_split();
        tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
        });
        clients.push(reading);
    }
    let (status, _, _) = call(&host, Method::GET, "/health", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    let waiting = clients.last().unwrap().try_read(&mut [0]).unwrap_err();
    assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock, "another was served while the last one still sent");
    for mut client in clients {
        let mut response = vec![0; 4096];
        let size = client.read(&mut response).await.unwrap();
        let response = String::from_utf8_lossy(&response[..size]);
        assert!(response.starts_with("HTTP/1.1 408 "), "each had its instance: {response}");
    }
}
