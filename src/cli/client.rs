//! A client of the API: where it is, who asks, and plain requests.
//!
//! `resources` knows what the API serves, `manifest` reads what the user wrote, `patch` compares the two.

pub mod manifest;
pub mod resources;
pub mod three_way;

use std::path::{Path, PathBuf};

use http::{Method, Request, header};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::arguments::ClientFlags;
use super::failure::Failure;
use super::settings::SYSTEM_DATA;

/// Asks for tables, or for objects where a resource has none.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Asks for objects.
pub const JSON: &str = "application/json";

/// A connection to the API.
pub struct Session {
    /// The client.
    pub client: Client,
    /// The namespace that is meant where none is named.
    pub namespace: String,
    url: String,
}

impl Session {
    /// Connects as the kubeconfig says.
    ///
    /// # Errors
    /// Where there is no kubeconfig or it cannot be used.
    pub async fn open(flags: &ClientFlags) -> Result<Self, Failure> {
        let path = find_kubeconfig(flags)?;
        let config = Kubeconfig::read_from(&path)
            .map_err(|error| Failure::from(error).context(&format!("cannot use {}", path.display())))?;
        let session = Self::connect(config, flags.server.clone(), flags.namespace.clone()).await;
        session.map_err(|failure| failure.context(&format!("cannot use {}", path.display())))
    }

    /// Connects to a server with the credentials of a kubeconfig's text.
    ///
    /// # Errors
    /// Where the kubeconfig or the address cannot be used.
    pub async fn from_text(kubeconfig: &str, server: &str) -> Result<Self, Failure> {
        Self::connect(Kubeconfig::from_yaml(kubeconfig)?, Some(server.parse()?), None).await
    }

    async fn connect(
        config: Kubeconfig,
        server: Option<http::Uri>,
        namespace: Option<String>,
    ) -> Result<Self, Failure> {
        let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        // A command that made something must not make it twice, and a person rather reads what is wrong than waits.
        config.default_retry = false;
        if let Some(server) = server {
            config.cluster_url = server;
        }
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let url = config.cluster_url.to_string();
        Ok(Self { client: Client::try_from(config)?, namespace, url })
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Reads a path.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Value, Failure> {
        self.send(request(Method::GET, path, accept, None)?).await
    }

    /// Reads a path that may not be there.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.client.request::<Value>(request(Method::GET, path, JSON, None)?).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Reads a path as text.
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        let request = request(Method::GET, path, "*/*", None)?;
        self.client.request_text(request).await.map_err(|error| self.explain(error))
    }

    /// Sends a body.
    pub async fn write(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, Failure> {
        self.send(request(method, path, JSON, Some((kind, body)))?).await
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Value, Failure> {
        self.client.request(request).await.map_err(|error| self.explain(error))
    }

    /// A client's error as a person reads it.
    pub fn explain(&self, error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.reason.is_empty() => {
                Failure::new(format!("the server says: {}", status.message))
            }
            kube::Error::Api(status) => Failure::new(format!("the server says {}: {}", status.reason, status.message)),
            kube::Error::HyperError(_) | kube::Error::Service(_) => Failure::from(error).context(&format!(
                "cannot reach the API at {} (is the node up? `sudo shoal up` starts one)",
                self.url()
            )),
            other => Failure::from(other),
        }
    }
}

/// A request without a body, or with one of a content type.
pub fn request(
    method: Method,
    path: &str,
    accept: &str,
    body: Option<(&str, &Value)>,
) -> Result<Request<Vec<u8>>, Failure> {
    let mut builder = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    let bytes = match body {
        Some((kind, value)) => {
            builder = builder.header(header::CONTENT_TYPE, kind);
            serde_json::to_vec(value)?
        }
        None => Vec::new(),
    };
    Ok(builder.body(bytes)?)
}

/// Text as it may stand in a query.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn find_kubeconfig(flags: &ClientFlags) -> Result<PathBuf, Failure> {
    if let Some(path) = &flags.kubeconfig {
        return Ok(path.clone());
    }
    if let Some(data) = &flags.data {
        return Ok(data.join("admin.kubeconfig"));
    }
    if let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
        // Of a list, as kubectl allows, the first file that is there.
        let paths: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let found = paths.iter().find(|path| path.exists()).or(paths.first());
        return found.cloned().ok_or_else(|| Failure::new("KUBECONFIG names no file"));
    }
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    let node = Path::new(SYSTEM_DATA).join("admin.kubeconfig");
    match node.try_exists() {
        Ok(true) => return Ok(node),
        Err(_) if !home.as_ref().is_some_and(|home| home.exists()) => {
            return Err(Failure::new(format!(
                "{} is only for root: use sudo, or copy it to ~/.kube/config",
                node.display()
            )));
        }
        _ => {}
    }
    home.filter(|home| home.exists()).ok_or_else(|| {
        Failure::new(format!(
            "no kubeconfig found; `sudo shoal up` makes {}, or name one with --kubeconfig or --data",
            node.display()
        ))
    })
}

/// Runs a client's command on a small runtime.
///
/// # Errors
/// The command's own.
pub fn run<T>(job: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(job);
    // Standard input may still be waited for.
    runtime.shutdown_background();
    outcome
}
