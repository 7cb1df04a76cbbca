//! The request path: every request passes the same layers, in the order that `call` shows.
//!
//! causal id, bound on requests in flight, authentication, routing, authorization, body and admission (in the verbs),
//! encoding, counting. It needs no socket: listeners, benches and the simulator call it alike.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use http::header::{ACCEPT, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::answer::{self, TableOptions};
use super::authn::{self, Peer};
use super::authz::{self, Action, Authorizer, Named};
use super::body::{self, Body};
use super::cluster::{self, Cluster};
use super::gateway::NodeGateway;
use super::identity::Identity;
use super::metrics::{Labels, Metrics};
use super::negotiate::{self, Accepted, Encoding};
use super::query::Query;
use super::registry::{Caller, Registry};
use super::route::{self, Route, Target};
use super::{compress, documents, health, verbs};
use crate::kube::print::IncludeObject;
use crate::kube::status::Status;
use crate::world::entropy::Entropy;

/// Bounds of the request path.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests being served, watches and streams aside.
    pub in_flight: usize,
    /// Watches, logs and sessions being served.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 600, streams: 16_384 }
    }
}

/// The API of a node.
pub struct Service {
    /// Verbs on resources.
    pub registry: Arc<Registry>,
    /// Reaches pods where they run.
    pub gateway: Arc<dyn NodeGateway>,
    /// Counts and times.
    pub metrics: Metrics,
    /// Whether the node can serve.
    pub readiness: health::Readiness,
    /// Ends streams when the process stops.
    pub stop: CancellationToken,
    /// Sessions that have left the request path.
    pub sessions: TaskTracker,
    /// The cluster's own paths; 503 until it is set.
    pub cluster: OnceLock<Arc<dyn Cluster>>,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) documents: documents::Documents,
    in_flight: Semaphore,
    pub(super) streams: Arc<Semaphore>,
    causes: AtomicU64,
}

/// A request, read as far as its body.
pub struct Incoming {
    /// Method.
    pub method: Method,
    /// Decoded query.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, unread.
    pub body: Body,
    /// Who asks.
    pub caller: Caller,
    /// What the other side is.
    pub peer: Peer,
    /// The way out of HTTP, where the connection offers one.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Service {
    /// An API over a registry.
    pub fn new(
        registry: Arc<Registry>,
        gateway: Arc<dyn NodeGateway>,
        authorizer: Arc<dyn Authorizer>,
        limits: &Limits,
    ) -> Arc<Self> {
        let first_cause = first_cause(&*registry.world().entropy);
        Arc::new(Self {
            registry,
            gateway,
            metrics: Metrics::new(),
            readiness: health::Readiness::default(),
            stop: CancellationToken::new(),
            sessions: TaskTracker::new(),
            cluster: OnceLock::new(),
            authorizer,
            documents: documents::Documents::default(),
            in_flight: Semaphore::new(limits.in_flight),
            streams: Arc::new(Semaphore::new(limits.streams)),
            causes: AtomicU64::new(first_cause),
        })
    }

    /// A causal id that this process has not used.
    pub fn next_cause(&self) -> u64 {
        self.causes.fetch_add(1, Ordering::Relaxed)
    }

    /// Serves a request.
    pub async fn call(&self, request: Request<Body>, peer: &Peer) -> Response<Body> {
        let cause = self.next_cause();
        let id = format!("{cause:016x}");
        let span = tracing::info_span!("request", cause = id, method = %request.method(), path = request.uri().path());
        let mut response = self.bounded(request, peer, cause).instrument(span.clone()).await;
        span.in_scope(|| tracing::debug!(code = response.status().as_u16(), "answered"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HeaderName::from_static("audit-id"), id);
        }
        response
    }

    async fn bounded(&self, request: Request<Body>, peer: &Peer, cause: u64) -> Response<Body> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return answer::failure(&too_many(), Encoding::Json);
        };
        let _held = self.metrics.hold_request();
        let started = self.registry.world().clock.now();
        let mut labels = Labels { verb: "other", group: "", resource: "", subresource: "", code: 0 };
        let response = self.answered(request, peer, cause, &mut labels).await;
        labels.code = response.status().as_u16();
        self.metrics.answered(&labels, self.registry.world().clock.now().since(started));
        response
    }

    async fn answered(&self, request: Request<Body>, peer: &Peer, cause: u64, labels: &mut Labels) -> Response<Body> {
        let compression = compress::wanted(request.headers(), peer);
        let head_only = request.method() == Method::HEAD;
        let accepted = negotiate::accepted(header(request.headers(), &ACCEPT));
        let encoding = accepted.as_ref().map_or(Encoding::Json, |accepted| accepted.encoding);
        match self.routed(request, peer, cause, labels, accepted).await {
            Ok(response) if head_only => body::head(response),
            Ok(response) if compression => compress::compressed(response),
            Ok(response) => response,
            Err(status) => answer::failure(&status, encoding),
        }
    }

    async fn routed(
        &self,
        request: Request<Body>,
        peer: &Peer,
        cause: u64,
        labels: &mut Labels,
        accepted: Result<Accepted, Status>,
    ) -> Result<Response<Body>, Status> {
        let identity = authn::authenticate(peer, request.headers())?;
        let path = request.uri().path().to_owned();
        let route = route::parse(&path);
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let verb = verb(request.method(), &route, &query);
        authz::check(&*self.authorizer, &action(&identity, verb, &path, &route))?;
        let (mut parts, body) = request.into_parts();
        let incoming = Incoming {
            upgrade: parts.extensions.remove(),
            method: parts.method,
            query,
            headers: parts.headers,
            body,
            caller: Caller::new(identity, cause),
            peer: peer.clone(),
        };
        match route {
            Route::Unknown => Err(Status::no_such_path()),
            Route::Other if cluster::is_cluster_path(&path) => {
                let serving: BoxFuture<'_, _> = Box::pin(cluster::serve(self, &path, incoming));
                serving.await
            }
            Route::Other => documents::serve(self, &path, &incoming),
            Route::Resource(target) => {
                count_as(labels, verb, &target);
                self.resource(target, verb, incoming, accepted).await
            }
        }
    }

    async fn resource(
        &self,
        target: Target,
        verb: &'static str,
        incoming: Incoming,
        accepted: Result<Accepted, Status>,
    ) -> Result<Response<Body>, Status> {
        let with = table_options(&incoming.query)?;
        if target.subresource.is_some_and(|sub| matches!(sub.name, "log" | "exec")) {
            let connecting: BoxFuture<'_, _> = Box::pin(verbs::connect(self, &target, incoming));
            return connecting.await;
        }
        let accepted = accepted?;
        let deprecation = target.resource.deprecation.map(str::to_owned);
        let serving: BoxFuture<'_, _> = Box::pin(verbs::serve(self, target, verb, incoming, accepted.shape, with));
        let mut answer = serving.await?;
        answer.warnings.extend(deprecation);
        answer::write(answer, accepted, self.registry.world().clock.now(), with)
    }
}

/// Spreads the causal ids of restarted processes apart; never zero, which means "none".
fn first_cause(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0u8; 8];
    entropy.fill(&mut bytes);
    (u64::from_le_bytes(bytes) >> 1).max(1)
}

pub(super) fn too_many() -> Status {
    let mut status = Status::new(429, "TooManyRequests", "Too many requests, please try again later.");
    status.retry_after_seconds = Some(1);
    status
}

/// A header's text; empty where it is missing or not text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The verb that authorization and metrics know a request by.
fn verb(method: &Method, route: &Route, query: &Query) -> &'static str {
    let target = match route {
        Route::Resource(target) => Some(target),
        Route::Other | Route::Unknown => None,
    };
    let Some(target) = target else { return plain_verb(method) };
    let collection = target.name.is_none();
    match method.as_str() {
        "GET" | "HEAD" if target.watch || (collection && query.flag("watch")) => "watch",
        "GET" | "HEAD" if collection => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if collection => "deletecollection",
        "DELETE" => "delete",
        _ => "other",
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

fn action<'a>(identity: &'a Identity, verb: &'static str, path: &'a str, route: &'a Route) -> Action<'a> {
    let object = match route {
        Route::Resource(target) => Some(Named {
            resource: target.resource,
            subresource: target.subresource.map_or("", |sub| sub.name),
            namespace: &target.namespace,
            name: target.name.as_deref().unwrap_or_default(),
        }),
        Route::Other | Route::Unknown => None,
    };
    Action { identity, verb, path, object }
}

fn count_as(labels: &mut Labels, verb: &'static str, target: &Target) {
    labels.verb = verb;
    labels.group = target.resource.id.group;
    labels.resource = target.resource.id.plural;
    labels.subresource = target.subresource.map_or("", |sub| sub.name);
}

fn table_options(query: &Query) -> Result<TableOptions, Status> {
    let text = query.get("includeObject").unwrap_or_default();
    let include = IncludeObject::parse(text)
        .ok_or_else(|| Status::bad_request(format!("unrecognized includeObject value: {text:?}")))?;
    Ok(TableOptions { include, no_headers: false })
}

#[cfg(test)]
pub(super) mod tests;
