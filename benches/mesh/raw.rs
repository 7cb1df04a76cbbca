//! Bare quinn, to compare with: framed `MessagePack` on one stream, and bytes as fast as they go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use shoal::mesh::quic::Credentials;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::paper::Authority;
use super::{BODY, HANDSHAKES, IDLE_PEERS, IN_FLIGHT, Ping, RUN, Used, heap};

const ALPN: &[u8] = b"bare";

async fn pair(authority: &Authority) -> (Vec<quinn::Endpoint>, quinn::Connection, quinn::Connection) {
    let server = authority.node("b").server(&[ALPN]).expect("a configuration");
    let client = authority.node("a").client(&[ALPN]).expect("a configuration");
    let server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).expect("TLS 1.3")));
    let client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("TLS 1.3")));
    let there = quinn::Endpoint::server(server, ([127, 0, 0, 1], 0).into()).expect("a port");
    let mut here = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
    here.set_default_client_config(client);
    let at = there.local_addr().expect("bound");
    let accepting = async { there.accept().await.expect("open").await.expect("a handshake") };
    let (dialled, accepted) = tokio::join!(here.connect(at, "b").expect("a name"), accepting);
    (vec![here, there], dialled.expect("a handshake"), accepted)
}

/// Memory of connections that do nothing.
pub async fn idle(authority: &Authority) {
    let (ends, _dialled, _accepted) = pair(authority).await;
    let [here, there] = ends.try_into().expect("two ends");
    let at = there.local_addr().expect("bound");
    let (mut kept, mut held) = (Vec::with_capacity(2 * IDLE_PEERS + 400), Vec::new());
    for number in [200, IDLE_PEERS] {
        for _ in 0..number {
            let accepting = async { there.accept().await.expect("open").await.expect("a handshake") };
            let (dialled, accepted) = tokio::join!(here.connect(at, "b").expect("a name"), accepting);
            kept.push((dialled.expect("a handshake"), accepted));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.push(heap::held());
    }
    let each = (held[1] - held[0]) as f64 / (2 * IDLE_PEERS) as f64;
    println!("{:<40} {each:>11.0} bytes an end", "bare quinn, idle connection");
}

pub async fn calls(authority: &Authority) {
    let (_ends, dialled, accepted) = pair(authority).await;
    let (send, receive) = dialled.open_bi().await.expect("a stream");
    let mut write = FramedWrite::new(send, LengthDelimitedCodec::new());
    let mut read = FramedRead::new(receive, LengthDelimitedCodec::new());
    let echo = tokio::spawn(async move {
        let (send, receive) = accepted.accept_bi().await.expect("a stream");
        let mut write = FramedWrite::new(send, LengthDelimitedCodec::new());
        let mut read = FramedRead::new(receive, LengthDelimitedCodec::new()).ready_chunks(16);
        while let Some(frames) = read.next().await {
            for frame in frames {
                let Ok(frame) = frame else { return accepted };
                let ping: Ping = rmp_serde::from_slice(&frame).expect("a ping");
                write.feed(encode(&ping)).await.expect("fed");
            }
            if SinkExt::<Bytes>::flush(&mut write).await.is_err() {
                break;
            }
        }
        accepted
    });
    for (what, in_flight) in [("bare quinn, one at a time", 1), ("bare quinn, 64 in flight", IN_FLIGHT)] {
        let ping = Ping { id: 1, body: vec![7; BODY].into() };
        let (started, used) = (Instant::now(), Used::begin());
        let (mut sent, mut samples) = (std::collections::VecDeque::new(), Vec::new());
        while started.elapsed() < RUN {
            while sent.len() < in_flight {
                write.feed(encode(&ping)).await.expect("fed");
                sent.push_back(Instant::now());
            }
            SinkExt::<Bytes>::flush(&mut write).await.expect("flushed");
            for _ in 0..in_flight.min(16) {
                let frame = read.next().await.expect("open").expect("a frame");
                let _: Ping = rmp_serde::from_slice(&frame).expect("a ping");
                samples.push(sent.pop_front().expect("it was sent").elapsed());
            }
        }
        for _ in sent {
            let _ = read.next().await;
        }
        used.report(what, samples);
    }
    echo.abort();
}

fn encode(ping: &Ping) -> Bytes {
    rmp_serde::to_vec_named(ping).expect("a ping").into()
}

pub async fn bulk(authority: &Authority) {
    let (_ends, dialled, accepted) = pair(authority).await;
    let mut send = dialled.open_uni().await.expect("a stream");
    let reading = tokio::spawn(async move {
        let mut receive = accepted.accept_uni().await.expect("a stream");
        let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
        while let Ok(Some(read)) = receive.read(&mut buffer).await {
            bytes += read;
        }
        (bytes, accepted)
    });
    let (chunk, started, used) = (vec![7; 1 << 18], Instant::now(), Used::begin());
    while started.elapsed() < RUN {
        send.write_all(&chunk).await.expect("written");
    }
    send.finish().expect("ended");
    let (bytes, _accepted) = reading.await.expect("read");
    used.report_bulk("bare quinn, one stream", bytes);
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// Handshakes with the same papers and QUIC's defaults.
pub async fn handshakes(authority: &Authority) {
    let (ends, _dialled, _accepted) = pair(authority).await;
    let [here, there] = ends.try_into().expect("two ends");
    let at = there.local_addr().expect("bound");
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = there.accept().await {
            tokio::spawn(async move { incoming.await.ok() });
        }
    });
    let (started, used) = (Instant::now(), Used::begin());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..HANDSHAKES {
        let here = here.clone();
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while started.elapsed() < RUN {
                let before = Instant::now();
                here.connect(at, "b").expect("a name").await.expect("a handshake");
                samples.push(before.elapsed());
            }
            samples
        });
    }
    let samples = tasks.join_all().await.concat();
    used.report("bare quinn, handshakes, 32 at a time", samples);
    accepting.abort();
}
