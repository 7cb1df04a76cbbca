//! Gzip for answers that are worth it: large ones, to clients that ask for it, over a wire.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, BodyStream};

use super::authn::Peer;
use super::body::{self, Body};
use super::service::header;

/// Smaller answers are sent as they are (Kubernetes' own threshold).
const MIN_BYTES: u64 = 128 << 10;

/// Whether the client asks for it and gains from it: on the same machine, compressing costs more than sending.
pub fn wanted(headers: &HeaderMap, peer: &Peer) -> bool {
    let offers = header(headers, &ACCEPT_ENCODING).split(',').map(str::trim);
    !peer.is_near() && offers.into_iter().any(|offer| offer == "gzip" || offer.starts_with("gzip;"))
}

/// Compresses an answer whose length is known and large; others, and streams, stay as they are.
pub fn compressed(response: Response<Body>) -> Response<Body> {
    let large = http_body::Body::size_hint(response.body()).exact().is_some_and(|length| length > MIN_BYTES);
    if !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, body::stream(gzip(body)))
}

fn gzip(body: Body) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send {
    let chunks = BodyStream::new(body.map_frame(|frame| frame));
    let state = Some((chunks, GzEncoder::new(Vec::new(), Compression::fast())));
    futures::stream::try_unfold(state, |state| async move {
        let Some((mut chunks, mut encoder)) = state else { return Ok(None) };
        while let Some(frame) = chunks.next().await {
            let Ok(data) = frame?.into_data() else { continue };
            encoder.write_all(&data)?;
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Ok(Some((Bytes::from(ready), Some((chunks, encoder)))));
            }
        }
        let rest = encoder.finish()?;
        Ok(Some((Bytes::from(rest), None)))
    })
}
