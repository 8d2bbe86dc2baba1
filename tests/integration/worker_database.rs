//! The worker and its database: faults, rights, round trips.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use country_worker::{Database, DatabaseLogin};
use messages::AppointmentMessage;
use sqlx::Executor as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::worker_fixture::{
    Bus, MAX_RECEIVE_COUNT, Queue, SERVER, appointment, as_user, batch, bodies, cancellation, database, failures,
    migrate, request, rows, session, worker, worker_of,
};

#[tokio::test]
async fn a_database_that_is_down_returns_the_whole_batch_and_nothing_is_said_that_may_be_untrue() {
    // The port is bound, so nobody else gets it, and closed: connections are refused.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody:secret@127.0.0.1:{}/nowhere", listener.local_addr().unwrap().port());
    drop(listener);
    let messages = [request(1, 1, 1), cancellation(2, 2, 2), request(2, 2, 2)];
    for delivery in [MAX_RECEIVE_COUNT - 1, MAX_RECEIVE_COUNT] {
        let bus = Bus::default();
        let database = Database::new(DatabaseLogin::Url(url.parse().unwrap()));
        let response =
            worker_of(database, &bus, &Queue::default()).process(batch(&bodies(&messages), delivery)).await.unwrap();
        assert_eq!(failures(&response), ["m0", "m1", "m2"], "delivery {delivery}");
        // An earlier delivery may have been decided, and its response lost. The republisher asks for what was not.
        assert_eq!(bus.taken(), [], "delivery {delivery}");
    }
}

/// Relays one connection to `server` until `lose` is set: then the next query reaches the server, its response is lost,
/// and nobody can connect any more.
async fn losing_relay(server: String, lose: Arc<AtomicBool>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let (mut question, mut response) = ([0; 65536], [0; 65536]);
        let mut lost = false;
        loop {
            tokio::select! {
                read = client.read(&mut question) => {
                    let Ok(length @ 1..) = read else { return };
                    lost = lose.load(Ordering::SeqCst);
                    server.write_all(&question[..length]).await.unwrap();
                }
                read = server.read(&mut response) => {
                    let Ok(length @ 1..) = read else { return };
                    if lost {
                        return;
                    }
                    client.write_all(&response[..length]).await.unwrap();
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_decision_whose_response_is_lost_on_the_last_delivery_is_not_reported_as_failed() {
    let url = database().await;
    let server: String = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let lose = Arc::new(AtomicBool::new(false));
    let relay = losing_relay(server.clone(), Arc::clone(&lose)).await;
    let bus = Bus::default();
    let through_relay = worker(&url.replace(&server, &relay.to_string()), &bus);
    // The connection is open, and the statement prepared.
    through_relay.process(batch(&bodies(&[request(1, 1, 1)]), 1)).await.unwrap();
    lose.store(true, Ordering::SeqCst);
    let messages = [request(2, 2, 2), cancellation(3, 3, 3)];
    let response = through_relay.process(batch(&bodies(&messages), MAX_RECEIVE_COUNT)).await.unwrap();
    assert_eq!(failures(&response), ["m0", "m1"]);
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a2 p2 s2 booked", "a3 p3 s3 cancelled"], "it was committed");
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 1)]), "the first one's alone");

    // After a redrive the decisions are reported.
    let bus = Bus::default();
    let response = worker(&url, &bus).process(batch(&bodies(&messages), 1)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    let expected = [("AppointmentCancelled".to_owned(), 1), ("AppointmentCompleted".to_owned(), 1)];
    assert_eq!(bus.tally(), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_terminated_connection_is_replaced_and_the_batch_succeeds() {
    let url = database().await;
    let bus = Bus::default();
    let worker = worker(&url, &bus);
    let deliver = async |number: u64| {
        let response = worker.process(batch(&bodies(&[request(number, 1, number)]), 1)).await.unwrap();
        assert_eq!(failures(&response), [""; 0]);
    };
    deliver(1).await;
    // One connection per execution environment. On a busy machine one that was given up may be there a little longer.
    let mut observer = session(&url).await;
    let started = std::time::Instant::now();
    loop {
        let connections: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'country-worker' AND datname = current_database()",
        )
        .fetch_one(&mut observer)
        .await
        .unwrap();
        if connections == 1 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{connections} connections of one execution environment");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let terminated: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
         WHERE application_name = 'country-worker' AND datname = current_database()",
    )
    .fetch_one(&mut observer)
    .await
    .unwrap();
    assert_eq!(terminated, 1);
    deliver(2).await;
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a2 p1 s2 booked"]);
}

#[tokio::test]
async fn a_statement_without_read_committed_is_refused() {
    let url = database().await;
    let mut connection = session(&url).await;
    for call in ["decide('[]')", "decide('{}', '{}', '{}', '{}', '{}')"] {
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        let refused = connection.execute(sqlx::AssertSqlSafe(format!("SELECT * FROM {call}"))).await.expect_err(call);
        assert!(refused.to_string().contains("READ COMMITTED"), "{call}: {refused}");
        connection.execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn the_worker_s_database_user_may_decide_and_nothing_else() {
    let url = database().await;
    let stranger = format!("stranger_{}", std::process::id());
    SERVER.get().unwrap().let_in(&stranger).await.unwrap();
    let refused = operator::database::connect(&as_user(&url, &stranger)).await.expect_err("nobody else may connect");
    assert!(format!("{refused:#}").contains("permission denied for database"), "{refused:#}");

    // Once more changes nothing, and takes nothing away.
    migrate(&url, "worker").await.unwrap();
    let mut worker = session(&as_user(&url, "worker")).await;
    let decide = format!(
        "SELECT outcome FROM public.decide(ARRAY['{}']::uuid[], ARRAY['00001'], ARRAY[1], ARRAY['request'], ARRAY[now()])",
        appointment(1)
    );
    let outcome: String = sqlx::query_scalar(sqlx::AssertSqlSafe(decide)).fetch_one(&mut worker).await.unwrap();
    assert_eq!(outcome, "booked");
    let by_json = "SELECT outcome FROM public.decide($1::text::jsonb)";
    let commands = serde_json::to_string(&[request(1, 1, 1)]).unwrap();
    let outcome: String = sqlx::query_scalar(by_json).bind(&commands).fetch_one(&mut worker).await.unwrap();
    assert_eq!(outcome, "booked");
    for forbidden in [
        "SELECT * FROM public.appointments",
        "SELECT * FROM public.erased_appointments",
        "DELETE FROM public.erased_appointments",
        "INSERT INTO public.appointments SELECT * FROM public.appointments",
        "UPDATE public.appointments SET status = 'cancelled'",
        "DELETE FROM public.appointments",
        "TRUNCATE public.appointments",
        "SELECT * FROM public._sqlx_migrations",
        "SELECT * FROM public.slots",
        "SELECT * FROM public.slot_states",
        "UPDATE public.slots SET state = 'withdrawn'",
        "UPDATE public.country_settings SET max_open_bookings = 1000",
        "SELECT * FROM public.outbox",
        "CREATE TABLE public.own (column_1 integer)",
        "CREATE TEMPORARY TABLE own (column_1 integer)",
        "CREATE FUNCTION public.own() RETURNS integer LANGUAGE sql RETURN 1",
        "CREATE SCHEMA own",
        "CREATE ROLE own",
    ] {
        let refused = worker.execute(forbidden).await.expect_err(forbidden);
        let code = refused.as_database_error().unwrap().code();
        assert!(matches!(code.as_deref(), Some("42501")), "{forbidden}: {refused}");
    }
}

/// Counts, on the wire, how often the worker speaks and waits for the database.
#[tokio::test]
async fn a_batch_is_one_round_trip() {
    let url = database().await;
    let server: String = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through_proxy = url.replace(&server, &proxy.local_addr().unwrap().to_string());
    let round_trips = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&round_trips);
    let relay = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let (mut question, mut response) = ([0; 65536], [0; 65536]);
        let mut asking = false;
        loop {
            tokio::select! {
                read = client.read(&mut question) => {
                    let Ok(length @ 1..) = read else { return };
                    if !std::mem::replace(&mut asking, true) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    server.write_all(&question[..length]).await.unwrap();
                }
                read = server.read(&mut response) => {
                    let Ok(length @ 1..) = read else { return };
                    asking = false;
                    client.write_all(&response[..length]).await.unwrap();
                }
            }
        }
    });
    let worker = worker(&through_proxy, &Bus::default());
    for round in 0..5_u64 {
        let before = round_trips.load(Ordering::SeqCst);
        let messages: Vec<AppointmentMessage> =
            (0..10).map(|n| request(round * 10 + n, 1, round * 10 + n + 1)).collect();
        let response = worker.process(batch(&bodies(&messages), 1)).await.unwrap();
        assert_eq!(failures(&response), [""; 0]);
        let spent = round_trips.load(Ordering::SeqCst) - before;
        // The first batch also connects and prepares the statement.
        assert!(round == 0 || spent == 1, "batch {round} took {spent} round trips");
    }
    assert_eq!(rows(&url).await.len(), 50);
    drop(worker);
    relay.await.unwrap();
}
