//! The database on RDS, as far as that can be shown without AWS: the token, the roots, TLS with verification, the user
//! that the migration creates, and where the migration finds the owner's password.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::process::Command as Program;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use appointment::{Appointment, AppointmentId, Country, Timestamp, TraceContext};
use aws_credential_types::Credentials;
use country_worker::{
    ConnectError, CountryRules, Database, DatabaseLogin, DatabasePlace, DecideError, Decisions, IamLogin,
    MigrationSettings, RDS_ROOTS, RdsAddress, migrate,
};
use local_stack::emulator;
use local_stack::ministack::Ministack;
use local_stack::postgres::Postgres;
use local_stack::setup;
use messages::{AppointmentMessage, Command};
use operator::database::connect;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tests::{artifacts, scratch_folder, workspace};
use x509_parser::pem::Pem;

fn login(host: &str, port: u16, user: &str, region: &str, key: (&str, &str, Option<&str>)) -> IamLogin {
    let (id, secret, session_token) = key;
    IamLogin {
        address: RdsAddress {
            host: host.to_owned(),
            port,
            database: "appointments".to_owned(),
            trusted_roots: Cow::Borrowed(RDS_ROOTS),
        },
        user: user.parse().unwrap(),
        region: region.to_owned(),
        credentials: Credentials::new(id, secret, session_token.map(ToOwned::to_owned), None, "test"),
        clock: SystemTime::now,
    }
}

/// The vectors of the AWS SDK for Rust (`rds::auth_token`) and of botocore (`test_signers`), and one with a session
/// token, which botocore 1.43.106 signed.
#[test]
fn a_token_is_what_the_sdks_of_aws_sign() {
    let us = "prod-instance.us-east-1.rds.amazonaws.com";
    let vectors = [
        (
            login(us, 3306, "peccy", "us-east-1", ("akid", "secret", None)),
            1_724_709_600,
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20240826T220000Z\
             &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89",
        ),
        (
            login(us, 3306, "someusername", "us-east-1", ("akid", "skid", None)),
            1_478_540_373,
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=someusername\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20161107T173933Z\
             &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61",
        ),
        (
            login(
                "appointments-pe.c0ffee.sa-east-1.rds.amazonaws.com",
                5432,
                "worker",
                "sa-east-1",
                (
                    "ASIAIOSFODNN7EXAMPLE",
                    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                    Some("IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXNhLWVhc3QtMSJIMEYCIQD+/="),
                ),
            ),
            1_795_512_600,
            "appointments-pe.c0ffee.sa-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=worker\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F20261124%2Fsa-east-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20261124T093000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Security-Token=IQoJb3JpZ2luX2VjEXAMPLE%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEaCXNhLWVhc3QtMSJIMEYCIQD%2B%2F%3D\
             &X-Amz-Signature=49e6a27c4bb71b0cdc21c9558306c4da67af6d9eb6994db17fd5a2540a6be88d",
        ),
    ];
    for (login, seconds, expected) in vectors {
        let token = login.token(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        // The order of the parameters is free: the server sorts them before it verifies.
        let parts = |token: &str| {
            let (address, query) = token.split_once('?').map(|(one, two)| (one.to_owned(), two.to_owned())).unwrap();
            let mut query: Vec<String> = query.split('&').map(ToOwned::to_owned).collect();
            query.sort();
            (address, query)
        };
        assert_eq!(parts(&token), parts(expected));
        assert!(!format!("{login:?}").contains("wJalrXUtnFEMI") && !format!("{login:?}").contains("skid"), "{login:?}");
    }
    let error = login("not a host", 1, "worker", "us-east-1", ("akid", "skid", None)).token(UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("DATABASE_HOST"), "{error}");
}

#[test]
fn the_roots_are_those_that_were_checked_and_none_expires_soon() {
    let folder = workspace().join("native-workers/country-worker/rds-roots");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let checksum: String = Sha256::digest(RDS_ROOTS).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(readme.contains(&checksum), "rds-roots/README.md does not state the checksum {checksum}");

    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(90 * 24 * 3600);
    let mut count = 0;
    for pem in Pem::iter_from_buffer(RDS_ROOTS) {
        let pem = pem.unwrap();
        let root = pem.parse_x509().unwrap();
        let name = root.subject().to_string();
        assert!(name.contains("CN=Amazon RDS ") && name.contains(" G1"), "{name}");
        assert_eq!(root.subject(), root.issuer());
        root.verify_signature(None).unwrap_or_else(|error| panic!("{name} is not signed by itself: {error}"));
        assert!(root.is_ca(), "{name}");
        let expiry = root.validity().not_after.timestamp();
        assert!(
            expiry > i64::try_from(soon.as_secs()).unwrap(),
            "{name} expires at {}: see rds-roots/README.md for how to renew",
            root.validity().not_after
        );
        count += 1;
    }
    assert_eq!(count, 27 * 3, "three roots a region");
}

/// A certificate authority, and what it issues for `localhost`: certificate and key, in PEM.
struct Authority {
    root: String,
    certificate: String,
    key: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::default()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap().pem();
    Authority { root, certificate, key: key.serialize_pem() }
}

/// Writes a file into the server's data folder, as the server's account, which alone may read it.
async fn write(owner: &mut PgConnection, file: &str, text: &str) {
    let folder: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut *owner).await.unwrap();
    let statement = format!(
        "COPY (SELECT unnest(string_to_array($text${}$text$, E'\\n'))) TO PROGRAM 'umask 077; cat > {folder}/{file}'",
        text.trim_end()
    );
    owner.execute(AssertSqlSafe(statement)).await.unwrap();
}

/// Lets the server speak TLS with this certificate, and the user `worker` in by TLS and a password only, as RDS does.
async fn require_tls(owner_url: &str, authority: &Authority) {
    let mut owner = connect(owner_url).await.unwrap();
    write(&mut owner, "server.crt", &authority.certificate).await;
    write(&mut owner, "server.key", &authority.key).await;
    let hba = "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all worker 127.0.0.1/32 password\n";
    write(&mut owner, "pg_hba.conf", hba).await;
    owner.execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    owner.execute("SELECT pg_reload_conf()").await.unwrap();
    for _ in 0..500 {
        let shown: String =
            sqlx::query_scalar("SHOW ssl").fetch_one(&mut connect(owner_url).await.unwrap()).await.unwrap();
        if shown == "on" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server has not reloaded its configuration");
}

fn request(number: u64) -> AppointmentMessage {
    let number_ms = i64::try_from(number).unwrap();
    let appointment_id = AppointmentId::new(Timestamp::from_unix_milliseconds(1_700_000_000_000 + number_ms), [0; 10]);
    let (person, slot) = ("00001".parse().unwrap(), number.try_into().unwrap());
    let asked_at = "2026-11-24T09:30:00.000Z".parse().unwrap();
    let appointment = Appointment::requested(appointment_id, person, slot, Country::Peru, asked_at);
    AppointmentMessage::new(Command::Request, &appointment, TraceContext::start([1; 24])).unwrap()
}

/// A server of the test's own, with a migrated database of the user `postgres`.
async fn server(name: &str) -> (Postgres, String) {
    let server = Postgres::start(&workspace(), &scratch_folder(name)).await.unwrap();
    server.create_database("appointments").await.unwrap();
    let url = server.url("appointments");
    migrate(&by_url(&url)).await.unwrap();
    (server, url)
}

fn by_url(url: &str) -> MigrationSettings {
    MigrationSettings {
        place: DatabasePlace::Url(url.parse().unwrap()),
        master_secret: None,
        worker: "worker".parse().unwrap(),
        importer: "importer".parse().unwrap(),
        rules: CountryRules::default(),
    }
}

static NOW: AtomicU64 = AtomicU64::new(1_795_512_600);

#[tokio::test]
async fn each_connection_is_by_verified_tls_with_a_token_of_its_own() {
    let (server, url) = server("rds-tls").await;
    let mut owner = connect(&url).await.unwrap();
    let port: String = sqlx::query_scalar("SHOW port").fetch_one(&mut owner).await.unwrap();
    let (authority, other) = (authority("trusted"), authority("other"));
    let mut login = login("localhost", port.parse().unwrap(), "worker", "sa-east-1", ("akid", "skid", Some("session")));
    login.clock = || UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::SeqCst));
    login.address.trusted_roots = authority.root.clone().into_bytes().into();
    let refused = async |login: &IamLogin, why: &str| {
        let error = Database::new(DatabaseLogin::Iam(login.clone())).connect().await.expect_err(why);
        let text = error.to_string();
        assert!(!text.contains("X-Amz-Signature") && !text.contains("skid"), "{text}");
        match error {
            DecideError::NotConnected(ConnectError::Unreachable(sqlx::Error::Tls(error))) => error.to_string(),
            // What the handshake finds.
            DecideError::NotConnected(ConnectError::Unreachable(sqlx::Error::Io(error)))
                if error.kind() == ErrorKind::InvalidData =>
            {
                error.to_string()
            }
            other => panic!("{why}: {other:?}"),
        }
    };

    let error = refused(&login, "the server speaks no TLS yet").await;
    assert!(error.contains("does not support TLS"), "{error}");

    require_tls(&url, &authority).await;
    // In place of RDS's check the server compares the token with the only one that is right at this time.
    let expect_token = async |login: &IamLogin| {
        let token = login.token((login.clock)()).unwrap();
        connect(&url)
            .await
            .unwrap()
            .execute(AssertSqlSafe(format!("ALTER ROLE worker PASSWORD '{token}'")))
            .await
            .unwrap();
    };
    expect_token(&login).await;
    let database = Database::new(DatabaseLogin::Iam(login.clone()));
    assert_eq!(database.decide(&[&request(1)]).await.unwrap().len(), 1);
    let encrypted: bool = sqlx::query_scalar(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE usename = 'worker' AND application_name = 'country-worker'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert!(encrypted);

    // Twenty minutes later the connection is lost: a new one needs a new token.
    NOW.fetch_add(20 * 60, Ordering::SeqCst);
    expect_token(&login).await;
    owner
        .execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'worker'")
        .await
        .unwrap();
    assert_eq!(database.decide(&[&request(2)]).await.unwrap().len(), 1);

    let mut elsewhere = login.clone();
    elsewhere.address.trusted_roots = other.root.into_bytes().into();
    let error = refused(&elsewhere, "the certificate is of an authority that is not trusted").await;
    assert!(error.contains("UnknownIssuer"), "{error}");
    elsewhere.address.trusted_roots = Cow::Borrowed(RDS_ROOTS);
    let error = refused(&elsewhere, "the certificate is not of RDS").await;
    assert!(error.contains("UnknownIssuer"), "{error}");
    let mut elsewhere = login.clone();
    elsewhere.address.host = "127.0.0.1".to_owned();
    let error = refused(&elsewhere, "the certificate is for another host").await;
    assert!(error.contains("not valid for name"), "{error}");

    let mut wrong = login.clone();
    wrong.credentials = Credentials::new("akid", "other", None, None, "test");
    let error = Database::new(DatabaseLogin::Iam(wrong)).connect().await.expect_err("a token of somebody else");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    let plain = server.url_as("worker", "appointments");
    let error = connect(&format!("{plain}?sslmode=disable")).await.expect_err("a connection without TLS");
    assert!(format!("{error:#}").contains("no encryption"), "{error:#}");
}

/// On RDS the owner is not a superuser, and lets the worker's user in by granting it the role `rds_iam`.
#[tokio::test]
async fn the_migration_needs_no_more_than_the_rights_of_the_owner_on_rds() {
    let server = Postgres::start(&workspace(), &scratch_folder("rds-owner")).await.unwrap();
    let mut superuser = connect(&server.url("postgres")).await.unwrap();
    server.let_in("owner").await.unwrap();
    for statement in [
        "CREATE ROLE rds_iam",
        "ALTER ROLE owner CREATEROLE CREATEDB",
        "GRANT rds_iam TO owner WITH ADMIN OPTION",
        "CREATE DATABASE appointments OWNER owner",
    ] {
        superuser.execute(statement).await.unwrap();
    }
    let url = server.url_as("owner", "appointments");
    for _ in 0..2 {
        migrate(&by_url(&url)).await.unwrap();
    }
    let member: bool = sqlx::query_scalar("SELECT pg_has_role('worker', 'rds_iam', 'member')")
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert!(member);
    server.let_in("worker").await.unwrap();
    let worker = server.url_as("worker", "appointments");
    let decided = Database::new(DatabaseLogin::Url(worker.parse().unwrap())).decide(&[&request(1)]).await.unwrap();
    assert_eq!(decided.len(), 1);
    let mut worker = connect(&worker).await.unwrap();
    worker.execute("SELECT * FROM public.appointments").await.expect_err("the worker reads no table");
    worker.close().await.unwrap();
}

/// The worker's own program, as its function runs it, with the owner's password from Secrets Manager.
#[tokio::test]
async fn the_migration_takes_the_owner_from_the_secret_and_never_shows_it() {
    let folder = scratch_folder("rds-secret");
    let server = Postgres::start(&workspace(), &folder).await.unwrap();
    server.create_database("appointments").await.unwrap();
    let ministack = Ministack::start(&setup::ministack_program(&workspace()), None, &folder).await.unwrap();
    let aws = emulator::root(ministack.endpoint().unwrap());
    let program = artifacts().unwrap().worker("appointment-pe");
    let owner = server.url("appointments");
    let (credentials, place) = owner.split_once("://").unwrap().1.split_once('@').unwrap();
    let (address, (_, password)) = (format!("postgres://{place}"), credentials.split_once(':').unwrap());
    let run = |secret: String| {
        let mut migrate = Program::new(&program);
        migrate.arg("migrate").env_clear().envs([
            ("DATABASE_URL", address.as_str()),
            ("DATABASE_USER", "worker"),
            ("DATABASE_MASTER_SECRET_ARN", &secret),
            ("AWS_ENDPOINT_URL", &ministack.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]);
        let output = migrate.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let keep = async |name: &str, text: String| {
        let response = aws.secrets("CreateSecret", &json!({"Name": name, "SecretString": text})).await.unwrap();
        response["ARN"].as_str().unwrap().to_owned()
    };
    let right = keep("right", json!({"username": "postgres", "password": password}).to_string()).await;
    let wrong = keep("wrong", json!({"username": "postgres", "password": "hunter2"}).to_string()).await;
    let unknown = keep("unknown", json!({"username": "nobody", "password": "hunter2"}).to_string()).await;
    let malformed = keep("malformed", "hunter2".to_owned()).await;
    let table = [
        (right.clone(), true, "the database is up to date"),
        (wrong, false, "password authentication failed"),
        (unknown, false, "cannot be reached"),
        (malformed, false, "expected {\\\"username\\\": …, \\\"password\\\": …}"),
        (
            right.replace("right", "absent"),
            false,
            "DATABASE_MASTER_SECRET_ARN cannot be read: ResourceNotFoundException",
        ),
    ];
    for (secret, succeeds, expected) in table {
        let (succeeded, log) = run(secret.clone());
        assert_eq!(succeeded, succeeds, "{secret}: {log}");
        assert!(log.contains(expected), "{secret}: {log}");
        assert!(!log.contains("hunter2") && !log.contains(password), "{secret}: {log}");
    }
}

/// Loopback is no credential: every program of the machine reaches it.
#[tokio::test]
async fn the_local_server_lets_nobody_in_without_the_password_and_never_shows_it() {
    let folder = scratch_folder("postgres-passwords");
    let server = Postgres::start(&workspace(), &folder).await.unwrap();
    server.let_in("worker").await.unwrap();
    let (owner, worker) = (server.url("postgres"), server.url_as("worker", "postgres"));
    let password = |url: &str| url.split_once("://").unwrap().1.split(['@', ':']).nth(1).unwrap().to_owned();
    let (of_owner, of_worker) = (password(&owner), password(&worker));
    assert_ne!(of_owner, of_worker);
    for (user, right, wrong) in [("postgres", &owner, &of_worker), ("worker", &worker, &of_owner)] {
        connect(right).await.unwrap().close().await.unwrap();
        let guesses = [wrong.as_str(), "", "postgres"]
            .map(|guess| right.replacen(&format!("{user}:{}", password(right)), &format!("{user}:{guess}"), 1));
        for guess in guesses {
            let refused = connect(&guess).await.expect_err("a wrong password");
            let refused = format!("{refused:#}");
            let expected = if guess.contains(":@") { "empty password" } else { "password authentication failed" };
            assert!(refused.contains(expected), "{user}: {refused}");
        }
    }
    let without = owner.replacen(&format!(":{of_owner}@"), "@", 1);
    let refused = connect(&without).await.expect_err("no password");
    assert!(format!("{refused:#}").contains("password"), "{refused:#}");
    let rules: Vec<String> = sqlx::query_scalar("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        .fetch_all(&mut connect(&owner).await.unwrap())
        .await
        .unwrap();
    assert_eq!(rules, ["password"]);

    let log = std::fs::read_to_string(folder.join("logs/postgres.log")).unwrap();
    for shown in [format!("{server:?}"), log] {
        assert!(!shown.contains(&of_owner) && !shown.contains(&of_worker), "{shown}");
    }
}
