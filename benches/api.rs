//! The request path without sockets: creates, lists and watches through `Service::call`, each beside a peer in the same
//! run, and what each step of a create costs.
//!
//! `cargo bench --bench api`. The store is below `target/bench`, so that its disk is the build's.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use shoal::api::admission::{DefaultToleration, ServiceAddresses, standard};
use shoal::api::authn::Peer;
use shoal::api::authz::BuiltIn;
use shoal::api::body::{self, Body};
use shoal::api::gateway::{ContainerRef, LogOptions, NodeGateway};
use shoal::api::identity::Identity;
use shoal::api::registry::{Registry, encode};
use shoal::api::service::{Limits, Service};
use shoal::kube::decode::{Format, Limits as BodyLimits, decode};
use shoal::kube::resource::{Resource, TABLE};
use shoal::kube::status::Status;
use shoal::kube::{default, schema, validate};
use shoal::runtime::{ExecSession, ExecSpec};
use shoal::store::{Store, StoreOptions};
use shoal::world::World;
use shoal::world::clock::SystemClock;
use shoal::world::disk::Disk;
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PODS: usize = 9_200;
const WRITERS: usize = 32;
const WATCHERS: usize = 100;
const EVENTS: usize = 500;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    steps()?;
    let dir = Path::new("target/bench/api");
    let _ = std::fs::remove_dir_all(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(whole(dir))?;
    drop(runtime);
    let _ = std::fs::remove_dir_all(dir);
    bare(dir)
}

/// Each step of a create, for one pod of 5.6 KB.
fn steps() -> Result<(), Failure> {
    let row = TABLE.iter().find(|row| row.kind == "Pod").ok_or("no row of pods")?;
    let body = pod(0);
    let object: Value = serde_json::from_slice(&body)?;
    let mut full = object.clone();
    default::apply(row, &mut full);
    println!("{:<40} {:>9}", format!("step of a create, {} bytes", body.len()), "us");
    time("peer: serde_json from_slice", || serde_json::from_slice::<Value>(&body).is_ok());
    time("peer: serde_json to_vec", || serde_json::to_vec(&full).is_ok());
    time("decode (reach 20)", || decode(&body, Format::Json, BodyLimits::REQUEST).is_ok());
    time("check (reach 10)", || schema::check(row.type_name, &object).is_empty());
    time("clone", || object.clone().is_object());
    time("clone and defaults (reach 15)", || defaulted(row, &object).is_object());
    time("validate (reach 20)", || validate::create(row, &full).is_empty());
    time("encode (reach 15)", || encode::encode(&full).is_ok());
    Ok(())
}

fn defaulted(row: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    default::apply(row, &mut object);
    object
}

fn time(what: &str, mut step: impl FnMut() -> bool) {
    const ROUNDS: u32 = 2_000;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(step());
        }
        best = best.min(started.elapsed() / ROUNDS);
    }
    println!("  {what:<38} {:>9.1}", best.as_secs_f64() * 1e6);
}

async fn whole(dir: &Path) -> Result<(), Failure> {
    let service = service(dir).await?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..WRITERS).map(|nth| tokio::spawn(creates(service.clone(), nth))).collect();
    for task in tasks {
        task.await??;
    }
    let rate = PODS as f64 / started.elapsed().as_secs_f64();
    println!("{:<40} {rate:>9.0}/s", format!("creates, {WRITERS} at once"));
    let (mut best, mut bytes) = (Duration::MAX, 0);
    for _ in 0..5 {
        let started = Instant::now();
        bytes = drain(call(&service, "GET", "/api/v1/pods", Bytes::new()).await).await?;
        best = best.min(started.elapsed());
    }
    println!("{:<40} {:>9.1} ms", format!("list, {:.0} MB", bytes as f64 / 1e6), best.as_secs_f64() * 1e3);
    let source = vec![1u8; bytes];
    let started = Instant::now();
    std::hint::black_box(source.clone());
    println!("{:<40} {:>9.1} ms", "peer: a copy of as many bytes", started.elapsed().as_secs_f64() * 1e3);
    fan_out(&service).await
}

/// Every watcher hears of every change.
async fn fan_out(service: &Arc<Service>) -> Result<(), Failure> {
    let revision = service.registry.store().revision();
    let path = format!("/api/v1/namespaces/default/pods?watch=true&resourceVersion={revision}");
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let response = call(service, "GET", &path, Bytes::new()).await;
        watchers.push(tokio::spawn(hear(response)));
    }
    let started = Instant::now();
    for at in 0..EVENTS {
        let answer = call(service, "POST", PATH, pod(PODS + at)).await;
        expect(answer, 201).await?;
    }
    for watcher in watchers {
        watcher.await??;
    }
    let rate = (WATCHERS * EVENTS) as f64 / started.elapsed().as_secs_f64();
    println!("{:<40} {rate:>9.0}/s", format!("watch events, {WATCHERS} watchers"));
    Ok(())
}

async fn hear(response: Response<Body>) -> Result<(), std::io::Error> {
    let mut body = response.into_body();
    let mut lines = 0;
    while lines < EVENTS {
        let Some(frame) = body.frame().await.transpose()? else { break };
        lines += frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
    }
    Ok(())
}

/// The least that a durable create of JSON can cost: parse it, print it, and sync it with those that wait beside it.
fn bare(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)?;
    let mut file = RealDisk.open(&dir.join("bare"), true)?;
    file.set_len(64 << 20)?;
    let (mut at, started) = (0, Instant::now());
    for batch in 0..PODS / WRITERS {
        let mut unit = Vec::new();
        for nth in 0..WRITERS {
            let value: Value = serde_json::from_slice(&pod(batch * WRITERS + nth))?;
            serde_json::to_writer(&mut unit, &value)?;
        }
        file.write_at(at, &unit)?;
        file.sync()?;
        at += unit.len() as u64;
    }
    let rate = PODS as f64 / started.elapsed().as_secs_f64();
    println!("{:<40} {rate:>9.0}/s", "peer: parse, print, sync, 32 at once");
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}

const PATH: &str = "/api/v1/namespaces/default/pods";

async fn creates(service: Arc<Service>, nth: usize) -> Result<(), std::io::Error> {
    for at in (nth..PODS).step_by(WRITERS) {
        let answer = call(&service, "POST", PATH, pod(at)).await;
        expect(answer, 201).await?;
    }
    Ok(())
}

async fn expect(answer: Response<Body>, code: u16) -> Result<(), std::io::Error> {
    if answer.status() == code {
        return drain(answer).await.map(drop);
    }
    let text = answer.into_body().collect().await?.to_bytes();
    Err(std::io::Error::other(String::from_utf8_lossy(&text).into_owned()))
}

async fn drain(answer: Response<Body>) -> Result<usize, std::io::Error> {
    let mut body = answer.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await.transpose()? {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

async fn call(service: &Arc<Service>, method: &str, path: &str, bytes: Bytes) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    match request.body(body::full(bytes)) {
        Ok(request) => service.call(request, &Peer::local(Identity::admin())).await,
        Err(error) => unreachable!("the bench's own request: {error}"),
    }
}

async fn service(dir: &Path) -> Result<Arc<Service>, Failure> {
    let world =
        World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) };
    let store = Store::open(StoreOptions::new(dir, "bench"), world.clone()).await?;
    let registry = Registry::new(
        store,
        world,
        standard(ServiceAddresses::default(), DefaultToleration { wait: Duration::from_secs(5) }),
    );
    let service = Service::new(registry, Arc::new(Nowhere), Arc::new(BuiltIn), &Limits::default());
    for (path, name) in [("/api/v1/namespaces", "default"), ("/api/v1/namespaces/default/serviceaccounts", "default")] {
        let body = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
        expect(call(&service, "POST", path, body.into()).await, 201).await?;
    }
    Ok(service)
}

/// A pod of about 5.6 KB as stored.
fn pod(nth: usize) -> Bytes {
    let env: Vec<String> = (0..50)
        .map(|i| {
            format!(
                r#"{{"name":"SETTING_NUMBER_{i}","value":"a value of the usual length, number {i}, for the bench"}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{nth:05}","labels":{{"app":"bench"}}}},"spec":{{"nodeSelector":{{"bench":"nowhere"}},"containers":[{{"name":"c","image":"shoal.local/toolbox:latest","args":["sleep","forever"],"resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}},"env":[{}]}}]}}}}"#,
        env.join(",")
    );
    text.into()
}

/// No pod runs here.
struct Nowhere;

#[async_trait]
impl NodeGateway for Nowhere {
    async fn logs(
        &self,
        _: &ContainerRef,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        Err(Status::internal("no pod runs in the bench"))
    }

    async fn exec(&self, _: &ContainerRef, _: &ExecSpec) -> Result<ExecSession, Status> {
        Err(Status::internal("no pod runs in the bench"))
    }
}
