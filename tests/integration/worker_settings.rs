//! The environment of a worker's function.

use country_worker::{DatabaseUrl, InvalidSetting, MigrationSettings, Settings};

/// Reads variables from a table, with one of them changed.
fn changed<'a>(
    good: &'a [(&'a str, &'a str)],
    variable: &'a str,
    value: Option<&'a str>,
) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let good = good.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value);
        if name == variable { value } else { good }.map(ToOwned::to_owned)
    }
}

#[test]
fn a_wrong_environment_is_told_by_the_variable_and_never_shown() {
    const BY_URL: &[(&str, &str)] = &[
        ("DATABASE_URL", "postgres://worker:secret@db.example:5432/appointments_pe?sslmode=verify-full"),
        ("DATABASE_USER", "worker"),
        ("EVENT_BUS_NAME", "appointments"),
        ("RECEIVE_DELAYS_SECONDS", "5,30,120,300"),
    ];
    const ON_RDS: &[(&str, &str)] = &[
        ("DATABASE_HOST", "db.example"),
        ("DATABASE_PORT", "5432"),
        ("DATABASE_NAME", "appointments_pe"),
        ("DATABASE_USER", "worker"),
        ("DATABASE_MASTER_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "secret"),
        ("AWS_REGION", "sa-east-1"),
        ("EVENT_BUS_NAME", "appointments"),
        ("RECEIVE_DELAYS_SECONDS", "5,30,120,300"),
    ];
    for good in [BY_URL, ON_RDS] {
        let shown = [
            format!("{:?}", Settings::read(changed(good, "", None)).unwrap()),
            format!("{:?}", MigrationSettings::read(changed(good, "", None)).unwrap()),
        ];
        assert!(!shown.concat().contains("secret\""), "{shown:?}");
        assert!(!shown.concat().contains(":secret@"), "{shown:?}");
    }
    type Variables = [(&'static str, &'static str)];
    type Read = fn(&'static Variables, &'static str, Option<&'static str>) -> Result<(), InvalidSetting>;
    let of_worker: Read = |good, variable, value| Settings::read(changed(good, variable, value)).map(drop);
    let of_migration: Read = |good, variable, value| MigrationSettings::read(changed(good, variable, value)).map(drop);
    let table: [(Read, &'static Variables, &'static str, &[Option<&'static str>]); 13] = [
        (
            of_worker,
            BY_URL,
            "DATABASE_URL",
            &[
                Some("secret"),
                Some("mysql://worker:secret@db.example/appointments_pe"),
                Some("postgres://worker:secret@db.example:port/appointments_pe"),
                Some("postgres://worker:secret@db.example:5432"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe?sslmode=require"),
                Some("postgres://worker:secret@db.example:5432/appointments_pe?sslmode=verify-ca"),
                Some("postgres://worker:secret@10.0.0.7/appointments_pe?sslmode=prefer"),
                // The host that the driver connects to counts, and not the text before it.
                Some("postgres://worker:secret@localhost/appointments_pe?host=db.example"),
                Some("postgres://worker:secret@127.0.0.1/appointments_pe?hostaddr=10.0.0.7"),
                Some("postgres://worker:secret@localhost.example/appointments_pe"),
            ],
        ),
        (of_worker, BY_URL, "EVENT_BUS_NAME", &[None]),
        (of_worker, BY_URL, "RECEIVE_DELAYS_SECONDS", &[None, Some("0"), Some("5,many"), Some("5,,30")]),
        (of_worker, ON_RDS, "DATABASE_HOST", &[None, Some("")]),
        (of_worker, ON_RDS, "DATABASE_PORT", &[None, Some("0"), Some("65536"), Some("secret")]),
        (of_worker, ON_RDS, "DATABASE_NAME", &[None]),
        (
            of_worker,
            ON_RDS,
            "DATABASE_USER",
            &[None, Some("secret\"; DROP"), Some("Worker"), Some("1secret"), Some("é")],
        ),
        (of_worker, ON_RDS, "AWS_ACCESS_KEY_ID", &[None, Some("")]),
        (of_worker, ON_RDS, "AWS_SECRET_ACCESS_KEY", &[None]),
        (of_worker, ON_RDS, "AWS_REGION", &[None]),
        (of_migration, ON_RDS, "DATABASE_MASTER_SECRET_ARN", &[None, Some("")]),
        (of_migration, ON_RDS, "DATABASE_USER", &[None]),
        (of_migration, BY_URL, "DATABASE_USER", &[None]),
    ];
    for (read, good, variable, values) in table {
        for value in values {
            let error = read(good, variable, *value).expect_err(variable).to_string();
            assert!(error.contains(variable) && error.contains("expected"), "{variable}={value:?}: {error}");
            assert!(!error.contains("secret@") && !error.contains("secret\""), "{error}");
        }
    }
    // With neither, the error names both ways.
    let error = Settings::read(|_| None).unwrap_err().to_string();
    assert!(error.contains("DATABASE_HOST") && error.contains("DATABASE_URL"), "{error}");
    MigrationSettings::read(changed(BY_URL, "", None)).expect("a URL holds the owner's credentials itself");
    for sound in [
        "postgres://worker:secret@localhost/appointments_pe",
        "postgres://worker:secret@127.0.0.2:5433/appointments_pe",
        "postgres://worker:secret@[::1]/appointments_pe?sslmode=disable",
        "postgres://worker:secret@%2Fvar%2Frun%2Fpostgresql/appointments_pe",
        "postgres://worker:secret@db.example/appointments_pe?sslmode=verify-full&sslrootcert=roots.pem",
    ] {
        sound.parse::<DatabaseUrl>().unwrap_or_else(|error| panic!("{sound}: {error}"));
    }
    let error = "postgres://worker:secret@db.example/appointments_pe".parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(error.contains("?sslmode=verify-full"), "the remedy: {error}");
    let error = "postgres:///".parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(error.contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), "{error}");
}
