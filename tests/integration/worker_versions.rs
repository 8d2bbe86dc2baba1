//! Workers, messages, rows and schemas of other versions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use messages::Command;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::worker_fixture::{
    Bus, MAX_RECEIVE_COUNT, SERVER, appointment, as_user, batch, bodies, command, database, empty_database, failures,
    insert, migrate, request, rows, session, worker,
};

/// The lines that this thread logs: level and message.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl Lines {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn errors(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(level, _)| *level == tracing::Level::ERROR).map(|(_, text)| text.clone()).collect()
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }
}

/// A later version wrote to the database, and then this one was rolled back to.
#[tokio::test]
async fn a_decision_of_a_later_version_comes_again_with_an_alarm_and_touches_no_other() {
    for later in ["status = 'moved', reason = NULL", "status = 'rejected', reason = 'slot_flooded'"] {
        let url = database().await;
        insert(&url, &["a1 p1 s1 booked"]).await;
        let mut owner = session(&url).await;
        owner.execute("ALTER TABLE appointments DROP CONSTRAINT appointments_sound").await.unwrap();
        owner.execute(sqlx::AssertSqlSafe(format!("UPDATE appointments SET {later}"))).await.unwrap();
        let before = rows(&url).await;
        let messages = [request(1, 1, 1), request(2, 2, 2), command(Command::Decision, 3, 3, 3)];
        for delivery in [1, MAX_RECEIVE_COUNT] {
            let (bus, lines) = (Bus::default(), Lines::default());
            let listening = lines.listen();
            let response = worker(&url, &bus).process(batch(&bodies(&messages), delivery)).await.unwrap();
            drop(listening);
            assert_eq!(failures(&response), ["m0"], "{later}, delivery {delivery}");
            let expected = ["AppointmentCompleted", "AppointmentRejected not_processed"];
            assert_eq!(bus.tally(), expected.map(|event| (event.to_owned(), 1)).into(), "{later}, delivery {delivery}");
            let [error] = <[String; 1]>::try_from(lines.errors()).unwrap();
            assert!(error.contains("unknown_decision") && error.contains(&appointment(1).to_string()), "{error}");
        }
        let after = rows(&url).await;
        assert_eq!(
            (&after[..1], &after[1..]),
            (&before[..], &["a2 p2 s2 booked".to_owned(), "a3 p3 s3 rejected not_processed".to_owned()][..])
        );
    }
}

#[tokio::test]
async fn a_message_of_a_later_version_is_read_where_it_can_be_and_else_fails_alone_with_an_alarm() {
    let changed = |number: u64, field: &str, value: Value| {
        let mut body = serde_json::to_value(request(number, 1, number)).unwrap();
        body[field] = value;
        body.to_string()
    };
    let url = database().await;
    let (bus, lines) = (Bus::default(), Lines::default());
    let bodies = [
        changed(1, "channel", json!({"name": "app"})),
        changed(2, "type", json!("appointment.waiting_requested")),
        changed(3, "version", json!(2)),
        changed(4, "scheduleId", json!("4")),
        changed(5, "priority", json!(null)),
    ];
    let listening = lines.listen();
    let response = worker(&url, &bus).process(batch(&bodies, MAX_RECEIVE_COUNT)).await.unwrap();
    drop(listening);
    assert_eq!(failures(&response), ["m1", "m2", "m3"]);
    assert_eq!(rows(&url).await, ["a1 p1 s1 booked", "a5 p1 s5 booked"]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 2)]));
    let errors = lines.errors();
    for (error, kind) in errors.iter().zip(["unknown_type", "unsupported_version", "not_a_command"]) {
        assert!(error.contains(kind) && !error.contains("00001"), "{kind}: {error}");
    }
    assert_eq!(errors.len(), 3, "{errors:?}");
}

/// The migrations of this repository up to a version, as a binary that was built then knows them.
async fn migrate_to(url: &str, version: i64) {
    let folder = tests::workspace().join("native-workers/country-worker/migrations");
    let all = sqlx::migrate::Migrator::new(folder.as_path()).await.unwrap();
    let known = all.iter().filter(|migration| migration.version <= version).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(known).run(&mut session(url).await).await.unwrap();
}

/// What `docs/deploy.md` promises of a rollback: the schema stays, and the binary of the version before goes on.
#[tokio::test]
async fn an_older_binary_works_on_a_newer_schema() {
    let url = database().await;
    let mut owner = session(&url).await;
    owner
        .execute(
            "ALTER TABLE appointments ADD COLUMN waited_since timestamptz;
             ALTER FUNCTION decide(jsonb) RENAME TO decide_before;
             CREATE FUNCTION decide(commands jsonb)
                 RETURNS TABLE (appointment_id uuid, outcome text, reason text, decided_at timestamptz, command_id uuid,
                                schedule_id bigint, replaced_by uuid, slot json, holds jsonb)
                 LANGUAGE sql SECURITY DEFINER AS $$ SELECT *, '[]'::jsonb FROM public.decide_before(commands) $$;
             INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 0)",
        )
        .await
        .unwrap();
    assert_eq!(migrate(&url, "worker").await.unwrap(), 9999, "the migration of this version finds nothing to do");
    let bus = Bus::default();
    let response = worker(&url, &bus).process(batch(&bodies(&[request(1, 1, 1)]), 1)).await.unwrap();
    assert_eq!(failures(&response), [""; 0]);
    assert_eq!(bus.tally(), BTreeMap::from([("AppointmentCompleted".to_owned(), 1)]));
}

/// Workers of the versions before serve before, while and after the schema is migrated, with the rights that they had.
#[tokio::test]
async fn a_worker_of_the_version_before_serves_while_the_schema_is_migrated() {
    const BY_ARRAYS: &str = "SELECT outcome FROM decide($1::text[]::uuid[], ARRAY['00002'], ARRAY[1::bigint], ARRAY['request'], ARRAY[now()])";
    const BY_JSON: &str = "SELECT outcome FROM (SELECT appointment_id, outcome, reason, decided_at FROM public.decide($1::text::jsonb)) AS d";
    let user = format!("worker_before_{}", std::process::id());
    for (version, statement) in [(2, BY_ARRAYS), (3, BY_JSON)] {
        let url = empty_database().await;
        migrate_to(&url, version).await;
        insert(&url, &["a1 p1 s1 booked"]).await;
        // As a migration of that version created it.
        let signature =
            if version == 2 { "decide(uuid[], text[], bigint[], text[], timestamptz[])" } else { "decide(jsonb)" };
        SERVER.get().unwrap().let_in(&format!("{user}_{version}")).await.unwrap();
        let grant = format!("GRANT EXECUTE ON FUNCTION {signature} TO {user}_{version}");
        session(&url).await.execute(sqlx::AssertSqlSafe(grant)).await.unwrap();
        let mut worker = session(&as_user(&url, &format!("{user}_{version}"))).await;
        let mut decide = async |number: u64| -> String {
            let query = sqlx::query_scalar(statement);
            let query = match version {
                2 => query.bind(vec![appointment(number).to_string()]),
                _ => query.bind(serde_json::to_string(&[request(number, 2, 1)]).unwrap()),
            };
            query.fetch_one(&mut worker).await.unwrap()
        };
        assert_eq!(decide(2).await, "rejected");
        // Only the migrations: the rights of this version's user are granted after them.
        migrate_to(&url, i64::MAX).await;
        assert_eq!(decide(3).await, "rejected");
        assert_eq!(decide(2).await, "rejected", "what was decided before is said again");
        let expected = ["a1 p1 s1 booked", "a2 p2 s1 rejected slot_taken", "a3 p2 s1 rejected slot_taken"];
        assert_eq!(rows(&url).await, expected);
        assert!(migrate(&url, "worker").await.unwrap() >= 4);
    }
}

#[tokio::test]
async fn a_migration_does_not_hold_up_the_worker_behind_a_lock_that_it_cannot_get() {
    let url = empty_database().await;
    migrate_to(&url, 2).await;
    let mut reader = session(&url).await;
    reader.execute("BEGIN; LOCK TABLE appointments IN ACCESS SHARE MODE").await.unwrap();
    let failed = migrate(&url, "worker").await.expect_err("the table is in use");
    let text = std::iter::successors(Some(&failed as &dyn std::error::Error), |error| error.source());
    let text: Vec<String> = text.map(ToString::to_string).collect();
    assert!(text.concat().contains("lock timeout"), "{text:?}");
    // The old schema serves on, and the next try finds nothing half done.
    let decide = "SELECT count(*) FROM decide('{}', '{}', '{}', '{}', '{}')";
    sqlx::query_scalar::<_, i64>(decide).fetch_one(&mut session(&url).await).await.unwrap();
    reader.execute("ROLLBACK").await.unwrap();
    assert!(migrate(&url, "worker").await.unwrap() >= 3);
}
