//! One logical call: serialise once, then sign and send until a response, a refusal or the end of the time.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Credentials;
use crate::call_log::CallLog;
use crate::endpoint::Service;
use crate::error::{Error, ErrorKind};
use crate::retry::{Retry, RetryPolicy};
use crate::signer::Signer;
use crate::transport::{ResponseBody, Terms, Transport, TransportError, X_AMZN_ERRORTYPE};

const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Makes signed calls over a transport, for one identity in one region.
///
/// It is cheap to create. Only the transport may hold connections.
#[derive(Clone)]
pub struct Client<T> {
    transport: T,
    signer: Signer,
    /// The date of signatures, if it is not to be read from the clock.
    date: Option<SystemTime>,
    attempt: Duration,
    retries: RetryPolicy,
    deadline: Duration,
    verbatim_rejections: bool,
    calls: Option<CallLog>,
}

/// The version of the AWS JSON protocol that a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonVersion {
    /// `application/x-amz-json-1.0`: DynamoDB, SQS.
    V1_0,
    /// `application/x-amz-json-1.1`: EventBridge, Secrets Manager.
    V1_1,
}

impl JsonVersion {
    fn content_type(self) -> &'static str {
        match self {
            Self::V1_0 => "application/x-amz-json-1.0",
            Self::V1_1 => "application/x-amz-json-1.1",
        }
    }
}

impl<T: Transport> Client<T> {
    /// A client with a deadline of 3 s and the default [`RetryPolicy`]. An attempt may take 1.5 s: after one without a response
    /// there is time for another.
    pub fn new(transport: T, region: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            transport,
            signer: Signer::new(region, credentials),
            date: None,
            attempt: Duration::from_millis(1_500),
            retries: RetryPolicy::default(),
            deadline: Duration::from_secs(3),
            verbatim_rejections: false,
            calls: None,
        }
    }

    /// The total budget of one logical call: all its attempts and the pauses between them.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one attempt may take, from its connection to the end of its response. It never exceeds the rest of the deadline.
    #[must_use]
    pub fn with_attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt = limit;
        self
    }

    /// How often and with which pauses calls are repeated.
    #[must_use]
    pub fn with_retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = retries;
        self
    }

    /// Dates signatures by an instant that is known already, for a client that lives for seconds. AWS accepts a signature for five
    /// minutes, and reading the clock is a call to the Wasm host.
    #[must_use]
    pub fn with_date(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Records each call in `calls`.
    #[must_use]
    pub fn with_call_log(mut self, calls: CallLog) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Keeps the service's explanation in every [`ErrorKind::Rejected`]. For tools whose requests hold no personal data:
    /// a service may quote the request in it.
    #[must_use]
    pub fn with_verbatim_rejections(mut self) -> Self {
        self.verbatim_rejections = true;
        self
    }

    /// A call of an AWS JSON service.
    ///
    /// `target` is the `x-amz-target`, for example `DynamoDB_20120810.PutItem`. An empty response is read as `{}`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn json<I, O>(
        &self,
        service: Service<'_>,
        version: JsonVersion,
        target: &str,
        input: &I,
        retry: Retry,
    ) -> Result<O, Error>
    where
        I: Serialize + ?Sized,
        O: DeserializeOwned,
    {
        let call = Call::json(service, version, target, ResponseBody::Json);
        self.send_json(&call, input, retry).await?.parse_json(&call)
    }

    /// As [`json`](Self::json), for a call whose status says everything: a transport may leave the body of a 2xx response unread.
    ///
    /// Only for a call that another call follows, because the body arrives meanwhile. If it arrives after the end of the instance,
    /// the host cannot use the connection again.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn json_unread<I>(
        &self,
        service: Service<'_>,
        version: JsonVersion,
        target: &str,
        input: &I,
        retry: Retry,
    ) -> Result<(), Error>
    where
        I: Serialize + ?Sized,
    {
        let call = Call::json(service, version, target, ResponseBody::Unread);
        self.send_json(&call, input, retry).await.map(drop)
    }

    /// A call of an AWS Query service: form-encoded parameters, XML back, which is returned as text.
    ///
    /// `version` is the API's version date, for example `2010-03-31` for SNS.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn query(
        &self,
        service: Service<'_>,
        action: &str,
        version: &str,
        params: &[(&str, &str)],
        retry: Retry,
    ) -> Result<String, Error> {
        let call = Call {
            service,
            operation: action,
            method: Method::POST,
            path_and_query: "/",
            content_type: "application/x-www-form-urlencoded",
            target: None,
            headers: &[],
            protocol: Protocol::Query,
            response: ResponseBody::Xml,
        };
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", version)
            .extend_pairs(params)
            .finish();
        let response = self.send(&call, body.into(), retry).await?;
        String::from_utf8(response.body.into()).map_err(|_| call.invalid_response("it is not UTF-8", response.attempts))
    }

    /// A call of an AWS REST service with JSON bodies, such as Lambda.
    ///
    /// `path_and_query` is already percent-encoded. An empty response is read as `null`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn rest_json<I>(
        &self,
        service: Service<'_>,
        method: Method,
        path_and_query: &str,
        body: Option<&I>,
        retry: Retry,
    ) -> Result<serde_json::Value, Error>
    where
        I: Serialize + ?Sized,
    {
        let operation = format!("{method} {path_and_query}");
        let call = Call {
            service,
            operation: &operation,
            method,
            path_and_query,
            content_type: "application/json",
            target: None,
            headers: &[],
            protocol: Protocol::RestJson,
            response: ResponseBody::Json,
        };
        let response = match body {
            Some(body) => self.send_json(&call, body, retry).await?,
            None => self.send(&call, Bytes::new(), retry).await?,
        };
        response.parse_json(&call)
    }

    /// A call of an AWS REST service whose bodies are not documents, such as S3's objects. Returns the headers and the body of a 2xx
    /// response.
    ///
    /// `path_and_query` is already percent-encoded. `headers` are signed. The call may be repeated.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn object(
        &self,
        service: Service<'_>,
        method: Method,
        path_and_query: &str,
        content_type: &'static str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), Error> {
        // Without the path: a person chose the name of the file.
        let operation = method.to_string();
        let protocol = Protocol::RestXml;
        let call = Call {
            service,
            operation: &operation,
            method,
            path_and_query,
            content_type,
            target: None,
            headers,
            protocol,
            response: ResponseBody::Bytes,
        };
        let response = self.send(&call, body, Retry::Safe).await?;
        Ok((response.headers, response.body))
    }

    /// As [`send`](Self::send), with a body that is written as JSON.
    async fn send_json<I>(&self, call: &Call<'_>, input: &I, retry: Retry) -> Result<Success, Error>
    where
        I: Serialize + ?Sized,
    {
        let body = serde_json::to_vec(input).map_err(|error| call.invalid_request(&error))?;
        self.send(call, body.into(), retry).await
    }

    /// Sends a call until an attempt gets a 2xx response, or until no other attempt is allowed.
    async fn send(&self, call: &Call<'_>, body: Bytes, retry: Retry) -> Result<Success, Error> {
        let running = self.calls.as_ref().map(|calls| calls.begin(call.service.signing_name, call.operation));
        let began = running.as_ref().map_or_else(SystemTime::now, |running| running.started);
        let (mut started, mut remaining) = (began, self.deadline);
        let mut attempts = 0;
        let mut effect_unknown = false;
        loop {
            let request = self.signed(call, body.clone()).map_err(|kind| {
                Error::new(kind, call.service.signing_name, call.operation, attempts, effect_unknown)
            })?;
            attempts += 1;
            let limit = self.attempt.min(remaining);
            let kind = match self.transport.send(request, Terms { started, limit, body: call.response }).await {
                Ok(response) if response.status().is_success() => {
                    let (head, body) = response.into_parts();
                    return Ok(Success { headers: head.headers, body, attempts });
                }
                Ok(response) => self.fault(call, &response),
                Err(TransportError::Timeout) if limit == remaining => ErrorKind::DeadlineExceeded,
                Err(error) => error.into(),
            };
            effect_unknown |= kind.may_have_taken_effect();

            let may_repeat = match retry {
                Retry::Safe => kind.is_transient(),
                Retry::OnlyIfNotSent => kind.is_transient_without_effect(),
            };
            // The clock is read only after a failure.
            let now = SystemTime::now();
            remaining = self.deadline.saturating_sub(now.duration_since(began).unwrap_or_default());
            match self.retries.pause_after(attempts) {
                Some(pause) if may_repeat && pause < remaining => {
                    self.transport.sleep(pause).await;
                    (started, remaining) = (now + pause, remaining - pause);
                }
                _ => {
                    return Err(Error::new(kind, call.service.signing_name, call.operation, attempts, effect_unknown));
                }
            }
        }
    }

    fn signed(&self, call: &Call<'_>, body: Bytes) -> Result<http::Request<Bytes>, ErrorKind> {
        let invalid = |reason: &dyn fmt::Display| ErrorKind::InvalidRequest { reason: reason.to_string() };
        let uri = call.service.endpoint.uri(call.path_and_query).map_err(|error| invalid(&error))?;
        let mut request = http::Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(call.content_type));
        if let Some(target) = call.target {
            headers.insert(X_AMZ_TARGET, HeaderValue::from_str(target).map_err(|error| invalid(&error))?);
        }
        for (name, value) in call.headers {
            headers.insert(name, value.clone());
        }
        let date = self.date.unwrap_or_else(SystemTime::now);
        self.signer.sign(&mut request, call.service.signing_name, date).map_err(|error| invalid(&error))?;
        Ok(request)
    }

    fn fault(&self, call: &Call<'_>, response: &http::Response<Bytes>) -> ErrorKind {
        let (status, body) = (response.status(), response.body());
        match call.protocol {
            Protocol::Query | Protocol::RestXml => ErrorKind::from_xml(status, body, self.verbatim_rejections),
            Protocol::Json | Protocol::RestJson => {
                let error_type = response.headers().get(X_AMZN_ERRORTYPE).and_then(|value| value.to_str().ok());
                ErrorKind::from_json(status, error_type, body, self.verbatim_rejections)
            }
        }
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("signer", &self.signer)
            .field("attempt", &self.attempt)
            .field("retries", &self.retries)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What all attempts of one logical call have in common.
struct Call<'a> {
    service: Service<'a>,
    operation: &'a str,
    method: Method,
    path_and_query: &'a str,
    content_type: &'static str,
    target: Option<&'a str>,
    headers: &'a [(HeaderName, HeaderValue)],
    protocol: Protocol,
    response: ResponseBody,
}

#[derive(Clone, Copy)]
enum Protocol {
    Json,
    Query,
    RestJson,
    RestXml,
}

impl<'a> Call<'a> {
    fn json(service: Service<'a>, version: JsonVersion, target: &'a str, response: ResponseBody) -> Self {
        Self {
            service,
            operation: target.rsplit('.').next().unwrap_or(target),
            method: Method::POST,
            path_and_query: "/",
            content_type: version.content_type(),
            target: Some(target),
            headers: &[],
            protocol: Protocol::Json,
            response,
        }
    }

    fn invalid_request(&self, error: &serde_json::Error) -> Error {
        let reason = format!("its input cannot be written as JSON: {error}");
        Error::new(ErrorKind::InvalidRequest { reason }, self.service.signing_name, self.operation, 0, false)
    }

    fn invalid_response(&self, reason: &str, attempts: u32) -> Error {
        let reason = reason.to_owned();
        Error::new(ErrorKind::InvalidResponse { reason }, self.service.signing_name, self.operation, attempts, false)
    }
}

/// A 2xx response.
struct Success {
    headers: HeaderMap,
    body: Bytes,
    attempts: u32,
}

impl Success {
    fn parse_json<O: DeserializeOwned>(&self, call: &Call<'_>) -> Result<O, Error> {
        let body: &[u8] = match (self.body.is_empty(), call.protocol) {
            (false, _) => &self.body,
            (true, Protocol::RestJson) => b"null",
            (true, _) => b"{}",
        };
        // serde_json's message can quote the response, so only the position is kept.
        serde_json::from_slice(body).map_err(|error| {
            let reason = format!("unexpected JSON at line {} column {}", error.line(), error.column());
            call.invalid_response(&reason, self.attempts)
        })
    }
}
