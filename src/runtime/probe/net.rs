//! Probes over real sockets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Prober, Target};

/// Most bytes of an answer that are read (kubelet's bound).
const MAX_ANSWER_BYTES: usize = 10 * 1024;

/// Asks over the node's network.
pub struct NetProber {
    tls: Arc<ClientConfig>,
}

impl NetProber {
    /// Takes no settings.
    ///
    /// # Errors
    /// Where the TLS library has no protocol version to offer.
    pub fn new() -> Result<Arc<Self>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = Arc::new(TrustAnything(Arc::clone(&provider)));
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(trust)
            .with_no_client_auth();
        Ok(Arc::new(Self { tls: Arc::new(tls) }))
    }

    async fn ask(&self, target: &Target) -> Result<(), String> {
        match target {
            Target::Tcp { host, port } => connect(host, *port).await.map(drop),
            Target::Http { tls, host, port, path, headers } => {
                let stream = connect(host, *port).await?;
                let request = request(*tls, host, *port, path, headers)?;
                if !tls {
                    return exchange(stream, request).await;
                }
                let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
                exchange(connector.connect(name, stream).await.map_err(|error| error.to_string())?, request).await
            }
        }
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(&self, target: &Target, timeout: Duration) -> Result<(), String> {
        let answer = tokio::time::timeout(timeout, self.ask(target)).await;
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        let result = answer.unwrap_or_else(|_| Err(late.to_owned()));
        result.map_err(|error| match target {
            Target::Http { tls, host, port, path, .. } if !error.starts_with("HTTP probe failed") => {
                let scheme = if *tls { "https" } else { "http" };
                format!("Get \"{scheme}://{host}:{port}{path}\": {error}")
            }
            _ => error,
        })
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    stream.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {host}:{port}: connect: connection refused"),
        _ => format!("dial tcp {host}:{port}: {error}"),
    })
}

fn request(
    tls: bool,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<Request<Empty<Bytes>>, String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let default_port = if tls { 443 } else { 80 };
    let authority = if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "kube-probe/1.36")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let _ = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        match status.as_u16() {
            200..400 => Ok(()),
            code => Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    };
    // The connection lives no longer than the exchange: nothing is spawned.
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        result = &mut answer => result,
        result = &mut connection => match result {
            Ok(()) => answer.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Probes do not verify certificates, as kubelet's do not.
#[derive(Debug)]
struct TrustAnything(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
