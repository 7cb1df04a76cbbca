//! The cheapest client: HTTP/1.1 by hand over TLS, bodies counted and not read, so that the bench measures the node.

use std::sync::Arc;

use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;

/// Most bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// Where the node is, and as whom to speak.
#[derive(Clone)]
pub struct Door {
    address: String,
    tls: TlsConnector,
}

/// One connection.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub code: u16,
    pub bytes: usize,
    /// The body, where it was asked for.
    pub body: Vec<u8>,
}

impl Door {
    pub fn new(config: &kube::Config) -> Result<Self, Failure> {
        let tls = config.rustls_client_config()?;
        let uri = &config.cluster_url;
        let address = format!("{}:{}", uri.host().ok_or("no host")?, uri.port_u16().unwrap_or(443));
        Ok(Self { address, tls: TlsConnector::from(Arc::new(tls)) })
    }

    pub async fn connect(&self) -> Result<Wire, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
        Ok(Wire { stream, read: vec![0; READ_BYTES] })
    }
}

impl Wire {
    /// Sends a request and waits for its answer; `keep` says whether the body is wanted.
    pub async fn send(&mut self, head: &str, body: &[u8], keep: bool) -> Result<Answer, Failure> {
        let mut request = Vec::with_capacity(head.len() + body.len() + 96);
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(format!("host: bench\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.answer(keep).await
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), b"", true).await
    }

    async fn answer(&mut self, keep: bool) -> Result<Answer, Failure> {
        let mut have = 0;
        let head = loop {
            let got = self.stream.read(self.read.get_mut(have..).unwrap_or_default()).await?;
            if got == 0 {
                return Err("the connection ended".into());
            }
            have += got;
            let text = self.read.get(..have).unwrap_or_default();
            if let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = std::str::from_utf8(self.read.get(..head).unwrap_or_default())?.to_ascii_lowercase();
        let code = text.get(9..12).unwrap_or_default().parse()?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.ok_or("an answer without a length")?.trim().parse()?;
        let mut body = Vec::new();
        let mut left = length - (have - head);
        if keep {
            body.extend_from_slice(self.read.get(head..have).unwrap_or_default());
        }
        while left > 0 {
            let got = self.stream.read(&mut self.read).await?;
            if got == 0 {
                return Err("the connection ended within a body".into());
            }
            left = left.checked_sub(got).ok_or("more body than was said")?;
            if keep {
                body.extend_from_slice(self.read.get(..got).unwrap_or_default());
            }
        }
        Ok(Answer { code, bytes: length, body })
    }
}
