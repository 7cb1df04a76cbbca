//! Listeners as clients see them: TLS, HTTP versions, client certificates, upgrades.

use std::net::SocketAddr;

use bytes::Buf;
use futures::{SinkExt, StreamExt};
use http::Version;
use http_body_util::Full;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;
use crate::api::service::tests::Api;
use crate::mesh::join::Shut;
use crate::mesh::quic::{Credentials, CredentialsError, Endpoint, Limits};
use crate::model::NodeId;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, user: &str, group: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, protocols: &[&[u8]]) -> rustls::ServerConfig {
        let (certificate, key) = self.leaf("server", "servers");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// The API's certificates on the mesh's port.
struct Material(std::sync::Arc<Authority>);

impl Credentials for Material {
    fn server(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CredentialsError> {
        Ok(self.0.server(alpn))
    }

    fn client(&self, _: &[&[u8]]) -> Result<rustls::ClientConfig, CredentialsError> {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    }

    fn peer(&self, _: &[CertificateDer<'_>]) -> Result<NodeId, String> {
        Err("nobody is a node here".into())
    }
}

struct Running {
    address: SocketAddr,
    authority: Arc<Authority>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    api: Api,
}

async fn start() -> Running {
    let (api, authority) = (Api::start().await, Arc::new(Authority::new()));
    let config = ListenConfig { address: ([127, 0, 0, 1], 0).into(), connections: 100 };
    let listeners = bind(&config, authority.server(TCP_PROTOCOLS)).await.unwrap();
    let (address, stop) = (listeners.address(), CancellationToken::new());
    let port = Endpoint::bind(address, Arc::new(Material(authority.clone())), Limits::default()).unwrap();
    let listeners = listeners.with_http3(port.http3().unwrap());
    tokio::spawn(async move { port.run(Arc::new(Shut(bytes::Bytes::new()))).await });
    let task = tokio::spawn(listeners.serve(Arc::clone(&api.service), stop.clone()));
    Running { address, authority, stop, task, api }
}

impl Running {
    fn client(&self, as_admin: bool, protocol: &[u8]) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if as_admin {
            let (certificate, key) = self.authority.leaf("admin", "system:masters");
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    async fn connect(&self, as_admin: bool, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.client(as_admin, protocol)));
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    async fn get(&self, as_admin: bool, http2: bool, path: &str) -> (u16, Version, bool) {
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let io = TokioIo::new(self.connect(as_admin, protocol).await);
        let uri = format!("https://localhost:{}{path}", self.address.port());
        let request = Request::get(uri).body(Full::<bytes::Bytes>::default()).unwrap();
        let response = if http2 {
            let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            send.send_request(request).await.unwrap()
        } else {
            let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            send.send_request(request).await.unwrap()
        };
        let (code, version) = (response.status().as_u16(), response.version());
        let alternative = response.headers().contains_key(ALT_SVC);
        response.into_body().collect().await.unwrap();
        (code, version, alternative)
    }

    async fn get_h3(&self, as_admin: bool, path: &str) -> (u16, String) {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.client(as_admin, b"h3")).unwrap();
        let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connection = endpoint.connect(self.address, "localhost").unwrap().await.unwrap();
        let (mut driver, mut send) = h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
        let drive = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let mut stream = send.send_request(request).await.unwrap();
        stream.finish().await.unwrap();
        let code = stream.recv_response().await.unwrap().status().as_u16();
        let mut text = Vec::new();
        while let Some(mut data) = stream.recv_data().await.unwrap() {
            text.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        drive.abort();
        (code, String::from_utf8(text).unwrap())
    }
}

#[tokio::test]
async fn every_http_version_is_served_and_certificates_say_who_asks() {
    let running = start().await;
    for (as_admin, http2, path, code) in [
        (true, false, "/api/v1/pods", 200),
        (true, true, "/api/v1/pods", 200),
        (false, false, "/api/v1/pods", 401),
        (false, true, "/version", 200),
    ] {
        let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        assert_eq!(running.get(as_admin, http2, path).await, (code, version, true), "{path}");
    }
    let (code, text) = running.get_h3(true, "/api/v1/namespaces").await;
    assert_eq!(code, 200);
    assert!(text.contains("NamespaceList"), "{text}");
    assert_eq!(running.get_h3(false, "/api/v1/namespaces").await.0, 401);
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn what_is_not_http_or_too_large_does_not_hurt() {
    let running = start().await;
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    let mut long = running.connect(true, b"http/1.1").await;
    let head = format!("GET /version HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let _ = long.write_all(head.as_bytes()).await;
    let mut answer = vec![0; 64];
    let read = long.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(running.get(false, true, "/healthz").await.0, 200);
}

#[tokio::test]
async fn exec_carries_bytes_both_ways_and_ends_with_the_exit_code() {
    let running = start().await;
    let mut pod = crate::api::service::tests::pod("p");
    pod["spec"]["nodeName"] = "n1".into();
    running.api.ok("POST", "/api/v1/namespaces/default/pods", pod).await;
    let query = "command=sh&stdin=true&stdout=true&stderr=true";
    let mut request =
        format!("wss://localhost/api/v1/namespaces/default/pods/p/exec?{query}").into_client_request().unwrap();
    let protocols = "v5.channel.k8s.io, v4.channel.k8s.io".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocols);
    let stream = running.connect(true, b"http/1.1").await;
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    for message in [&b"\0hello"[..], &b"\xff\0"[..]] {
        socket.send(Message::Binary(message.to_vec().into())).await.unwrap();
    }
    let (mut said, mut end) = (Vec::new(), serde_json::Value::Null);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(data) = message else { continue };
        match data.split_first() {
            Some((1, text)) => said.extend_from_slice(text),
            Some((3, status)) => end = serde_json::from_slice(status).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, b"hello");
    assert_eq!(end["details"]["causes"][0], serde_json::json!({ "reason": "ExitCode", "message": "3" }));
}
