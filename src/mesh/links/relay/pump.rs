//! Packets between a tunnel and the byte stream that carries it: each after its length as a big-endian `u16`.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::mesh::fabric::{Duplex, ReceiveStream, SendStream, Tunnel};
use crate::mesh::links::counters::Counter;

/// Bytes offered to a read.
const READ: usize = 32 << 10;
/// Bytes of a packet's length.
const LENGTH: usize = 2;

/// Carries both ways until either ends.
pub async fn run(tunnel: Box<dyn Tunnel>, stream: Duplex) {
    let Duplex { mut send, mut receive } = stream;
    tokio::select! {
        _ = outward(&*tunnel, &mut *send) => {}
        _ = inward(&*tunnel, &mut *receive) => {}
    }
}

async fn outward(tunnel: &dyn Tunnel, send: &mut dyn SendStream) -> io::Result<()> {
    let mut frames = BytesMut::new();
    loop {
        tunnel.outgoing(&mut frames).await;
        send.write_all(&frames).await?;
        send.flush().await?;
    }
}

async fn inward(tunnel: &dyn Tunnel, receive: &mut dyn ReceiveStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ);
        if receive.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(packet) = next(&mut buffer) {
            tunnel.incoming(&packet);
        }
    }
}

/// Takes the next packet out, where it is there whole. What stays is at most one packet.
fn next(buffer: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes(buffer.first_chunk::<LENGTH>().copied()?));
    if buffer.len() < LENGTH + length {
        return None;
    }
    buffer.advance(LENGTH);
    Some(buffer.split_to(length))
}

/// Hands on what comes, without looking at it, until either side ends.
pub async fn hand_on(receive: &mut dyn ReceiveStream, send: &mut dyn SendStream, carried: &Counter) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ);
    loop {
        buffer.clear();
        let read = receive.read_buf(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        carried.add(read as u64);
        send.write_all(&buffer).await?;
        send.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;

    use super::*;

    #[test]
    fn packets_come_out_whole_however_they_are_cut() {
        let mut stream = BytesMut::new();
        for packet in [&b"one"[..], b"", &[7; 1200]] {
            stream.put_u16(u16::try_from(packet.len()).unwrap());
            stream.put_slice(packet);
        }
        for piece in 1..40 {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.put_slice(bytes);
                found.extend(std::iter::from_fn(|| next(&mut buffer)));
            }
            assert_eq!(found, [&b"one"[..], b"", &[7; 1200]], "in pieces of {piece}");
            assert!(buffer.is_empty());
        }
    }
}
