//! Verbs over HTTP: from a routed request to the registry and back. What is allowed was decided before.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};
use serde_json::Value;

use super::answer::{self, Answer, Payload, TableOptions};
use super::body::{self, Body};
use super::metrics::Held;
use super::negotiate::{self, Content, Shape};
use super::options::{DeleteOptions, ListOptions, PatchKind, WatchOptions, WriteOptions};
use super::registry::{Place, Written, face};
use super::route::Target;
use super::service::{Incoming, Service, header};
use super::{exec, log, review, stream};
use crate::kube::decode::{self, Decoded, Limits};
use crate::kube::resource::Verb;
use crate::kube::status::Status;
use crate::world::entropy::Entropy;

/// How long a watch lasts at least where the client does not say.
const WATCH_AT_LEAST: Duration = Duration::from_mins(30);

/// Serves a request on a resource.
pub async fn serve(
    service: &Service,
    target: Target,
    verb: &'static str,
    incoming: Incoming,
    shape: Shape,
    table: TableOptions,
) -> Result<Answer, Status> {
    offered(&target, verb)?;
    let request = Request { service, target, incoming };
    match (request.target.subresource.map(|sub| sub.name), verb) {
        (_, "watch") => request.watch(shape, table).await,
        (_, "list") => request.list().await,
        (Some("scale"), "get") => request.get_scale().await,
        (Some("scale"), _) => request.write_scale().await,
        (Some("binding"), _) => request.bind().await,
        (Some("eviction"), _) => request.evict().await,
        (_, "get") => request.get().await,
        (_, "create") if review::is_review(request.target.resource) => request.review().await,
        (_, "create") => request.create().await,
        (_, "update") => request.update().await,
        (_, "patch") => request.patch().await,
        (_, "delete") => request.delete().await,
        _ => request.delete_collection().await,
    }
}

/// Serves a subresource that is a stream.
pub async fn connect(service: &Service, target: &Target, incoming: Incoming) -> Result<Response<Body>, Status> {
    match (target.subresource.map(|sub| sub.name), &incoming.method) {
        (Some("log"), &Method::GET) => log::serve(service, target, &incoming.query).await,
        (Some("exec"), &(Method::GET | Method::POST)) => exec::serve(service, target, incoming).await,
        _ => Err(not_allowed()),
    }
}

fn offered(target: &Target, verb: &str) -> Result<(), Status> {
    let verbs = target.subresource.map_or(target.resource.verbs, |sub| sub.verbs);
    let create_on_object = verb == "create" && target.name.is_some() && target.subresource.is_none();
    let on_collection = matches!(verb, "update" | "patch") && target.name.is_none();
    if !create_on_object && !on_collection && verbs.iter().any(|one: &Verb| one.as_str() == verb) {
        return Ok(());
    }
    Err(not_allowed())
}

fn not_allowed() -> Status {
    Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

struct Request<'a> {
    service: &'a Service,
    target: Target,
    incoming: Incoming,
}

impl Request<'_> {
    fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    fn place(&self) -> Place<'_> {
        let subresource = self.target.subresource.map(|sub| sub.name);
        Place { resource: self.target.resource, subresource, namespace: &self.target.namespace, name: self.name() }
    }

    /// Takes and decodes the body, which must be an object.
    async fn object(&mut self) -> Result<Decoded, Status> {
        let content = negotiate::content(header(&self.incoming.headers, &CONTENT_TYPE), false)?;
        let bytes = body::read(std::mem::replace(&mut self.incoming.body, body::empty())).await?;
        match content {
            Content::Object(format) => decode::decode(&bytes, format, Limits::REQUEST),
            Content::Patch(..) => Err(negotiate::not_acceptable()),
        }
    }

    /// Like `object`, where there may be none: null then.
    async fn optional_object(&mut self) -> Result<Value, Status> {
        if http_body::Body::size_hint(&self.incoming.body).exact() == Some(0) {
            return Ok(Value::Null);
        }
        let content = negotiate::content(header(&self.incoming.headers, &CONTENT_TYPE), false)?;
        let bytes = body::read(std::mem::replace(&mut self.incoming.body, body::empty())).await?;
        match content {
            _ if bytes.is_empty() => Ok(Value::Null),
            Content::Object(format) => Ok(decode::decode(&bytes, format, Limits::REQUEST)?.value),
            Content::Patch(..) => Err(negotiate::not_acceptable()),
        }
    }

    async fn patch_body(&mut self) -> Result<(PatchKind, Value), Status> {
        let content = negotiate::content(header(&self.incoming.headers, &CONTENT_TYPE), true)?;
        let bytes = body::read(std::mem::replace(&mut self.incoming.body, body::empty())).await?;
        match content {
            Content::Patch(kind, format) => Ok((kind, decode::decode(&bytes, format, Limits::REQUEST)?.value)),
            Content::Object(_) => Err(negotiate::not_acceptable()),
        }
    }

    fn write_options(&self, duplicates: Vec<String>) -> Result<WriteOptions, Status> {
        Ok(WriteOptions { duplicates, ..WriteOptions::from_query(&self.incoming.query)? })
    }

    async fn get(self) -> Result<Answer, Status> {
        let version = self.incoming.query.get("resourceVersion").and_then(|text| text.parse().ok());
        let (record, stale) = self.service.registry.get(&self.place(), version).await?;
        Ok(Answer::ok(Payload::Object(self.target.resource, face(self.target.resource, &record)?)).warn(stale))
    }

    async fn list(self) -> Result<Answer, Status> {
        let options = ListOptions::from_query(&self.incoming.query)?;
        let listing = self.service.registry.list(self.target.resource, &self.target.namespace, &options).await?;
        let stale = listing.stale;
        Ok(Answer::ok(Payload::List(self.target.resource, listing)).warn(stale))
    }

    async fn create(mut self) -> Result<Answer, Status> {
        let Decoded { value, duplicates } = self.object().await?;
        let options = self.write_options(duplicates)?;
        let (registry, target) = (&self.service.registry, &self.target);
        if target.resource.namespaced && target.namespace.is_empty() {
            return Err(not_allowed());
        }
        let written =
            registry.create(&self.incoming.caller, target.resource, &target.namespace, value, &options).await?;
        Ok(self.written(written))
    }

    /// Answers a question that a client asks by creating it.
    async fn review(mut self) -> Result<Answer, Status> {
        let body = self.object().await?.value;
        let identity = &self.incoming.caller.identity;
        let answer = review::answer(self.target.resource, body, identity, &*self.service.authorizer)?;
        Ok(Answer::created(Payload::Plain(answer.to_string().into())))
    }

    async fn update(mut self) -> Result<Answer, Status> {
        let Decoded { value, duplicates } = self.object().await?;
        let options = self.write_options(duplicates)?;
        let written = self.service.registry.update(&self.incoming.caller, &self.place(), value, &options).await?;
        Ok(self.written(written))
    }

    async fn patch(mut self) -> Result<Answer, Status> {
        let (kind, patch) = self.patch_body().await?;
        let options = self.write_options(Vec::new())?;
        let registry = &self.service.registry;
        let written = registry.patch(&self.incoming.caller, &self.place(), kind, &patch, &options).await?;
        Ok(self.written(written))
    }

    fn written(&self, written: Written) -> Answer {
        let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let payload = Payload::Object(self.target.resource, written.value);
        Answer { code, payload, warnings: written.warnings }
    }

    async fn delete(mut self) -> Result<Answer, Status> {
        let asked = self.optional_object().await?;
        let options = DeleteOptions::read(&self.incoming.query, &asked)?;
        let deleted = self.service.registry.delete(&self.incoming.caller, &self.place(), &options).await?;
        let answer = deleted.answer(self.target.resource);
        if answer == deleted.value {
            return Ok(Answer::ok(Payload::Object(self.target.resource, answer)));
        }
        Ok(Answer::ok(Payload::Plain(answer)))
    }

    async fn delete_collection(mut self) -> Result<Answer, Status> {
        let asked = self.optional_object().await?;
        let options = DeleteOptions::read(&self.incoming.query, &asked)?;
        let list = ListOptions::from_query(&self.incoming.query)?;
        let (resource, namespace) = (self.target.resource, self.target.namespace.as_str());
        let registry = &self.service.registry;
        let items = registry.delete_collection(&self.incoming.caller, resource, namespace, &list, &options).await?;
        Ok(Answer::ok(Payload::Plain(collection(resource, &items, registry.store().revision().0))))
    }

    async fn get_scale(self) -> Result<Answer, Status> {
        let scale = self.service.registry.scale(&self.place()).await?;
        Ok(Answer::ok(Payload::Plain(scale.to_string().into())))
    }

    async fn write_scale(mut self) -> Result<Answer, Status> {
        let registry = &self.service.registry;
        let options = self.write_options(Vec::new())?;
        let scale = if self.incoming.method == Method::PATCH {
            let (kind, patch) = self.patch_body().await?;
            registry.patch_scale(&self.incoming.caller, &self.place(), kind, &patch, &options).await?
        } else {
            let body = self.object().await?.value;
            registry.update_scale(&self.incoming.caller, &self.place(), &body, &options).await?
        };
        Ok(Answer::ok(Payload::Plain(scale.to_string().into())))
    }

    async fn bind(mut self) -> Result<Answer, Status> {
        let body = self.object().await?.value;
        let options = self.write_options(Vec::new())?;
        self.service.registry.bind(&self.incoming.caller, &self.place(), &body, &options).await?;
        Ok(Answer::created(Payload::Plain(answer::success(None))))
    }

    async fn evict(mut self) -> Result<Answer, Status> {
        let body = self.object().await?.value;
        let dry_run = self.write_options(Vec::new())?.dry_run;
        self.service.registry.evict(&self.incoming.caller, &self.place(), &body, dry_run).await?;
        Ok(Answer::created(Payload::Plain(answer::success(None))))
    }

    async fn watch(self, shape: Shape, table: TableOptions) -> Result<Answer, Status> {
        let options = WatchOptions::from_query(&self.incoming.query)?;
        let permit = self.service.streams.clone().try_acquire_owned().map_err(|_| super::service::too_many())?;
        let (resource, name) = (self.target.resource, self.target.name.as_deref());
        let events = self.service.registry.watch(resource, &self.target.namespace, name, &options).await?;
        let stale = events.stale;
        let world = self.service.registry.world().clone();
        let timeout = timeout(&options, &*world.entropy);
        let held: Held = self.service.metrics.hold_stream();
        let stop = self.service.stop.clone();
        let style = stream::Style { resource, shape, table, bookmarks: options.bookmarks, timeout, world, stop, held };
        let lines = futures::StreamExt::map(stream::lines(events, style), move |line: io::Result<Bytes>| {
            let _held = &permit;
            line
        });
        Ok(Answer::ok(Payload::Whole(answer::typed("application/json", body::stream(lines)))).warn(stale))
    }
}

fn timeout(options: &WatchOptions, entropy: &dyn Entropy) -> Duration {
    if options.timeout_seconds > 0 {
        return Duration::from_secs(options.timeout_seconds.min(86_400));
    }
    let mut bytes = [0u8; 2];
    entropy.fill(&mut bytes);
    WATCH_AT_LEAST + Duration::from_secs(u64::from(u16::from_le_bytes(bytes)) % WATCH_AT_LEAST.as_secs())
}

fn collection(resource: &crate::kube::resource::Resource, items: &[Bytes], revision: u64) -> Bytes {
    let mut out = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{revision}"}},"items":["#,
        resource.kind,
        resource.api_version()
    )
    .into_bytes();
    out.extend_from_slice(&items.join(&b','));
    out.extend_from_slice(b"]}");
    out.into()
}
