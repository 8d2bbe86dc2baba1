use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use tokio::time::timeout;

use crate::setting::{InvalidSetting, required};

/// The longest wait for a connection that runs more than batches of commands, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The roots of the certificates of RDS. `rds-roots/README.md` says where they are from.
pub const RDS_ROOTS: &[u8] = include_bytes!("../rds-roots/roots.pem");

/// How long a token lets a new connection in: RDS takes none that is older
/// (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>).
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How the worker logs in to the country's database.
#[derive(Debug, Clone)]
pub enum DatabaseLogin {
    /// With what a URL says: for a server that is not on RDS.
    Url(DatabaseUrl),
    /// As a user of a database on RDS, with a token instead of a password.
    Iam(IamLogin),
}

impl DatabaseLogin {
    /// Reads `DATABASE_URL`, or, where that is not set, `DATABASE_HOST`, `DATABASE_PORT`, `DATABASE_NAME` and
    /// `DATABASE_USER`, with the credentials and the region that Lambda sets.
    ///
    /// # Errors
    ///
    /// Names the variable, and shows what is expected.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        match DatabasePlace::read(&variable)? {
            DatabasePlace::Url(url) => Ok(Self::Url(url)),
            DatabasePlace::Rds(address) => IamLogin::read(address, variable).map(Self::Iam),
        }
    }

    /// A connection for work that takes longer than a batch of commands.
    pub(crate) async fn connect_alone(&self) -> Result<PgConnection, ConnectError> {
        self.connect(CONNECT_TIMEOUT, &[]).await
    }

    /// Connects within `limit`, TLS and authentication included, with the server's `parameters` for the session.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
        parameters: &[(&str, String)],
    ) -> Result<PgConnection, ConnectError> {
        match timeout(limit, self.options()?.options(parameters.iter().cloned()).connect()).await {
            Ok(connected) => connected.map_err(ConnectError::Unreachable),
            Err(_elapsed) => Err(ConnectError::Unreachable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    /// For one new connection.
    fn options(&self) -> Result<PgConnectOptions, TokenError> {
        match self {
            Self::Url(url) => Ok(url.options()),
            Self::Iam(login) => login.options(),
        }
    }
}

/// Where a country's database is.
#[derive(Debug, Clone)]
pub enum DatabasePlace {
    /// `DATABASE_URL`, with the credentials in it.
    Url(DatabaseUrl),
    /// On RDS.
    Rds(RdsAddress),
}

impl DatabasePlace {
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        if variable(DatabaseUrl::VARIABLE).is_some_and(|url| !url.is_empty()) {
            return DatabaseUrl::read(variable).map(Self::Url);
        }
        RdsAddress::read(variable).map(Self::Rds)
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        match self {
            Self::Url(url) => url.options(),
            Self::Rds(address) => address.options(),
        }
    }
}

/// The address of a PostgreSQL database, with the credentials to it. `Debug` shows where it is, never the password.
///
/// Off this machine it has to verify the server (`sslmode=verify-full`): by default the driver speaks without TLS if the
/// server, or an impostor in its place, offers none.
#[derive(Clone)]
pub struct DatabaseUrl(Box<PgConnectOptions>);

impl DatabaseUrl {
    const VARIABLE: &str = "DATABASE_URL";
    const SHAPE: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    const VERIFIED: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, which verifies a server that is \
                            not on this machine (and sslrootcert=FILE where its authority is not one of the system's)";

    /// Reads `DATABASE_URL`.
    ///
    /// # Errors
    ///
    /// Names the variable, and shows the expected shape.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        required(variable, Self::VARIABLE, Self::SHAPE)?.parse()
    }

    fn options(&self) -> PgConnectOptions {
        (*self.0).clone()
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let malformed = InvalidSetting::Malformed { variable: Self::VARIABLE, expected: Self::SHAPE };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(malformed);
        }
        // The driver's own error may quote the text, and with it the password.
        let options: PgConnectOptions = text.parse().map_err(|_| malformed.clone())?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(malformed);
        }
        if !is_on_this_machine(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(InvalidSetting::Malformed { variable: Self::VARIABLE, expected: Self::VERIFIED });
        }
        Ok(Self(Box::new(ours(options))))
    }
}

/// Whether nothing of a connection leaves this machine: by a Unix socket, or by an address of the loopback interface.
fn is_on_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    options.get_socket().is_some() || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatabaseUrl")
            .field("host", &self.0.get_host())
            .field("port", &self.0.get_port())
            .field("database", &self.0.get_database())
            .finish_non_exhaustive()
    }
}

/// The address of a database on RDS. Who connects verifies the server's certificate and its host name.
#[derive(Clone)]
pub struct RdsAddress {
    /// `DATABASE_HOST`: the instance's own name, to which tokens and certificates are bound; no alias.
    pub host: String,
    /// `DATABASE_PORT`.
    pub port: u16,
    /// `DATABASE_NAME`.
    pub database: String,
    /// The roots that are trusted, as PEM: [`RDS_ROOTS`]. The driver trusts the system's beside them (ADR 25).
    pub trusted_roots: Cow<'static, [u8]>,
}

impl RdsAddress {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let host = required(
            &variable,
            "DATABASE_HOST",
            "the host name of the database instance on RDS (or DATABASE_URL for a server elsewhere)",
        )?;
        let expected = "a port number, for example 5432";
        let port = match required(&variable, "DATABASE_PORT", expected)?.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(InvalidSetting::Malformed { variable: "DATABASE_PORT", expected }),
        };
        let database = required(&variable, "DATABASE_NAME", "the name of the database, for example appointments_pe")?;
        Ok(Self { host, port, database, trusted_roots: Cow::Borrowed(RDS_ROOTS) })
    }

    fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert_from_pem(self.trusted_roots.to_vec());
        ours(options)
    }
}

impl fmt::Debug for RdsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RdsAddress")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A login to RDS by IAM database authentication: the password of a new connection is a token that is signed for it.
///
/// The connection itself outlives its token. `Debug` shows no credentials.
#[derive(Debug, Clone)]
pub struct IamLogin {
    /// Where.
    pub address: RdsAddress,
    /// As whom.
    pub user: DatabaseUser,
    /// The AWS region of the instance.
    pub region: String,
    /// Of the role that may connect as this user (`rds-db:connect`).
    pub credentials: Credentials,
    /// Tells the time at which a token is signed.
    pub clock: fn() -> SystemTime,
}

impl IamLogin {
    fn read(address: RdsAddress, variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        let user = DatabaseUser::read(&variable)?;
        let lambda = |name| required(&variable, name, "what Lambda sets for a function with an execution role");
        let (key, secret) = (lambda("AWS_ACCESS_KEY_ID")?, lambda("AWS_SECRET_ACCESS_KEY")?);
        let session_token = variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty());
        let credentials = Credentials::new(key, secret, session_token, None, "environment");
        Ok(Self { address, user, region: lambda("AWS_REGION")?, credentials, clock: SystemTime::now })
    }

    /// The password of a connection that is made within 15 minutes from `time`: the presigned URL of the action
    /// `connect`, without its scheme.
    ///
    /// # Errors
    ///
    /// The host is no host name.
    pub fn token(&self, time: SystemTime) -> Result<String, TokenError> {
        const SCHEME: &str = "https://";
        let RdsAddress { host, port, .. } = &self.address;
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(TOKEN_LIFETIME);
        settings.signature_location = SignatureLocation::QueryParams;
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("rds-db")
            .time(time)
            .settings(settings)
            .build()
            .map_err(|_| TokenError)?
            .into();
        let url = format!("{SCHEME}{host}:{port}/?Action=connect&DBUser={}", self.user.0);
        let mut request = http::Request::get(url.as_str()).body(()).map_err(|_| TokenError)?;
        let signable = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]));
        let signed = sign(signable.map_err(|_| TokenError)?, &parameters).map_err(|_| TokenError)?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        request.uri().to_string().strip_prefix(SCHEME).map(ToOwned::to_owned).ok_or(TokenError)
    }

    fn options(&self) -> Result<PgConnectOptions, TokenError> {
        let token = self.token((self.clock)())?;
        Ok(self.address.options().username(&self.user.0).password(&token))
    }
}

/// Why there is no connection to the database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No token for a new connection.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// The server refused it, or did not respond in time.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
}

/// A token cannot be signed. The cause is not kept, because it can quote a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no token can be signed for the database: DATABASE_HOST is no host name")]
pub struct TokenError;

/// The name of a user of the database: a name that SQL, a token and an IAM policy all take as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUser(String);

impl DatabaseUser {
    const VARIABLE: &str = "DATABASE_USER";
    const SHAPE: &str = "a database user: up to 63 lower-case letters, digits and _, a letter first";

    /// Reads `DATABASE_USER`.
    ///
    /// # Errors
    ///
    /// Names the variable, and shows what is expected.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        required(variable, Self::VARIABLE, Self::SHAPE)?.parse()
    }

    /// Reads `IMPORT_DATABASE_USER`; `importer` where it is not set.
    pub(crate) fn importer(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        const VARIABLE: &str = "IMPORT_DATABASE_USER";
        let name = variable(VARIABLE).filter(|name| !name.is_empty()).unwrap_or_else(|| "importer".to_owned());
        name.parse().map_err(|_| InvalidSetting::Malformed { variable: VARIABLE, expected: Self::SHAPE })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseUser {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        // 63 bytes are PostgreSQL's limit for a name.
        if text.len() <= 63 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(letters) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidSetting::Malformed { variable: Self::VARIABLE, expected: Self::SHAPE })
    }
}

/// What every connection of this crate has. Statements are not logged: their arguments are personal data.
fn ours(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("country-worker").disable_statement_logging()
}
