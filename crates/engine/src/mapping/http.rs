//! One HTTP exchange with a gateway: no redirect, no more bytes than there can be, and a time limit.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use portmap::igd::{BODY_MAX, Call, Service};
use portmap::ssdp::Location;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::{Network, Purpose};

/// Gateways are slow, and near.
const LIMIT: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// By which sockets it is asked.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) network: &'a Network,
    /// From this address of ours, if it matters from which.
    pub(super) from: Option<Ipv6Addr>,
}

impl<'a> From<&'a Network> for Way<'a> {
    fn from(network: &'a Network) -> Self {
        Self { network, from: None }
    }
}

/// Fetches a document; gives its status and its bytes, or in words why not.
pub(super) async fn get<'a>(
    way: impl Into<Way<'a>>,
    location: &Location,
) -> Result<(u16, Bytes), String> {
    let request = Request::get(&location.path).body(Full::default());
    exchange(way.into(), location.addr, request).await
}

/// Calls a service.
pub(super) async fn call<'a>(
    way: impl Into<Way<'a>>,
    service: &Service,
    call: Call,
) -> Result<(u16, Bytes), String> {
    let request = Request::post(&service.control.path)
        .header("SOAPAction", service.action(call))
        .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
        .body(Full::new(Bytes::from(service.body(call))));
    exchange(way.into(), service.control.addr, request).await
}

async fn exchange(
    way: Way<'_>,
    addr: SocketAddr,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
) -> Result<(u16, Bytes), String> {
    let mut request = request.map_err(|error| error.to_string())?;
    // The number of a link means nothing to the other side.
    let host = SocketAddr::new(addr.ip(), addr.port()).to_string().parse();
    if let (Ok(host), Ok(close)) = (host, "close".parse()) {
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONNECTION, close);
    }
    let talk = async {
        let stream = match way.from {
            Some(from) => way.network.connect_from(from, addr, Purpose::PortMapping).await,
            None => way.network.connect(addr, Purpose::PortMapping).await,
        };
        let stream = stream.map_err(|error| error.to_string())?;
        let connecting =
            http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
        let (mut sender, connection) = connecting.await.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new(); // ends the connection when this ends
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((head.status.as_u16(), body.to_bytes()))
    };
    timeout(LIMIT, talk)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}
