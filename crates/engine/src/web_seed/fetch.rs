//! One part from a web seed: the request, the judgement of its head, and the bytes that are of use,
//! handed on as they come. Nothing is held but what one read brings.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::http::response::Parts;
use tokio::time::{Instant, timeout};
use webseed::{Body, Failure, Head, Pace, Request, Wanted, judge};

use crate::http::{AddressError, HttpError, Lines, Opened, PrivatePolicy};

/// Bytes of a busy script's answer that may say how many seconds to wait (BEP 17).
const SECONDS_BYTES_MAX: usize = 10;

/// Fetches parts, one at a time.
pub(crate) struct Fetcher {
    lines: Lines,
    policy: PrivatePolicy,
    began: Instant,
    pace: Pace,
}

/// A part that was not fetched whole.
#[derive(Debug)]
pub(crate) struct Unfetched {
    /// Bytes of it that came.
    pub(crate) came: u64,
    /// Why no more did; `None` when nobody wants them any more.
    pub(crate) failure: Option<Failure>,
}

impl Fetcher {
    /// `window`: how long next to nothing may come.
    pub(crate) fn new(lines: Lines, policy: PrivatePolicy) -> Self {
        Self { lines, policy, began: Instant::now(), pace: Pace::new(Duration::ZERO) }
    }

    /// Is as patient as that with a server that sends next to nothing.
    #[cfg(test)]
    pub(crate) fn impatient(mut self, window: Duration) -> Self {
        self.pace = Pace::with_window(Duration::ZERO, window);
        self
    }

    /// Time begins anew: it had nothing to do.
    pub(crate) fn rested(&mut self) {
        self.pace = Pace::new(self.began.elapsed());
    }

    /// Fetches what a request asks for, or the first bytes of it: how many. `sink` takes them, and
    /// says whether more are wanted.
    pub(crate) async fn fetch(
        &mut self,
        request: &Request,
        sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<u64, Unfetched> {
        let nothing = |failure| Unfetched { came: 0, failure: Some(failure) };
        let opened = self.lines.get(&request.url, request.range, self.policy).await;
        let opened = opened.map_err(|error| nothing(failure(&error)))?;
        let body = match judge(&head(&opened.head), &request.wanted) {
            Ok(body) => body,
            Err(failure) => {
                let failure = asks_to_wait(failure, request, opened.body).await;
                self.lines.close(); // the body is not read
                return Err(nothing(failure));
            }
        };
        let read = self.read(opened, body, sink).await;
        if read.is_err() || body.leaves_rest {
            self.lines.close();
        }
        read
    }

    async fn read(
        &mut self,
        opened: Opened,
        wanted: Body,
        mut sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<u64, Unfetched> {
        let Opened { mut body, host, .. } = opened;
        let (mut skip, mut came) = (wanted.skip, 0);
        let fails = |came, failure| Err(Unfetched { came, failure: Some(failure) });
        loop {
            let left = wanted.take - came;
            if left == 0 && (wanted.leaves_rest || body.is_end_stream()) {
                return Ok(came);
            }
            let patience = self.pace.due().saturating_sub(self.began.elapsed());
            let frame = match timeout(patience, body.frame()).await {
                Err(_) => return fails(came, Failure::TooSlow),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let error = crate::http::exchange_error(error, &host);
                    return fails(came, Failure::Broken(error.to_string()));
                }
                Ok(None) if left == 0 => return Ok(came),
                Ok(None) => {
                    return fails(came, Failure::WrongLength { wanted: wanted.take, given: came });
                }
            };
            let Ok(bytes) = Frame::into_data(frame) else { continue };
            if !self.pace.got(self.began.elapsed(), bytes.len() as u64) {
                return fails(came, Failure::TooSlow);
            }
            let skipped = skip.min(bytes.len() as u64);
            skip -= skipped;
            let useful = &bytes[skipped as usize..];
            if useful.len() as u64 > left && !wanted.leaves_rest {
                let given = came + useful.len() as u64;
                return fails(came, Failure::WrongLength { wanted: wanted.take, given });
            }
            let useful = &useful[..useful.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            came += useful.len() as u64;
            if !sink(useful) {
                return Err(Unfetched { came, failure: None });
            }
        }
    }
}

/// The head as the judge wants it.
fn head(parts: &Parts) -> Head<'_> {
    let value = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse().ok();
    Head {
        status: parts.status.as_u16(),
        length: value(CONTENT_LENGTH).and_then(number),
        range: value(CONTENT_RANGE),
        encoding: value(CONTENT_ENCODING),
        retry_after: value(RETRY_AFTER),
    }
}

/// A busy script says in its body how many seconds to wait (BEP 17).
async fn asks_to_wait(failure: Failure, request: &Request, mut body: Incoming) -> Failure {
    if failure != (Failure::Busy { wait: None }) || !matches!(request.wanted, Wanted::Body { .. }) {
        return failure;
    }
    let Ok(Some(Ok(frame))) = timeout(Duration::from_secs(2), body.frame()).await else {
        return failure;
    };
    let bytes = Frame::into_data(frame).unwrap_or_default();
    let text = Some(&bytes[..]).filter(|bytes| bytes.len() <= SECONDS_BYTES_MAX);
    let head = Head { status: 503, retry_after: text, ..Head::default() };
    judge(&head, &request.wanted).err().unwrap_or(failure)
}

/// What an error of the client says about the seed.
fn failure(error: &HttpError) -> Failure {
    let words = error.to_string();
    match error {
        HttpError::Address(AddressError::Forbidden { .. })
        | HttpError::Invalid(_)
        | HttpError::Scheme { .. }
        | HttpError::TooManyRedirects { .. }
        | HttpError::RedirectLoop { .. }
        | HttpError::Downgrade { .. }
        | HttpError::BadRedirect { .. }
        | HttpError::Request { .. } => Failure::BadUrl(words),
        HttpError::Tls { .. } if error.is_untrusted() => Failure::Untrusted(words),
        HttpError::Address(_)
        | HttpError::NoRoute { .. }
        | HttpError::Connect { .. }
        | HttpError::Tls { .. }
        | HttpError::TlsSetup(_) => Failure::Unreachable(words),
        _ => Failure::Broken(words),
    }
}
