//! The limit of a booking: what moving its bytes costs when nothing is done with them.
//!
//! For each request it makes two unsigned `POST`s, one after the other, with heads and bodies as long as a real booking's,
//! reads the responses and responds `202` with as many bytes. It is built as the embedded host is: one thread a processor,
//! each with its own runtime and its own kept connections, and every message in one write.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Serve bookings without doing them.
#[derive(Parser)]
struct Options {
    /// The address to serve on.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where DynamoDB's stand-in listens.
    #[arg(long, value_name = "ADDRESS")]
    dynamodb: SocketAddr,
    /// Where SNS's stand-in listens.
    #[arg(long, value_name = "ADDRESS")]
    sns: SocketAddr,
    /// How long the first request is: its head and its body.
    #[arg(long, value_names = ["HEAD", "BODY"], num_args = 2)]
    put_bytes: Vec<usize>,
    /// How long the second request is: its head and its body.
    #[arg(long, value_names = ["HEAD", "BODY"], num_args = 2)]
    publish_bytes: Vec<usize>,
    /// How long the response's body is.
    #[arg(long)]
    response_bytes: usize,
}

/// A request that is the same each time.
struct Call {
    to: SocketAddr,
    headers: HeaderMap,
    body: Bytes,
}

struct Limit {
    calls: [Call; 2],
    response: Bytes,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcome = limit(&options).and_then(|limit| {
        let limit = Arc::new(limit);
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (limit, listener) = (limit.clone(), listener.try_clone()?);
                Ok(std::thread::spawn(move || run(limit, listener)))
            })
            .collect::<std::io::Result<_>>()?;
        for worker in workers {
            worker.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare-hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn limit(options: &Options) -> Result<Limit, Error> {
    let call = |to: SocketAddr, bytes: &[usize], body: &'static str, own: (&'static str, &'static str)| {
        let &[head_bytes, body_bytes] = bytes else { return Err(Error::from("a head and a body")) };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::try_from(to.to_string())?);
        headers.insert(HeaderName::from_static(own.0), HeaderValue::from_static(own.1));
        // The request line and the empty line, `content-length`, and this padding's own name.
        let written: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let rest = "POST / HTTP/1.1\r\n\r\n".len() + "content-length: \r\n".len() + body_bytes.to_string().len();
        let padding = head_bytes.saturating_sub(written + rest + "x-padding: \r\n".len());
        headers.insert("x-padding", HeaderValue::try_from("x".repeat(padding))?);
        let body = format!("{body:x<body_bytes$}");
        Ok(Call { to, headers, body: body.into() })
    };
    let put = call(options.dynamodb, &options.put_bytes, "", ("x-amz-target", "DynamoDB_20120810.PutItem"))?;
    let form = (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded");
    let publish = call(options.sns, &options.publish_bytes, "Action=Publish&", ("content-type", form.1))?;
    Ok(Limit { calls: [put, publish], response: "x".repeat(options.response_bytes).into() })
}

/// One thread: accepts, serves, and keeps its own connections.
fn run(limit: Arc<Limit>, listener: std::net::TcpListener) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async move {
        let listener = TcpListener::from_std(listener)?;
        let free: [Rc<Free>; 2] = Default::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (limit, free) = (limit.clone(), free.clone());
            let service = service_fn(move |request| {
                let (limit, free) = (limit.clone(), free.clone());
                async move { Ok::<_, Infallible>(limit.serve(&free, request).await) }
            });
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }))
}

/// Connections that nobody uses.
type Free = RefCell<Vec<SendRequest<Full<Bytes>>>>;

impl Limit {
    async fn serve(&self, free: &[Rc<Free>; 2], request: Request<Incoming>) -> Response<Full<Bytes>> {
        let served = async {
            request.into_body().collect().await?;
            for (call, free) in self.calls.iter().zip(free) {
                call.send(free).await?;
            }
            Ok::<_, Error>(())
        };
        let mut response = match served.await {
            Ok(()) => Response::new(Full::new(self.response.clone())),
            Err(error) => {
                eprintln!("bare-hyper: {error}");
                let mut response = Response::default();
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return response;
            }
        };
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Call {
    async fn send(&self, free: &Free) -> Result<(), Error> {
        let kept = free.borrow_mut().pop();
        let mut connection = match kept {
            Some(mut connection) => {
                connection.ready().await?;
                connection
            }
            None => {
                let stream = TcpStream::connect(self.to).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/");
        *request.headers_mut() = self.headers.clone();
        let response = connection.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the response of {} is {}", self.to, response.status()).into());
        }
        response.into_body().collect().await?;
        free.borrow_mut().push(connection);
        Ok(())
    }
}
