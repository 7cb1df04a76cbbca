//! The request path as clients see it: requests in, answers out, on a real store.

mod cluster;
mod documents;
mod objects;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;
use crate::api::admission::{DefaultToleration, ServiceAddresses, standard};
use crate::api::authz::BuiltIn;
use crate::api::body;
use crate::api::gateway::{ContainerRef, LogOptions};
use crate::runtime::{ExecSession, ExecSpec};
use crate::store::{Store, StoreOptions};
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SeededEntropy;

/// An API with the default namespace, on a store in a directory of its own.
pub struct Api {
    pub service: Arc<Service>,
    _dir: tempfile::TempDir,
}

/// An answer, read.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub text: String,
    pub body: Value,
}

struct Nowhere;

#[async_trait]
impl NodeGateway for Nowhere {
    async fn logs(
        &self,
        container: &ContainerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        let line = format!("{} on {}: {:?}\n", container.container, container.node, options.tail_lines);
        Ok(Box::pin(futures::stream::iter([Ok(Bytes::from(line))])))
    }

    /// A process that says what it hears, and ends with 3 at the end of its input.
    async fn exec(&self, _: &ContainerRef, _: &ExecSpec) -> Result<ExecSession, Status> {
        let (stdin, stdout) = tokio::io::duplex(64);
        let (ended, exit) = tokio::sync::oneshot::channel();
        let (mut heard, (said, mut say)) = (stdout, tokio::io::duplex(64));
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut heard, &mut say).await;
            let _ = ended.send(3);
        });
        Ok(ExecSession { stdin: Some(Box::new(stdin)), stdout: Box::new(said), stderr: None, resize: None, exit })
    }
}

impl Api {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world =
            World { clock: Arc::new(SystemClock), entropy: Arc::new(SeededEntropy::new(7)), disk: Arc::new(RealDisk) };
        let store = Store::open(StoreOptions::new(dir.path(), "n1"), world.clone()).await.unwrap();
        let registry = Registry::new(
            store,
            world,
            standard(ServiceAddresses::default(), DefaultToleration { wait: Duration::from_secs(5) }),
        );
        let service = Service::new(registry, Arc::new(Nowhere), Arc::new(BuiltIn), &Limits::default());
        let api = Self { service, _dir: dir };
        api.ok("POST", "/api/v1/namespaces", json!({ "metadata": { "name": "default" } })).await;
        api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", json!({ "metadata": { "name": "default" } }))
            .await;
        api
    }

    pub async fn raw(&self, request: Request<body::Body>, identity: Option<Identity>) -> Response<body::Body> {
        let peer = Peer { certified: identity, address: None };
        self.service.call(request, &peer).await
    }

    /// As administrator, with headers.
    pub async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], bytes: impl Into<Bytes>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.raw(request.body(body::full(bytes.into())).unwrap(), Some(Identity::admin())).await).await
    }

    pub async fn send(&self, method: &str, path: &str, sent: Value) -> Reply {
        let bytes = if sent.is_null() { Bytes::new() } else { sent.to_string().into() };
        self.with(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], bytes).await
    }

    pub async fn patch(&self, path: &str, kind: &str, sent: Value) -> Reply {
        let kind = format!("application/{kind}+json");
        self.with("PATCH", path, &[(CONTENT_TYPE.as_str(), &kind)], sent.to_string()).await
    }

    pub async fn ok(&self, method: &str, path: &str, sent: Value) -> Value {
        let reply = self.send(method, path, sent).await;
        assert!(reply.code < 300, "{method} {path}: {reply:?}");
        reply.body
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, Value::Null).await
    }

    pub async fn table(&self, path: &str) -> Value {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        self.with("GET", path, &[(ACCEPT.as_str(), accept)], Bytes::new()).await.body
    }

    /// The first events of a watch.
    pub async fn events(&self, path: &str, count: usize) -> Vec<Value> {
        let mut watch = self.watch(path).await;
        watch.take(count).await
    }

    pub async fn watch(&self, path: &str) -> Lines {
        let request = Request::builder().uri(path).body(body::empty()).unwrap();
        let response = self.raw(request, Some(Identity::admin())).await;
        assert_eq!(response.status(), 200, "{path}");
        Lines { body: response.into_body(), rest: String::new() }
    }
}

pub struct Lines {
    body: body::Body,
    rest: String,
}

impl Lines {
    pub async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            while let Some((line, rest)) = self.rest.split_once('\n') {
                events.push(serde_json::from_str(line).unwrap());
                self.rest = rest.to_owned();
                if events.len() == count {
                    return events;
                }
            }
            let wait = std::time::Duration::from_secs(5);
            let frame =
                tokio::time::timeout(wait, self.body.frame()).await.unwrap_or_else(|_| panic!("after {events:?}"));
            let Some(frame) = frame else { return events };
            self.rest.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
        events
    }
}

pub async fn read(response: Response<body::Body>) -> Reply {
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Reply { code: parts.status.as_u16(), headers: parts.headers, text, body }
}

pub fn config_map(name: &str, value: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "v": value } }, "data": { "k": value } })
}

pub fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}
